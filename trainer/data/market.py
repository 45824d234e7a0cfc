"""A market as it was read or generated: wide arrays by column name, before any feature is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OHLCV: tuple[str, ...] = ("open", "high", "low", "close", "volume")

AUXILIARY: tuple[str, ...] = ("raw_close", "turnover", "universe", "delisting_return")
"""Columns that are neither bars, labels nor features: the close before any adjustment, the day's traded value, whether
the stock belongs to the universe (1 or 0), and the return from the last close to what was paid after a delisting."""

Wide = NDArray[np.float64]
"""One column on the calendar: float64 [D, S], NaN where the stock has no row that day."""


@dataclass(frozen=True)
class Market:
    """D days x S stocks of named numeric columns.

    name: what messages call it (a path or the source string).
    columns: canonical names: OHLCV, AUXILIARY, `target_{h}d`, or a ready feature.
    read: gives one column as Wide; read on demand, so that hundreds of columns need not be in memory at once.
    rows: bool [D, S], which stock-days have a row at all.
    row: says where a cell stands in the source, for messages, e.g. "row 17".
    sectors: int16 [D, S], position in sector_names or -1: the sector that a stock was last seen with by the day.
    oracle: float32 [D, S, H] or None, see Panel.
    recognised: what every column of the source was taken for, and why, in sentences.
    """

    name: str
    dates: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    read: Callable[[str], Wide]
    row: Callable[[int, int], str]
    rows: NDArray[np.bool_]
    sectors: NDArray[np.int16]
    sector_names: tuple[str, ...]
    oracle: NDArray[np.float32] | None = None
    warnings: tuple[str, ...] = ()
    recognised: tuple[str, ...] = ()

    @property
    def has_bars(self) -> bool:
        """Whether all of OHLCV is there."""
        return set(OHLCV) <= set(self.columns)

    @property
    def ready(self) -> tuple[str, ...]:
        """The ready-made feature columns."""
        return tuple(name for name in self.columns if name not in (*OHLCV, *AUXILIARY) and not is_target(name))


def is_target(column: str) -> bool:
    """Whether a column's name is `target_{h}d`."""
    return column.startswith("target_") and column.endswith("d") and column[7:-1].isdigit()
