"""One file of whatever format as named columns, read one at a time where the format allows it."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from trainer.data.reading.files import FEATHER, PARQUET
from trainer.errors import InputError

MAX_COLUMNS = 3_000
"""Most columns of a file."""

DELIMITERS = ",;\t|"
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
"""Byte order marks, and the encodings that they announce."""
HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Part:
    """One file. column: one of `schema`'s columns, all of its rows; reading it again reads the file again."""

    path: Path
    schema: pa.Schema
    num_rows: int
    column: Callable[[str], pa.ChunkedArray]

    def line(self, row: int) -> str:
        """Where the row-th row (from 0) stands."""
        is_binary = self.path.name.lower().endswith((*PARQUET, *FEATHER))
        return f"{self.path}, row {row + 1}" if is_binary else f"{self.path}, line {row + 2}"


def open_part(path: Path, is_text: Callable[[str], bool], whole: bool) -> Part:
    """A file's columns.

    is_text: whether a column of this name is taken letter by letter, so that the ticker NA is a ticker. whole: read
    everything at once, where a folder has too many files to come back to.
    Raises InputError where the file cannot be read, or a column's name is there twice.
    """
    name = path.name.lower()
    try:
        if name.endswith(PARQUET) and not whole:
            file = pyarrow.parquet.ParquetFile(path)
            _check_names(path, file.schema_arrow.names)
            return Part(path, file.schema_arrow, file.metadata.num_rows, lambda n: file.read([n]).column(n))
        if name.endswith(PARQUET):
            table = pyarrow.parquet.read_table(path)
        elif name.endswith(FEATHER):
            table = pyarrow.feather.read_table(path)
        else:
            table = _read_text(path, is_text)
    except (pa.ArrowException, UnicodeDecodeError, gzip.BadGzipFile, EOFError, csv.Error) as error:
        kind = "Parquet" if name.endswith(PARQUET) else "Feather" if name.endswith(FEATHER) else "CSV"
        remedy = "give every row the header's columns" if kind == "CSV" else "write it again"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as {kind}: {reason}; {remedy}.") from error
    _check_names(path, table.schema.names)
    return Part(path, table.schema, table.num_rows, table.column)


def _check_names(path: Path, names: list[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise InputError(f"{path} has {len(names):,} columns; at most {MAX_COLUMNS:,} are read: keep the best ones.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path} has more than one column '{twice[0]}'; keep one of them, or rename the others.")


def _read_text(path: Path, is_text: Callable[[str], bool]) -> pa.Table:
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
    header = head.decode("utf-8-sig", errors="replace").split("\n", 1)[0].rstrip("\r")
    if not header.strip():
        raise pa.ArrowInvalid("it is empty")
    delimiter = max(DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter))
    _check_names(path, names)
    comma = delimiter == ";" and re.search(rb";-?\d+,\d+(;|\r|\n)", head) is not None
    return pyarrow.csv.read_csv(
        source,
        read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in names if is_text(name)},
            decimal_point="," if comma else ".",
            strings_can_be_null=False,
        ),
    )
