"""The rows of one or several files in long format, placed on one calendar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from trainer.data.market import Wide
from trainer.data.reading.columns import Recognised
from trainer.data.reading.files import stem
from trainer.data.reading.formats import Part
from trainer.errors import InputError

EMPTY = ("", "na", "n/a", "nan", "null", "none", "#n/a")
"""Words of a number's cell, in lower case, that say there is none."""

DAY_FIRST, MONTH_FIRST = "%d-%m-%Y", "%m-%d-%Y"


@dataclass(frozen=True)
class Keys:
    """Where each of N rows lies on the calendar: day and stock, int64 [N]. is_sorted: as far as each stock goes."""

    dates: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    day: NDArray[np.int64]
    stock: NDArray[np.int64]
    is_sorted: bool

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Which stock-days have a row: bool [D, S]."""
        present = np.zeros((len(self.dates), len(self.symbols)), dtype=bool)
        present[self.day, self.stock] = True
        return present


class LongTable:
    """Columns by the file's own names, one row per date and symbol."""

    def __init__(self, parts: Sequence[Part], recognised: Recognised) -> None:
        self.parts, self._roles = parts, recognised.roles
        self.schema: pa.Schema = parts[0].schema

    @cached_property
    def keys(self) -> Keys:
        """Calendar, symbols and the place of every row. Raises InputError: unreadable or repeated keys."""
        dates = np.concatenate([_dates(part, part.column(self._roles["date"])) for part in self.parts])
        if not dates.size:
            raise InputError(f"{self.parts[0].path} holds no rows; give a row per date and symbol.")
        calendar, day = np.unique(dates, return_inverse=True)
        stock, names = pd.factorize(self._symbols(), sort=True)
        day, stock = day.astype(np.int64), stock.astype(np.int64)
        order = np.lexsort((np.arange(len(day)), day, stock))
        repeated = np.flatnonzero((np.diff(stock[order]) == 0) & (np.diff(day[order]) == 0))
        if repeated.size:
            second = int(order[repeated + 1].min())
            raise InputError(
                f"{self.place(second)}: there is already a row for {names[stock[second]]} on {calendar[day[second]]}; "
                "keep one row per date and symbol."
            )
        order = np.argsort(stock, kind="stable")
        backwards = (np.diff(stock[order]) == 0) & (np.diff(day[order]) < 0)
        return Keys(calendar, tuple(names), day, stock, not backwards.any())

    def wide(self, column: str) -> Wide:
        """A column of numbers on the calendar. Raises InputError where a cell is not one."""
        wide = np.full((len(self.keys.dates), len(self.keys.symbols)), np.nan)
        wide[self.keys.day, self.keys.stock] = np.concatenate([_numbers(part, column) for part in self.parts])
        return wide

    def text(self, column: str) -> NDArray[np.object_]:
        """A column as words, None where there is none: [N]."""
        words = np.concatenate([_words(part.column(column)) for part in self.parts])
        words[[word is not None and word.lower() in EMPTY for word in words]] = None
        return words

    def is_number(self, column: str) -> bool:
        """Whether the column's type is one of numbers."""
        return _is_number(self.schema.field(column).type)

    def place(self, row: int) -> str:
        """File and line of the row-th row over all files."""
        for part in self.parts:
            if row < part.num_rows:
                return part.line(row)
            row -= part.num_rows
        raise IndexError(row)

    def row(self, day: int, stock: int) -> str:
        """Where a stock-day stands: file, row, date and symbol."""
        keys = self.keys
        number = int(np.flatnonzero((keys.day == day) & (keys.stock == stock))[0])
        return f"{self.place(number)} ({keys.symbols[stock]}, {keys.dates[day]})"

    def _symbols(self) -> NDArray[np.object_]:
        """Raises InputError where one is empty."""
        column = self._roles.get("symbol")
        if column is None:
            return np.concatenate([np.full(part.num_rows, stem(part.path), dtype=object) for part in self.parts])
        symbols = np.concatenate([_words(part.column(column)) for part in self.parts])
        empty = np.flatnonzero([not symbol for symbol in symbols])
        if empty.size:
            raise InputError(f"{self.place(int(empty[0]))}: {column} is empty; fill it in or remove the row.")
        return symbols


