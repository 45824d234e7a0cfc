"""The days of a panel: dates that cannot be meant, days that are no trading days, prices that were filled in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.data.market import Market
from trainer.data.rolling import shift
from trainer.errors import InputError

LONG_GAP = 21
"""Calendar days without any row from which a gap is worth a word, in a panel of trading days. Exchanges were closed
for at most two weeks since 1945."""

DAILY = 4
"""Calendar days from one row to the next, in the median, up to which a panel counts as daily."""

THIN, AROUND = 0.1, 10
"""A day with fewer than THIN of the rows that are usual in the AROUND days before and after it is not whole."""

SAME_DAY, FEWEST = 0.9, 10
"""A day on which at least this share of at least FEWEST closes is the day before's is no trading day."""

SAME_CLOSE = 20
"""Rows in a row with the same close from which a stock was not traded."""

SHOWN = 3


def check_calendar(market: Market) -> tuple[str, ...]:
    """Sentences on gaps, on days with few rows and on panels that are not daily; nothing is mended.

    Raises InputError where a date lies in the future.
    """
    dates = market.dates
    latest = np.datetime64("today") + 1  # it may be tomorrow already where the data were written
    if dates[-1] > latest:
        late = dates[dates > latest]
        stock = int(np.flatnonzero(market.rows[len(dates) - len(late)])[0])
        raise InputError(
            f"{market.row(len(dates) - len(late), stock)}: the date {late[0]} lies in the future "
            f"({_times(len(late), 'such date')}); correct or remove these rows."
        )
    found, steps = [], np.diff(dates).astype(int)
    usual = int(np.median(steps)) if len(steps) else 1
    if usual > DAILY:
        found.append(
            f"the rows of a stock lie {usual} calendar days apart in the median: what is called a day is a row "
            "everywhere, a horizon of 5 is 5 rows, and annualised figures assume 252 rows a year."
        )
    else:
        long = np.flatnonzero(steps > LONG_GAP)
        if len(long):
            first = long[0]
            found.append(
                f"no stock has a row between {dates[first]} and {dates[first + 1]}"
                + (f", and {_times(len(long) - 1, 'such gap')} more" if len(long) > 1 else "")
                + ": the two count as consecutive days; see that no date is mistaken and nothing is missing."
            )
    thin = _thin(market.rows.sum(axis=1))
    if len(thin):
        found.append(
            f"{_times(len(thin), 'day')} with less than a tenth of the rows of the days around: {_shown(dates[thin])}; "
            "they are used as they are."
        )
    return tuple(found)


def filled_in(market: Market) -> tuple[str, ...]:
    """Sentences on closes that were repeated where nothing was traded: weekends, holidays, delisted stocks."""
    if "close" not in market.columns:
        return ()
    close = market.read("close")
    known = np.isfinite(close) & np.isfinite(shift(close, 1))
    same = known & (close == shift(close, 1))
    count, found = known.sum(axis=1), []
    idle = np.flatnonzero((count >= FEWEST) & (same.sum(axis=1) >= SAME_DAY * count))
    if len(idle):
        found.append(
            f"{_times(len(idle), 'day')} on which hardly any close differs from the day before's "
            f"({_shown(market.dates[idle])}): weekends or holidays that were filled in; remove their rows, as they "
            "count as days of every horizon."
        )
    known[idle] = False
    stuck = _runs(same & known, ~known) >= SAME_CLOSE
    if stuck.any():
        day, stock = (int(index) for index in np.argwhere(stuck)[0])
        stocks = int(stuck.any(axis=0).sum())
        found.append(
            f"{_times(stocks, 'stock')} whose close stays the same for more than {SAME_CLOSE} rows (first "
            f"{market.symbols[stock]} up to {market.dates[day]}; {_times(int(stuck.sum()), 'row')} beyond those "
            f"{SAME_CLOSE}): suspended, or filled in after a delisting; remove the rows on which a stock was not "
            "traded, as they count as returns of 0."
        )
    return tuple(found)


def _thin(count: NDArray[np.int_]) -> NDArray[np.int_]:
    """Positions of the days with far fewer rows than the days around have in the median."""
    padded = np.pad(count.astype(np.float64), AROUND, constant_values=np.nan)
    around = np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1), axis=1)
    thin: NDArray[np.int_] = np.flatnonzero((around >= FEWEST) & (count < THIN * around))
    return thin


def _runs(same: NDArray[np.bool_], broken: NDArray[np.bool_]) -> NDArray[np.int_]:
    """How many days in a row, up to each day, a stock's close has been the same; days without rows do not count.

    same: bool [D, S]; broken: bool [D, S], where there is no close to compare. Both [D, S], as is what is returned.
    """
    runs = np.zeros(same.shape, dtype=np.int64)
    for day in range(1, len(same)):
        runs[day] = np.where(same[day], runs[day - 1] + 1, np.where(broken[day], runs[day - 1], 0))
    runs[~same] = 0
    return runs


def _times(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _shown(dates: NDArray[np.datetime64]) -> str:
    return ", ".join(map(str, dates[:SHOWN])) + (" and others" if len(dates) > SHOWN else "")
