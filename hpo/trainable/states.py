"""Checkpoints of a user's own training: a pickled state, whole or not there, with what was reported before it."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.domain.errors import EnvironmentFault
from hpo.domain.training import EpochReport
from hpo.runs.durable import flush, sync_folder, writing

LAST, PREVIOUS, MODEL = "last.pt", "previous.pt", "model.pt"
# A file is a pickle, this mark, and the SHA-256 of the pickle.
MARK = b"tiertune-state-sha256:"
_TRAILER = len(MARK) + hashlib.sha256().digest_size


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds. state: the user's own. reports: every epoch up to `epoch`, oldest first."""

    epoch: int
    state: Any
    reports: tuple[EpochReport, ...] = ()


def save(path: Path, saved: Saved) -> None:
    """Replace the file at once. EnvironmentFault where the disk refuses; the old content is then still there."""
    payload = pickle.dumps(saved)
    with writing(path):
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            file.write(payload + MARK + hashlib.sha256(payload).digest())
            flush(file)
        temporary.replace(path)
        sync_folder(path.parent)


def save_last(folder: Path, saved: Saved) -> None:
    """Write `last.pt`; the one before is kept as `previous.pt`."""
    last = folder / LAST
    if last.exists():
        with writing(last):
            last.replace(folder / PREVIOUS)
    save(last, saved)


def load(path: Path) -> Saved:
    """Raises FileNotFoundError, or EnvironmentFault where the file is damaged. Runs what the user's pickle runs."""
    payload = _payload(path)
    if payload is None:
        raise EnvironmentFault(f"{path} is damaged (its checksum does not match); use an older checkpoint.")
    saved = pickle.loads(payload)
    assert isinstance(saved, Saved), "the mark is written by `save` alone"
    return saved


def load_newest(folder: Path) -> Saved | None:
    """The newest whole checkpoint to go on from."""
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists() and is_whole(path):
            return load(path)
    return None


def is_whole(path: Path) -> bool:
    """Whether the bytes are those that were written; nothing in them is run. Raises FileNotFoundError."""
    return _payload(path) is not None


def _payload(path: Path) -> bytes | None:
    raw = path.read_bytes()
    payload, trailer = raw[:-_TRAILER], raw[-_TRAILER:]
    return payload if trailer == MARK + hashlib.sha256(payload).digest() else None
