"""Files that survive a power cut: whole or not there; a full disk and a damaged file are said in a sentence."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hpo.domain.errors import EnvironmentFault

SEAL = "sha256"
"""Key under which a sealed file holds the digest of the rest of it."""


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
    """Raises FileNotFoundError, or EnvironmentFault where the file holds anything but a JSON object."""
    try:
        fields = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # not text, not JSON
        raise damaged(path, "it is not JSON") from None
    if not isinstance(fields, dict):
        raise damaged(path, "it is not a JSON object")
    return fields


def damaged(path: Path, how: str) -> EnvironmentFault:
    """What to raise for a file that is not as it was written."""
    return EnvironmentFault(f"{path} is damaged: {how}. Put it back from a copy; `hpo doctor` names every such file.")


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """`write_json` with the content's own SHA-256 in it, for a file that nothing else answers for."""
    write_json(path, {**value, SEAL: hashlib.sha256(encode(value)).hexdigest()})


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` was given. Raises FileNotFoundError, or EnvironmentFault where a byte is another."""
    fields = read_json(path)
    seal = fields.pop(SEAL, None)
    if seal != hashlib.sha256(encode(fields)).hexdigest() or path.read_bytes() != encode({**fields, SEAL: seal}):
        raise damaged(path, "its checksum does not match its content")
    return fields


def sha256_of(path: Path) -> str:
    """Hex digest of the file's bytes. Raises FileNotFoundError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
