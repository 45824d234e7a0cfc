"""Reads a Parquet or CSV file, or a folder of them, in long format (one row per date and symbol)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from trainer.data import checks
from trainer.data.market import OHLCV, Market, Wide, is_target
from trainer.errors import InputError

ALIASES: dict[str, tuple[str, ...]] = {
    "date": ("date",),
    "symbol": ("symbol", "code", "ticker"),
    "open": ("adjustmentopen", "adj_open", "open"),
    "high": ("adjustmenthigh", "adj_high", "high"),
    "low": ("adjustmentlow", "adj_low", "low"),
    "close": ("adjustmentclose", "adj_close", "close"),
    "volume": ("adjustmentvolume", "adj_volume", "volume"),
    "sector": ("sector", "sector17codename", "industry", "sector33codename"),
}
"""Column names that are understood, in lower case; of several, the first that is there counts (adjusted prices)."""

NOT_FEATURES: frozenset[str] = frozenset({"adjustmentfactor", "turnovervalue", "upperlimit", "lowerlimit"})
"""Columns of J-Quants price files that are neither bars nor features, in lower case."""

SUFFIXES = (".parquet", ".csv")


def load(source: str) -> Market:
    """The market in a file or folder. Raises InputError naming file, column, row, rule and remedy."""
    table = LongTable(files_of(source))
    keys = table.keys
    sectors, sector_names = _sectors(table, keys)
    return Market(
        name=source,
        dates=keys.dates,
        symbols=keys.symbols,
        columns=tuple(table.values),
        read=table.wide,
        row=table.row,
        rows=keys.rows,
        sectors=sectors,
        sector_names=sector_names,
        warnings=table.unused(),
    )


def files_of(source: str) -> list[Path]:
    """The files of a source, in order of name. Raises InputError where there is nothing to read."""
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not files:
            raise InputError(
                f"data.source={source}: the folder holds no .parquet and no .csv file; name one that does."
            )
        return files
    if not path.exists():
        there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = (
            checks.nearest(path.name, there)
            or "; give the path of a Parquet or CSV file or folder, or planted:realistic"
        )
        raise InputError(f"data.source={source}: there is no such file or folder{hint}.")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"data.source={source}: the name ends neither in .parquet nor in .csv; convert the file to one."
        )
    return [path]


@dataclass(frozen=True)
class Keys:
    """Where each of N rows lies on the calendar: day and stock, int64 [N]."""

    dates: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    day: NDArray[np.int64]
    stock: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Which stock-days have a row: bool [D, S]."""
        present = np.zeros((len(self.dates), len(self.symbols)), dtype=bool)
        present[self.day, self.stock] = True
        return present


