"""Tables from Python, a pandas frame or an Arrow table, as the file that a search can come back to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from trainer.data.reading.columns import ROLES, bare
from trainer.errors import InputError

Rows: TypeAlias = pd.DataFrame | pa.Table
"""In long format, or as pandas users keep it: date and symbol in the index, or (field, symbol) over the columns."""


def as_table(rows: Rows) -> pa.Table:
    """The rows in long format. Raises InputError where they cannot be brought into it."""
    if isinstance(rows, pa.Table):
        return rows
    frame = rows
    if isinstance(frame.columns, pd.MultiIndex):
        frame = _stacked(frame)
    if not isinstance(frame.index, pd.RangeIndex) and any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    try:
        return pa.Table.from_pandas(frame.set_axis([str(name) for name in frame.columns], axis=1), preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            f"the given frame cannot be taken as a table: {str(error).splitlines()[0]}; give each column one type."
        ) from error


def keep_table(rows: Rows, folder: Path) -> Path:
    """Write the rows as a Parquet file below `folder`, named by its content, unless it is there; its path."""
    buffer = pa.BufferOutputStream()
    try:
        pyarrow.parquet.write_table(as_table(rows).replace_schema_metadata(None), buffer)
    except pa.ArrowException as error:
        raise InputError(f"the given table cannot be kept: {str(error).splitlines()[0]}") from error
    content = buffer.getvalue()
    path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_bytes(content)
        draft.replace(path)
    return path


def _stacked(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns (field, symbol) or (symbol, field), as a row per date and symbol."""
    fields = {alias for role in ("open", "close", "adj_close") for alias in ROLES[role]}
    levels = [
        level
        for level in range(frame.columns.nlevels)
        if fields & {bare(str(value)) for value in frame.columns.get_level_values(level)}
    ]
    if frame.columns.nlevels != 2 or len(levels) != 1:
        raise InputError(
            "the given frame has several levels of columns, and which of them holds the fields cannot be told; give "
            "(field, symbol), or a row per date and symbol."
        )
    long = frame.stack(1 - levels[0], future_stack=True)
    long.index = long.index.set_names(["date", "symbol"])
    return long.dropna(how="all").reset_index().rename_axis(columns=None)
