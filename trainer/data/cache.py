"""Panels on disk: memory-mapped arrays beside a meta.json, built in a temporary folder and renamed into place."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.panel import TARGETS, Panel

META = "meta.json"

SETTLED_NS = 2_000_000_000
"""Age of a file's last change, in ns, from which size and modification time are taken to identify its content."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes, on a file beside what it protects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest(files: Sequence[Path], cache_folder: Path) -> str:
    """Digest of the files' names and contents.

    A file is read once: its digest is remembered with its size and modification time, unless it was modified so
    shortly before that a further change might leave no trace in them.
    """
    register = cache_folder / "sources.json"
    cache_folder.mkdir(parents=True, exist_ok=True)
    with locked(cache_folder / "sources.lock"):
        known = json.loads(register.read_text()) if register.exists() else {}
        total = hashlib.sha256()
        for file in files:
            stat = file.stat()
            seen = known.get(str(file.resolve()))
            if seen is None or seen[:2] != [stat.st_size, stat.st_mtime_ns]:
                with file.open("rb") as handle:
                    seen = [stat.st_size, stat.st_mtime_ns, hashlib.file_digest(handle, "sha256").hexdigest()]
                if time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
                    known[str(file.resolve())] = seen
            total.update(f"{file.name} {seen[2]}\n".encode())
        write_json(register, known)
    return total.hexdigest()


def create(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A new float32 array on disk, to be filled in."""
    return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)


def save(folder: Path, name: str, values: NDArray[Any]) -> None:
    """Write one array."""
    np.save(folder / f"{name}.npy", values, allow_pickle=False)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w") as handle:
        json.dump(content, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def open_panel(folder: Path) -> tuple[Panel, dict[str, Any]]:
    """The panel in a folder, its arrays mapped read-only, and its meta."""
    meta = json.loads((folder / META).read_text())

    def load(name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array

    panel = Panel(
        dates=np.array(meta["dates"], dtype="datetime64[D]"),
        symbols=tuple(meta["symbols"]),
        feature_names=tuple(meta["feature_names"]),
        features=load("features"),
        mask=load("mask"),
        targets={name: load(f"target_{name}") for name in TARGETS},
        horizons=tuple(meta["horizons"]),
        sectors=np.array(meta["sectors"], dtype=np.int16),
        sector_names=tuple(meta["sector_names"]),
        returns=load("returns"),
        oracle=load("oracle") if meta["oracle"] else None,
    )
    return panel, meta
