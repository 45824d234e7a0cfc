"""A folder with a table for each field, dates by rows and symbols by columns, as the long table that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from trainer.data.reading.cells import day_words, days, is_number, numbers, words
from trainer.data.reading.columns import BARS, ROLES, UNNAMED, bare
from trainer.data.reading.files import stem
from trainer.data.reading.formats import Part, open_part
from trainer.errors import InputError

MAX_SYMBOLS = 20_000
"""Most columns of a field's table."""

CLOSES = {alias for role in ("close", "adj_close") for alias in ROLES[role] if len(alias) > 1}
"""Names of a file, bare, that announce a folder of fields."""


def is_wide(files: Sequence[Path]) -> bool:
    """Whether the files are fields: one is named after the close and has neither symbols nor bars as columns."""
    named = [file for file in files if bare(stem(file)) in CLOSES]
    if len(files) < 2 or not named:
        return False
    columns = {bare(name) for name in _open(named[0]).schema.names}
    has_bars = all(columns & set(ROLES[name]) for name in BARS[:4])
    return not has_bars and not columns & {*ROLES["symbol"]} - {"name", "code"}


def read_wide(folder: Path, files: Sequence[Path]) -> Part:
    """The fields side by side: `date`, `symbol` and a column for each file, a row where any of them has a value.

    Raises InputError: a date or a symbol is there twice in a file, or a cell is not what its column holds.
    """
    fields: dict[str, pd.DataFrame] = {}
    for file in files:
        fields[stem(file)] = _field(file)
    dates = np.unique(np.concatenate([field.index.to_numpy() for field in fields.values()]))
    symbols = sorted(set().union(*(field.columns for field in fields.values())))
    wide = {name: field.reindex(index=dates, columns=symbols).to_numpy() for name, field in fields.items()}
    return _part(folder, dates, symbols, wide)


def _part(
    folder: Path, dates: NDArray[np.datetime64], symbols: Sequence[str], wide: Mapping[str, NDArray[np.object_]]
) -> Part:
    some = np.logical_or.reduce([~pd.isna(values) for values in wide.values()])
    day, stock = np.nonzero(some)
    columns = {"date": pa.array(dates[day]), "symbol": pa.array(np.array(symbols, dtype=object)[stock], pa.string())}
    for name, values in wide.items():
        columns[name] = pa.array(values[day, stock], from_pandas=True)
    table = pa.table(columns)
    return Part(folder, table.schema, table.num_rows, table.column)


def _field(file: Path) -> pd.DataFrame:
    part = _open(file)
    names = part.schema.names
    key = next((name for name in names if bare(name) in ROLES["date"]), None)
    key = key or next((name for name in names if UNNAMED.fullmatch(bare(name)) or bare(name) == "index"), names[0])
    index = days(day_words(part.column(key)), part.line)
    twice = np.flatnonzero(pd.Series(index).duplicated())
    if twice.size:
        raise InputError(
            f"{part.line(int(twice[0]))}: there is already a row for {index[twice[0]]}; keep one row per date."
        )
    symbols = [name for name in names if name != key and not UNNAMED.fullmatch(bare(name))]
    return pd.DataFrame({name.strip(): _values(part, name) for name in symbols}, index=index)


def _values(part: Part, symbol: str) -> NDArray[np.float64] | NDArray[np.object_]:
    """Numbers, or words where the column holds none (a sector)."""
    column = part.column(symbol)
    if is_number(column.type) or pa.types.is_null(column.type):
        plain: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
        return plain
    try:
        return numbers(column, symbol, part.line)
    except InputError:
        found = words(column)
        if any(word and word[0].isdigit() for word in found):
            raise
        return found


def _open(file: Path) -> Part:
    return open_part(file, lambda name: bare(name) in ROLES["date"], whole=True, max_columns=MAX_SYMBOLS)