class LongTable:
    """The rows of one or several files, read a column at a time where the format allows it."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._kept: dict[str, Wide] = {}
        self._csv = {file: _read_csv(file) for file in files if file.suffix.lower() == ".csv"}
        self.schema = self._common_schema()
        self._names = _canonical(self.schema)
        checks.require_columns(str(files[0]), self._names, self.schema.names)
        self.values = {
            name: column
            for name, column in self._names.items()
            if name not in ("date", "symbol", "sector") and (name in OHLCV or is_target(name) or self._numeric(column))
        }
        checks.require_values(str(files[0]), tuple(self.values), self.schema.names)

    @cached_property
    def keys(self) -> Keys:
        """Calendar, symbols and the place of every row. Raises InputError: unreadable, repeated or unsorted keys."""
        dates = np.concatenate([_dates(file, self._column(file, "date")) for file in self._files])
        if not dates.size:
            raise InputError(f"{self._files[0]} holds no rows; give a row per date and symbol.")
        symbols = pa.concat_arrays(
            [self._column(file, "symbol").cast(pa.string()).combine_chunks() for file in self._files]
        )
        missing = np.flatnonzero(symbols.is_null().to_numpy(zero_copy_only=False))
        if missing.size:
            raise InputError(
                f"{self._place(int(missing[0]))}: {self._names['symbol']} is empty; fill it in or remove the row."
            )
        calendar, day = np.unique(dates, return_inverse=True)
        stock, names = pd.factorize(np.asarray(symbols.to_pandas(), dtype=object), sort=True)
        keys = Keys(calendar, tuple(names), day.astype(np.int64), stock.astype(np.int64))
        checks.check_keys(keys.day, keys.stock, keys.dates, keys.symbols, self._place)
        return keys

    def wide(self, name: str) -> Wide:
        """One value column on the calendar. Raises InputError where a cell is not a number."""
        if name in self._kept:
            return self._kept[name]
        wide = np.full((len(self.keys.dates), len(self.keys.symbols)), np.nan)
        wide[self.keys.day, self.keys.stock] = np.concatenate([self._numbers(file, name) for file in self._files])
        if name in OHLCV:  # read several times; everything else once
            self._kept[name] = wide
        return wide

    def text(self, name: str) -> NDArray[np.object_]:
        """One column as strings, None where empty: [N]."""
        parts = [self._column(file, name).cast(pa.string()).to_pandas().to_numpy(dtype=object) for file in self._files]
        return np.concatenate(parts)

    def has(self, name: str) -> bool:
        """Whether a canonical column is there."""
        return name in self._names

    def row(self, day: int, stock: int) -> str:
        """Where a stock-day stands: file, row, date and symbol."""
        keys = self.keys
        number = int(np.flatnonzero((keys.day == day) & (keys.stock == stock))[0])
        return f"{self._place(number)} ({keys.symbols[stock]}, {keys.dates[day]})"

    def unused(self) -> tuple[str, ...]:
        """A warning for the columns that nothing reads."""
        used = set(self.values.values()) | {
            self._names[name] for name in ("date", "symbol", "sector") if self.has(name)
        }
        unused = [name for name in self.schema.names if name not in used]
        bars = [name for name in OHLCV if name in self.values]
        idle = [self.values[name] for name in bars if name not in ("close", "volume")] if len(bars) < len(OHLCV) else []
        return (f"columns not used: {', '.join(unused + idle)}.",) if unused + idle else ()

    def _common_schema(self) -> pa.Schema:
        schemas = {file: self._csv[file].schema if file in self._csv else _parquet_schema(file) for file in self._files}
        first = schemas[self._files[0]]
        for file, schema in schemas.items():
            if set(schema.names) != set(first.names):
                odd = sorted(set(schema.names) ^ set(first.names))
                raise InputError(
                    f"{file}: its columns differ from those of {self._files[0]} in {', '.join(odd)}; "
                    "give all files of the folder the same columns."
                )
        return first

    def _column(self, file: Path, name: str) -> pa.ChunkedArray:
        column = self._names[name]
        if file in self._csv:
            return self._csv[file].column(column)
        return pyarrow.parquet.read_table(file, columns=[column]).column(column)

    def _numbers(self, file: Path, name: str) -> NDArray[np.float64]:
        column = self._column(file, name)
        if not _is_number(column.type):
            text = column.cast(pa.string()).to_pandas()
            numbers = pd.to_numeric(text, errors="coerce")
            wrong = np.flatnonzero(numbers.isna() & text.notna())
            if wrong.size:
                raise InputError(
                    f"{file}, {_line(file, int(wrong[0]))}: {self._names[name]} is '{text.iloc[wrong[0]]}', "
                    "which is not a number; correct it or leave the cell empty."
                )
        else:
            numbers = column.cast(pa.float64()).to_pandas()
        values: NDArray[np.float64] = numbers.to_numpy(dtype=np.float64)
        return values

    def _numeric(self, column: str) -> bool:
        return _is_number(self.schema.field(column).type)

    def _place(self, row: int) -> str:
        """File and row of the row-th row over all files."""
        for file in self._files:
            rows = len(self._csv[file]) if file in self._csv else pyarrow.parquet.read_metadata(file).num_rows
            if row < rows:
                return f"{file}, {_line(file, row)}"
            row -= rows
        raise IndexError(row)


def _canonical(schema: pa.Schema) -> dict[str, str]:
    """Canonical name to the file's own name, in the file's order."""
    lower = {name.lower(): name for name in reversed(schema.names)}
    known = {alias for aliases in ALIASES.values() for alias in aliases} | NOT_FEATURES
    names = {}
    for canonical, aliases in ALIASES.items():
        found = next((lower[alias] for alias in aliases if alias in lower), None)
        if found is not None:
            names[canonical] = found
    names |= {name: name for name in schema.names if name.lower() not in known}
    return names


def _parquet_schema(file: Path) -> pa.Schema:
    try:
        return pyarrow.parquet.read_schema(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file} cannot be read as Parquet: {error}; write it again.") from error


def _read_csv(file: Path) -> pa.Table:
    try:
        header = pd.read_csv(file, nrows=0).columns
        keys = {name: pa.string() for name in header if name.lower() in (*ALIASES["symbol"], *ALIASES["date"])}
        empty_text = pyarrow.csv.ConvertOptions(column_types=keys, strings_can_be_null=True)
        return pyarrow.csv.read_csv(file, convert_options=empty_text)
    except (pa.ArrowInvalid, pd.errors.EmptyDataError) as error:
        raise InputError(f"{file} cannot be read as CSV: {error}; give every row the header's columns.") from error


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def _dates(file: Path, column: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """Days from date, timestamp, ISO text or YYYYMMDD."""
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        parsed = pd.Series(column.cast(pa.date32()).to_pandas())
        days = pd.to_datetime(parsed, errors="coerce")
    else:
        text = column.cast(pa.string()).to_pandas()
        compact = bool(len(text)) and str(text.iloc[0]).isdigit()
        days = pd.to_datetime(text, format="%Y%m%d" if compact else "ISO8601", errors="coerce")
    wrong = np.flatnonzero(days.isna())
    if wrong.size:
        shown = column[int(wrong[0])].as_py()
        raise InputError(
            f"{file}, {_line(file, int(wrong[0]))}: the date '{'' if shown is None else shown}' cannot be read; "
            "write dates as YYYY-MM-DD."
        )
    return days.to_numpy().astype("datetime64[D]")


def _line(file: Path, row: int) -> str:
    return f"line {row + 2}" if file.suffix.lower() == ".csv" else f"row {row + 1}"


def _sectors(table: LongTable, keys: Keys) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Sector numbers [S] and names; a stock keeps the first sector it is seen with."""
    sectors = np.full(len(keys.symbols), -1, dtype=np.int16)
    if not table.has("sector"):
        return sectors, ()
    text = table.text("sector")
    known = np.flatnonzero(pd.notna(text))
    codes, names = pd.factorize(text[known], sort=True)
    order = np.argsort(keys.day[known], kind="stable")
    stocks, first = np.unique(keys.stock[known][order], return_index=True)
    sectors[stocks] = codes[order][first]
    return sectors, tuple(map(str, names))
