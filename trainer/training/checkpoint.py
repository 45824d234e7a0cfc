"""Checkpoints that are whole or not there: written beside, fsynced, renamed; checksummed; loaded as plain data."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from trainer.errors import CheckpointError

logger = logging.getLogger(__name__)

LAST, PREVIOUS, MODEL = "last.pt", "previous.pt", "model.pt"
FORMAT = 3
# A file is the bytes of torch.save, this mark, and the SHA-256 of everything before it.
MARK = b"tiertune-checkpoint-sha256:"
_TRAILER = len(MARK) + hashlib.sha256().digest_size


def save(state: dict[str, Any], path: Path, keep: Path | None = None) -> None:
    """Write `state` (tensors and plain values only) so that `path` is at every moment absent, old or complete.

    keep: where the file that is replaced goes; between the two renames only `keep` is there.
    Raises OSError (disk full, no permission); `path` is then unchanged.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    payload = buffer.getvalue()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(payload)
            file.write(MARK + hashlib.sha256(payload).digest())
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def save_last(state: dict[str, Any], folder: Path) -> None:
    """Write `last.pt`, keeping the one before as `previous.pt`."""
    save(state, folder / LAST, keep=folder / PREVIOUS)


def load(path: Path) -> dict[str, Any]:
    """The state written by `save`, its tensors on the CPU. Nothing in the file is executed.

    Raises CheckpointError where the file is truncated, altered or of another format; FileNotFoundError.
    """
    payload = _payload(path.read_bytes())
    if payload is None:
        raise CheckpointError(f"{path} is damaged (its checksum does not match); use an older checkpoint.")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        # Not in torch's words, which advise to load it in a way that runs the code within.
        raise CheckpointError(f"{path} is not a checkpoint of this program; nothing in it was run.") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a checkpoint of this program: it holds a {type(state).__name__}.")
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {state.get('format')}; this program reads {FORMAT}.")
    return state


def is_whole(path: Path) -> bool:
    """Whether the file's bytes are those that `save` wrote; they are not decoded. Raises FileNotFoundError."""
    return _payload(path.read_bytes()) is not None


def newest_valid(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run to go on from, or None; damaged files are logged and passed over."""
    found = load_newest(folder)
    return found[0] if found else None


def load_newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """`newest_valid` with its state."""
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            return path, load(path)
        except CheckpointError as error:
            logger.warning("%s", error)
    return None


def _payload(raw: bytes) -> bytes | None:
    """The bytes that torch wrote, None where the checksum behind them does not match."""
    payload, trailer = raw[:-_TRAILER], raw[-_TRAILER:]
    return payload if trailer == MARK + hashlib.sha256(payload).digest() else None


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
