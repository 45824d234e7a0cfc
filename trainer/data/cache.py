"""Panels on disk: memory-mapped arrays beside a meta.json that seals them, built in a temporary folder and renamed."""

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
from trainer.errors import CacheFault

META = "meta.json"
CHECKSUM, ARRAYS = "checksum", "arrays"
"""Keys of a meta.json: the SHA-256 of the rest of it, and of each array its size in bytes and SHA-256."""

SETTLED_NS = 2_000_000_000
"""Age of a file's last change, in ns, from which size and modification time are taken to identify its content."""

_verified: set[tuple[str, int, int, int]] = set()
"""Arrays whose checksum this process has compared: path, inode, size and modification time."""


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
    shortly before that a further change might leave no trace in them. A damaged memory is begun anew.
    """
    register = cache_folder / "sources.json"
    cache_folder.mkdir(parents=True, exist_ok=True)
    with locked(cache_folder / "sources.lock"):
        try:
            known = read_sealed(register)
        except CacheFault:
            known = {}
        total = hashlib.sha256()
        for file in files:
            stat = file.stat()
            seen = known.get(str(file.resolve()))
            if seen is None or seen[:2] != [stat.st_size, stat.st_mtime_ns]:
                seen = [stat.st_size, stat.st_mtime_ns, _sha256(file)]
                if time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
                    known[str(file.resolve())] = seen
            total.update(f"{file.name} {seen[2]}\n".encode())
        write_sealed(register, known)
    return total.hexdigest()


def create(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A new float32 array on disk, to be filled in. Its space is taken at once: OSError where the disk lacks it."""
    array = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)
    with (folder / f"{name}.npy").open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return array


def save(folder: Path, name: str, values: NDArray[Any]) -> None:
    """Write one array."""
    np.save(folder / f"{name}.npy", values, allow_pickle=False)


def seal(folder: Path, meta: Mapping[str, Any]) -> None:
    """Bring the folder's arrays to the disk and write meta.json with their sizes and checksums."""
    arrays = {}
    for file in sorted(folder.glob("*.npy")):
        _sync(file)
        arrays[file.name] = [file.stat().st_size, _sha256(file)]
    write_sealed(folder / META, {**meta, ARRAYS: arrays})


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with its checksum, so that a reader sees the old file or the new one, also after a power cut."""
    content = json.loads(json.dumps(content))  # as it will be read
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w") as handle:
        json.dump({**content, CHECKSUM: _checksum(content)}, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)
    _sync(path.parent)


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote. Raises CacheFault where the file is gone, altered or something else."""
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict) and content.pop(CHECKSUM, None) == _checksum(content):
            return content
    except OSError as error:
        raise CacheFault(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError):
        pass
    raise CacheFault(f"{path} is damaged (its checksum does not match).")


def move_into_place(temporary: Path, folder: Path) -> None:
    """Rename a finished folder, durably."""
    for part in (*temporary.rglob("*"), temporary):
        if part.is_dir():
            _sync(part)
    temporary.rename(folder)
    _sync(folder.parent)


def verify(folder: Path) -> list[str]:
    """What is wrong with a prepared panel (a folder with `search/` and `holdout/`), a sentence each; [] if nothing.

    Sizes are compared always, checksums of arrays once in a process, and again when a file was changed.
    """
    problems = []
    for part in (folder, folder / "search", folder / "holdout"):
        try:
            meta = read_sealed(part / META)
        except CacheFault as fault:
            problems.append(str(fault))
            continue
        for name, (size, checksum) in meta.get(ARRAYS, {}).items():
            try:
                _check_size(part / name, size)
                if not _is_known(part / name) and _sha256(part / name) != checksum:
                    raise CacheFault(f"{part / name} is damaged (its checksum does not match).")
            except CacheFault as fault:
                problems.append(str(fault))
            else:
                _verified.add(_identity(part / name))
    return problems


def open_panel(folder: Path) -> tuple[Panel, dict[str, Any]]:
    """The panel in a folder, its arrays mapped read-only, and its meta.

    Raises CacheFault where a file is gone, of another size or no array any more.
    """
    meta = read_sealed(folder / META)
    for name, (size, _) in meta[ARRAYS].items():
        _check_size(folder / name, size)

    def load(name: str) -> NDArray[Any]:
        path = folder / f"{name}.npy"
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError):  # the last from a header that is no Python literal
            raise CacheFault(f"{path} is damaged (it cannot be read as an array).") from None
        return array

    panel = Panel(
        dates=np.array(meta["dates"], dtype="datetime64[D]"),
        symbols=tuple(meta["symbols"]),
        feature_names=tuple(meta["feature_names"]),
        features=load("features"),
        mask=load("mask"),
        targets={name: load(f"target_{name}") for name in TARGETS},
        horizons=tuple(meta["horizons"]),
        sectors=load("sectors"),
        sector_names=tuple(meta["sector_names"]),
        returns=load("returns"),
        oracle=load("oracle") if meta["oracle"] else None,
    )
    return panel, meta


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _check_size(file: Path, size: int) -> None:
    try:
        found = file.stat().st_size
    except OSError as error:
        raise CacheFault(f"{file} cannot be read ({error.strerror}).") from None
    if found != size:
        raise CacheFault(f"{file} is damaged ({found} bytes, not {size}).")


def _identity(file: Path) -> tuple[str, int, int, int]:
    stat = file.stat()
    return str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns


def _is_known(file: Path) -> bool:
    return _identity(file) in _verified


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
