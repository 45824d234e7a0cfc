"""What a source is refused for, in one sentence each, and what is only warned about."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.market import OHLCV, Market, Wide, is_target
from trainer.data.rolling import shift
from trainer.errors import InputError
from trainer.metrics import MIN_STOCKS, daily_rank_ic

MAX_PAST_CORRELATION = 0.15
"""A target whose mean daily rank correlation with the return into the day is beyond this contains that return: one
day of a window of h has a correlation of 1 / sqrt(h), .22 at h = 20."""

JUMP = 3.0
"""A close more than this many times the day before's, or less than one over it, is warned about."""

SHOWN = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'close'?` or an empty string."""
    match = difflib.get_close_matches(word.lower(), {name.lower(): name for name in known}, n=1)
    return f"; did you mean '{match[0]}'?" if match else ""


def require_columns(file: str, names: Mapping[str, str], present: Sequence[str]) -> None:
    """Refuse a file without a date or symbol column."""
    for name in ("date", "symbol"):
        if name not in names:
            raise _missing(file, name, present)


def require_values(file: str, columns: Sequence[str], present: Sequence[str]) -> None:
    """Refuse a file with neither complete bars nor ready features, or without anything to make labels from."""
    ready = [name for name in columns if name not in OHLCV and not is_target(name)]
    if "close" not in columns and not any(map(is_target, columns)):
        raise _missing(file, "close", present)
    for name in OHLCV:
        if name not in columns and not ready:
            raise _missing(file, name, present)


def _missing(file: str, name: str, present: Sequence[str]) -> InputError:
    close = difflib.get_close_matches(name, [column.lower() for column in present], n=1, cutoff=0.7)
    hint = f"; is '{next(c for c in present if c.lower() == close[0])}' meant? Rename it" if close else "; add it"
    return InputError(f"{file}: column '{name}' is missing (there are {', '.join(present)}){hint}.")


def check_keys(
    day: NDArray[np.int64],
    stock: NDArray[np.int64],
    dates: NDArray[np.datetime64],
    symbols: Sequence[str],
    place: Callable[[int], str],
) -> None:
    """Refuse repeated (date, symbol) and, within a symbol, dates that do not ascend from row to row.

    day, stock: [N], one entry a row.
    """
    order = np.lexsort((np.arange(len(day)), day, stock))
    repeated = np.flatnonzero((np.diff(stock[order]) == 0) & (np.diff(day[order]) == 0))
    if repeated.size:
        second = int(order[repeated + 1].min())
        raise InputError(
            f"{place(second)}: there is already a row for {symbols[stock[second]]} on {dates[day[second]]}; "
            "keep one row per date and symbol."
        )
    order = np.argsort(stock, kind="stable")
    backwards = np.flatnonzero((np.diff(stock[order]) == 0) & (np.diff(day[order]) < 0))
    if backwards.size:
        row = int(order[backwards + 1].min())
        raise InputError(
            f"{place(row)}: {symbols[stock[row]]} goes back in time to {dates[day[row]]}; sort the rows by date."
        )


def check_values(market: Market) -> None:
    """Refuse infinite values, prices that are not positive, and negative volumes."""
    for name in market.columns:
        values = market.read(name)
        _refuse(market, name, np.isinf(values), values, "values must be finite")
        if name in OHLCV[:4]:
            _refuse(market, name, values <= 0, values, "prices must be positive")
        elif name == "volume":
            _refuse(market, name, values < 0, values, "volumes must not be negative")


def _refuse(market: Market, name: str, wrong: NDArray[np.bool_], values: Wide, rule: str) -> None:
    if wrong.any():
        day, stock = (int(index) for index in np.argwhere(wrong)[0])
        raise InputError(
            f"{market.row(day, stock)}: {name} is {values[day, stock]:g}, but {rule} ({int(wrong.sum())} such rows); "
            "correct or remove them."
        )


def check_feature(market: Market, name: str, ranked: NDArray[np.float32]) -> None:
    """Refuse a feature whose ranks [D, S] are the same for all usable stocks of every day."""
    if not ranked.any():
        raise InputError(
            f"{market.name}: feature '{name}' is constant, the same for all stocks of every day; remove its column, or "
            "mend the columns it is made of."
        )


def check_coverage(market: Market, mask: NDArray[np.bool_], days: range) -> None:
    """Refuse a panel where on most of `days` fewer than MIN_STOCKS stocks are usable."""
    count = mask[days.start : days.stop].sum(axis=1)
    thin = int((count < MIN_STOCKS).sum())
    if 2 * thin > len(days):
        raise InputError(
            f"{market.name}: on {thin} of {len(days)} days fewer than {MIN_STOCKS} stocks are usable (median "
            f"{int(np.median(count))}); give more stocks or lower data.min_price."
        )


def check_targets(market: Market) -> None:
    """Refuse a `target_{h}d` column that contains the return into its own day, which is known at its close."""
    if "close" not in market.columns:
        return
    close = market.read("close")
    past = close / shift(close, 1) - 1
    for name in filter(is_target, market.columns):
        daily = daily_rank_ic(past.astype(np.float32), market.read(name).astype(np.float32)).numpy()
        correlation = float(np.nanmean(daily)) if np.isfinite(daily).any() else 0.0
        if abs(correlation) > MAX_PAST_CORRELATION:
            raise InputError(
                f"{market.name}: column '{name}' has a mean daily rank correlation of {correlation:.2f} with the "
                f"return into the day, which it should not contain (at most {MAX_PAST_CORRELATION} is credible); it "
                "must be the return from the day's close on, so shift or remove it."
            )


def warnings(market: Market) -> tuple[str, ...]:
    """Sentences on jumps, gaps and missing cells. Nothing is mended."""
    found = []
    if "close" in market.columns:
        close = market.read("close")
        ratio = close / shift(close, 1)
        jumps = np.argwhere((ratio > JUMP) | (ratio < 1 / JUMP))
        if len(jumps):
            shown = ", ".join(f"{market.symbols[s]} {market.dates[d]} ({ratio[d, s]:.2f}x)" for d, s in jumps[:SHOWN])
            found.append(f"{len(jumps)} closes jump by more than {JUMP:g}x in a day and are used as they are: {shown}.")
    rows = market.rows
    alive = np.logical_or.accumulate(rows, axis=0) & np.logical_or.accumulate(rows[::-1], axis=0)[::-1]
    gaps = alive & ~rows
    if gaps.any():
        stocks = int(gaps.any(axis=0).sum())
        found.append(
            f"{int(gaps.sum())} stock-days are missing between a stock's first and last row, in {stocks} stocks."
        )
    for name in OHLCV if market.has_bars else ():
        empty = int((rows & np.isnan(market.read(name))).sum())
        if empty:
            found.append(f"{empty} rows have no {name}.")
    return tuple(found)
