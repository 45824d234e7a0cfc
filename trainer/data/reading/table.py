"""The rows of one or several files in long format, placed on one calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from trainer.data.market import Wide
from trainer.data.reading.cells import EMPTY, day_words, days, is_number, numbers, words
from trainer.data.reading.columns import Recognised
from trainer.data.reading.files import stem
from trainer.data.reading.formats import Part
from trainer.errors import InputError

SHOWN = 3


@dataclass(frozen=True)
class Keys:
    """Where each of N rows lies on the calendar: day and stock, int64 [N]. is_sorted: as far as each stock goes.
    merged: spellings of a symbol that were taken for another, to that one."""

    dates: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    day: NDArray[np.int64]
    stock: NDArray[np.int64]
    is_sorted: bool
    merged: Mapping[str, str]

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
        written = [day_words(part.column(self._roles["date"])) for part in self.parts]
        if not sum(map(len, written)):
            raise InputError(f"{self.parts[0].path} holds no rows; give a row per date and symbol.")
        calendar, day = np.unique(days(np.concatenate(written), self.place), return_inverse=True)
        stock, names = pd.factorize(self._symbols(), sort=True)
        day, stock = day.astype(np.int64), stock.astype(np.int64)
        merged = _spellings(day, stock, names)
        if merged:
            chosen = np.array([merged.get(name, name) for name in names], dtype=object)
            stock, names = pd.factorize(chosen[stock], sort=True)
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
        return Keys(calendar, tuple(names), day, stock, not backwards.any(), merged)

    def wide(self, column: str) -> Wide:
        """A column of numbers on the calendar. Raises InputError where a cell is not one."""
        wide = np.full((len(self.keys.dates), len(self.keys.symbols)), np.nan)
        wide[self.keys.day, self.keys.stock] = self._numbers(column)
        return wide

    def text(self, column: str) -> NDArray[np.object_]:
        """A column as words, None where there is none: [N]."""
        found = np.concatenate([words(part.column(column)) for part in self.parts])
        found[[word is not None and word.lower() in EMPTY for word in found]] = None
        return found

    def is_number(self, column: str) -> bool:
        """Whether the column's type is one of numbers."""
        return is_number(self.schema.field(column).type)

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

    def _numbers(self, column: str) -> NDArray[np.float64]:
        return np.concatenate([numbers(part.column(column), column, part.line) for part in self.parts])

    def _symbols(self) -> NDArray[np.object_]:
        """Raises InputError where one is empty."""
        column = self._roles.get("symbol")
        if column is None:
            return np.concatenate([np.full(part.num_rows, stem(part.path), dtype=object) for part in self.parts])
        symbols = np.concatenate([words(part.column(column)) for part in self.parts])
        empty = np.flatnonzero([not symbol for symbol in symbols])
        if empty.size:
            raise InputError(f"{self.place(int(empty[0]))}: {column} is empty; fill it in or remove the row.")
        return symbols


def as_truth(table: LongTable, column: str) -> Wide:
    """A column of truth values, or of the names of a universe (empty outside it), as 1 and 0 on the calendar."""
    if table.is_number(column):
        return np.where(np.nan_to_num(table.wide(column)) != 0, 1.0, 0.0)
    found = table.text(column)
    inside = np.array([word is not None and word.lower() not in ("false", "0", "no", "f", "n") for word in found])
    wide = np.zeros((len(table.keys.dates), len(table.keys.symbols)))
    wide[table.keys.day, table.keys.stock] = inside
    return wide


def _spellings(day: NDArray[np.int64], stock: NDArray[np.int64], names: NDArray[np.object_]) -> dict[str, str]:
    """Symbols that differ from another in upper and lower case alone and never have a row on the same day, to the one
    that they are taken for: the one in upper case, or else the first."""
    alike = pd.Series(names).groupby(pd.Series(names).str.upper()).agg(list)
    merged: dict[str, str] = {}
    for spellings in alike:
        if len(spellings) == 1:
            continue
        numbers_of = [int(np.flatnonzero(names == spelling)[0]) for spelling in spellings]
        seen = np.concatenate([np.unique(day[stock == number]) for number in numbers_of])
        if len(np.unique(seen)) == len(seen):
            first = next((spelling for spelling in spellings if spelling.isupper()), spellings[0])
            merged |= {spelling: first for spelling in spellings if spelling != first}
    return merged


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
