"""Files that survive a power cut: whole or not there, and a full disk is said in a sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hpo.domain.errors import EnvironmentFault


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to write at `path` into an EnvironmentFault with the remedy."""
    try:
        yield
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename or path} cannot be written ({error.strerror or error}); free or unlock the disk, "
            "or point HPO_HOME at another folder, then resume."
        ) from error


def encode(value: Mapping[str, Any]) -> bytes:
    """JSON on one line; NaN, which JSON lacks, is written as Python reads it."""
    return json.dumps(value, ensure_ascii=False).encode()


def read_json(path: Path) -> dict[str, Any]:
    """Raises FileNotFoundError."""
    fields: dict[str, Any] = json.loads(path.read_bytes())
    return fields


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace the file at once. Raises EnvironmentFault; the old content is then still there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        with temporary.open("wb") as file:
            file.write(encode(value))
            flush(file)
        temporary.replace(path)
        sync_folder(path.parent)


def copy(source: Path, target: Path) -> None:
    """Copy the content, durably. Raises OSError."""
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written, 1 << 20)
        flush(written)


def flush(file: IO[bytes]) -> None:
    """Bring what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
