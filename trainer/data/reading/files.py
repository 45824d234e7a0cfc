"""Which files a source consists of, and which of them can be read at all."""

from __future__ import annotations

import stat
from pathlib import Path

from trainer.errors import InputError
from trainer.suggestions import nearest

PARQUET, FEATHER, TEXT = (".parquet", ".pq"), (".feather", ".arrow"), (".csv", ".tsv", ".txt")
READABLE = (*PARQUET, *FEATHER, *TEXT, *(f"{suffix}.gz" for suffix in TEXT))


REMEDIES = {
    "data.source": "give the path of a Parquet or CSV file or folder, or planted:realistic",
    "data.membership": "give the path of a file with the columns symbol, from, to, or the rows a column 'universe'",
}
"""Setting to what helps where nothing lies at its path."""


def files_of(source: str, setting: str = "data.source") -> list[Path]:
    """The files of a source, in order of name. Raises InputError, with the setting, where there is nothing to read."""
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if is_readable(file) and not file.name.startswith("."))
        if not files:
            raise InputError(f"{setting}={source}: the folder holds no .parquet and no .csv file; name one that does.")
        for file in files:
            _refuse_special(file)
        return files
    if not path.exists():
        there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, there) or f"; {REMEDIES[setting]}."
        raise InputError(f"{setting}={source}: there is no such file or folder{hint}")
    _refuse_special(path)
    if not is_readable(path):
        raise InputError(
            f"{setting}={source}: the name ends neither in .parquet nor in .csv (nor in {', '.join(READABLE[1:])}); "
            "convert the file to one."
        )
    return [path]


def is_readable(path: Path) -> bool:
    """Whether the name is one of a format that is read."""
    return path.name.lower().endswith(READABLE)


def stem(path: Path) -> str:
    """The name without what tells the format."""
    name = path.name
    suffix = next(end for end in sorted(READABLE, key=len, reverse=True) if name.lower().endswith(end))
    return name[: -len(suffix)]


def _refuse_special(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"{path} is no ordinary file (a pipe, socket, device or folder); give the path of one.")