def as_truth(table: LongTable, column: str) -> Wide:
    """A column of truth values, or of the names of a universe (empty outside it), as 1 and 0 on the calendar."""
    if table.is_number(column):
        return np.where(np.nan_to_num(table.wide(column)) != 0, 1.0, 0.0)
    words = table.text(column)
    inside = np.array([word is not None and word.lower() not in ("false", "0", "no", "f", "n") for word in words])
    wide = np.zeros((len(table.keys.dates), len(table.keys.symbols)))
    wide[table.keys.day, table.keys.stock] = inside
    return wide


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def _words(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """Stripped texts; whole numbers that are kept as floats without their `.0`; None where a cell is empty."""
    if pa.types.is_floating(column.type):
        column = pyarrow.compute.cast(column, pa.int64(), safe=False)
    words = np.array(column.cast(pa.string()).to_pylist(), dtype=object)
    unique = {word: word.strip() if word is not None else None for word in set(words)}
    stripped: NDArray[np.object_] = np.array([unique[word] for word in words], dtype=object)
    return stripped


def _numbers(part: Part, name: str) -> NDArray[np.float64]:
    column = part.column(name)
    if _is_number(column.type):
        values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
        return values
    text = pd.Series(_words(column), dtype=object)
    numbers = pd.to_numeric(text, errors="coerce")
    wrong = np.flatnonzero(numbers.isna() & ~text.map(lambda word: word is None or word.lower() in EMPTY))
    if wrong.size:
        raise InputError(
            f"{part.line(int(wrong[0]))}: {name} is '{text.iloc[wrong[0]]:.40}', which is not a number; correct it or "
            "leave the cell empty."
        )
    return numbers.to_numpy(dtype=np.float64)


def _dates(part: Part, column: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """Days from date, timestamp (in its own time zone), ISO text, YYYYMMDD, or day, month and year in any order that
    the file itself tells apart."""
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        if pa.types.is_timestamp(column.type) and column.type.tz is not None:
            column = pyarrow.compute.local_timestamp(column)
        days = pd.Series(pd.to_datetime(pd.Series(column.cast(pa.date32()).to_pandas()), errors="coerce"))
    else:
        text = pd.Series(_words(column), dtype=object)
        days = pd.to_datetime(text.map(_day_of), format=_date_format(part, text), errors="coerce")
    wrong = np.flatnonzero(days.isna())
    if wrong.size:
        shown = column[int(wrong[0])].as_py()
        raise InputError(
            f"{part.line(int(wrong[0]))}: the date '{'' if shown is None else shown!s:.40}' cannot be read; write "
            "dates as YYYY-MM-DD."
        )
    return days.to_numpy().astype("datetime64[D]")


def _day_of(word: str | None) -> str | None:
    """A text without its time, its parts joined by hyphens."""
    return None if word is None else re.sub(r"[/.]", "-", re.split(r"[ T]", word, maxsplit=1)[0])


def _date_format(part: Part, text: Any) -> str:
    known = text.dropna()
    if not len(known):
        return "ISO8601"
    first = str(known.iloc[0])
    if first.isdigit():
        return "%Y%m%d"
    if not re.match(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{4}", first):
        return "ISO8601" if first[:4].isdigit() else "%d-%b-%Y"
    parts = known.map(_day_of).str.extract(r"^(\d{1,2})-(\d{1,2})-").astype(float)
    if (parts[0] > 12).any():
        return DAY_FIRST
    if (parts[1] > 12).any():
        return MONTH_FIRST
    raise InputError(
        f"{part.path}: whether '{first}' starts with the day or the month cannot be told; write dates as YYYY-MM-DD."
    )


def common_columns(parts: Sequence[Part]) -> None:
    """Refuse files of which one has other columns than the first."""
    first = parts[0]
    for part in parts[1:]:
        if set(part.schema.names) != set(first.schema.names):
            odd = sorted(set(part.schema.names) ^ set(first.schema.names))
            raise InputError(
                f"{part.path}: its columns differ from those of {first.path} in {', '.join(odd)}; give all files of "
                "the folder the same columns."
            )
