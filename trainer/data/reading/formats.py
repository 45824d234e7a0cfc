"""One file of whatever format as named columns, read one at a time where the format allows it."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from trainer.data.reading.files import FEATHER, PARQUET, TEXT
from trainer.errors import InputError

MAX_COLUMNS = 3_000
"""Most columns of a file."""

DELIMITERS = ",;\t|"
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
"""Byte order marks, and the encodings that they announce."""
HEAD_BYTES = 1 << 20
PREAMBLE = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)+")
"""Blank lines and comments before the header."""


@dataclass(frozen=True)
class Part:
    """One file. column: one of `schema`'s columns, all of its rows; reading it again reads the file again. lines: of a
    text, the number of each row's line; None where the rows follow the first line."""

    path: Path
    schema: pa.Schema
    num_rows: int
    column: Callable[[str], pa.ChunkedArray]
    lines: Sequence[int] | None = None

    def line(self, row: int) -> str:
        """Where the row-th row (from 0) stands."""
        if not self.path.name.lower().endswith((*TEXT, ".gz")):
            return f"{self.path}, row {row + 1}"
        return f"{self.path}, line {row + 2 if self.lines is None else self.lines[row]}"


def open_part(path: Path, is_text: Callable[[str], bool], whole: bool, max_columns: int = MAX_COLUMNS) -> Part:
    """A file's columns.

    is_text: whether a column of this name is taken letter by letter, so that the ticker NA is a ticker. whole: read
    everything at once, where a folder has too many files to come back to.
    Raises InputError where the file cannot be read, or a column's name is there twice.
    """
    name, lines = path.name.lower(), None
    try:
        if name.endswith(PARQUET) and not whole:
            file = pyarrow.parquet.ParquetFile(path)
            _check_names(path, file.schema_arrow.names, max_columns)
            return Part(path, file.schema_arrow, file.metadata.num_rows, lambda n: file.read([n]).column(n))
        if name.endswith(PARQUET):
            table = pyarrow.parquet.read_table(path)
        elif name.endswith(FEATHER):
            table = pyarrow.feather.read_table(path)
        else:
            table, lines = _read_text(path, is_text, max_columns)
    except (pa.ArrowException, UnicodeDecodeError, gzip.BadGzipFile, EOFError, csv.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not a broken file's
            raise
        raise _unreadable(path, error) from error
    _check_names(path, table.schema.names, max_columns)
    return Part(path, table.schema, table.num_rows, table.column, lines)


def _unreadable(path: Path, error: Exception) -> InputError:
    """The sentence for a file whose content is broken, with what helps."""
    name, reason = path.name.lower(), str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    kind = "Parquet" if name.endswith(PARQUET) else "Feather" if name.endswith(FEATHER) else "CSV"
    if kind != "CSV" or name.endswith(".gz"):
        remedy = "copy or write it again"
    elif "UTF" in reason or isinstance(error, UnicodeDecodeError):
        remedy = "save it as UTF-8"
    else:
        remedy = "give every row the header's columns"
    return InputError(f"{path} cannot be read as {kind}: {reason}; {remedy}.")


def _check_names(path: Path, names: list[str], max_columns: int) -> None:
    if len(names) > max_columns:
        raise InputError(f"{path} has {len(names):,} columns; at most {max_columns:,} are read: keep the best ones.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path} has more than one column '{twice[0]}'; keep one of them, or rename the others.")


def _read_text(path: Path, is_text: Callable[[str], bool], max_columns: int) -> tuple[pa.Table, Sequence[int] | None]:
    """The table, and the line of each row where lines before the header or like it were left out."""
    opened: Callable[..., Any] = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
        if encoding == "utf-16":  # the whole of it is turned into UTF-8
            text = (head + file.read()).decode(encoding).encode()
            head = text[:HEAD_BYTES]
            source: str | io.BytesIO = io.BytesIO(text)
        else:
            source = str(path)  # that it is compressed pyarrow finds out by its name
    before = PREAMBLE.match(head.removeprefix(b"\xef\xbb\xbf"))
    skipped = 0 if before is None else before[0].count(b"\n")
    header = head.decode("utf-8-sig", errors="replace").split("\n", skipped + 1)[skipped].rstrip("\r")
    if not header.strip():
        raise pa.ArrowInvalid("it is empty")
    delimiter = max(DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter))
    _check_names(path, names, max_columns)
    comma = delimiter == ";" and re.search(rb";-?\d+,\d+(;|\r|\n)", head) is not None

    def read(source: str | io.BytesIO, skipped: int) -> pa.Table:
        return pyarrow.csv.read_csv(
            source,
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=skipped + 1),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in names if is_text(name)},
                decimal_point="," if comma else ".",
                strings_can_be_null=False,
            ),
        )

    table = read(source, skipped)
    if not _repeats_header(table, names):
        return table, [*range(skipped + 2, table.num_rows + skipped + 2)] if skipped else None
    with opened(path, "rb") as file:
        rows = [line.strip() for line in file.read().decode(encoding).removeprefix("\ufeff").splitlines()]
    kept = [number for number, line in enumerate(rows) if number > skipped and line and line != header.strip()]
    return read(io.BytesIO("\n".join([header, *(rows[n] for n in kept)]).encode()), 0), [n + 1 for n in kept]


def _repeats_header(table: pa.Table, names: Sequence[str]) -> bool:
    """Whether files were put together with their headers: a row whose words are the columns' names."""
    texts = [name for name in names if pa.types.is_string(table.schema.field(name).type)]
    if not texts or not table.num_rows:
        return False
    same = [pyarrow.compute.equal(table.column(name), name) for name in texts]
    every = same[0]
    for one in same[1:]:
        every = pyarrow.compute.and_(every, one)
    return bool(pyarrow.compute.any(every).as_py())
