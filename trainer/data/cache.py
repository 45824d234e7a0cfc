"""Panels on disk: memory-mapped arrays beside a meta.json, built in a temporary folder and renamed into place."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.panel import TARGETS, Panel

META = "meta.json"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes, on a file beside what it protects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


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
