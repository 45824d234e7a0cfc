"""Single values, keys and coverage: what cannot be used is refused, gaps are warned about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.data.market import OHLCV, Market, Wide, is_target
from trainer.data.rolling import shift
from trainer.errors import InputError
from trainer.metric_names import MIN_STOCKS

MAX_PAST_CORRELATION = 0.15
"""A target whose mean daily rank correlation with the return into the day is beyond this contains that return: one
day of a window of h has a correlation of 1 / sqrt(h), .22 at h = 20."""

PRICES_WITHIN = (1e-9, 1e12)
MOST_VOLUME = 1e18
MOST_RETURN = 1e6
"""Beyond these a value is a mistake, and would not survive the arithmetic of the features."""


def check_values(market: Market) -> None:
    """Refuse infinite values, prices that are not positive, and negative volumes."""
    for name in market.columns:
        values = market.read(name)
        _refuse(market, name, np.isinf(values), values, "values must be finite")
        if name in (*OHLCV[:4], "raw_close"):
            _refuse(market, name, values <= 0, values, "prices must be positive")
            low, high = PRICES_WITHIN
            _refuse(market, name, (values < low) | (values > high), values, f"prices must lie in {low:g} .. {high:g}")
        elif name in ("volume", "turnover"):
            _refuse(market, name, values < 0, values, f"{name}s must not be negative")
            _refuse(market, name, values > MOST_VOLUME, values, f"{name}s above {MOST_VOLUME:g} are not credible")
        elif is_target(name):
            _refuse(market, name, np.abs(values) > MOST_RETURN, values, f"returns beyond {MOST_RETURN:g} are not one")
        elif name == "delisting_return":
            _refuse(market, name, (values < -1) | (values > MOST_RETURN), values, "a return is -1 or more")


def _refuse(market: Market, name: str, wrong: NDArray[np.bool_], values: Wide, rule: str) -> None:
    if wrong.any():
        day, stock = (int(index) for index in np.argwhere(wrong)[0])
        raise InputError(
            f"{market.row(day, stock)}: {name} is {values[day, stock]:g}, but {rule} ({int(wrong.sum())} such rows); "
            "correct or remove them."
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
    from trainer.metrics import daily_rank_ic  # imports torch, which a process that opens prepared data does without

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


def gaps(market: Market, min_price: float) -> tuple[str, ...]:
    """Sentences on gaps, missing cells and a universe that the future may choose. Nothing is mended."""
    found = []
    if min_price and "raw_close" not in market.columns:
        found.append(
            f"data.min_price={min_price:g} is compared with the only close there is: if it is adjusted for later "
            "splits, stocks are chosen by what happens later; give the plain close beside adj_close."
        )
    rows = market.rows
    alive = np.logical_or.accumulate(rows, axis=0) & np.logical_or.accumulate(rows[::-1], axis=0)[::-1]
    gaps = alive & ~rows
    if gaps.any():
        stocks = int(gaps.any(axis=0).sum())
        found.append(
            f"Missing stock-days between a stock's first and last row: {int(gaps.sum()):,}, "
            f"of {stocks:,} of the stocks."
        )
    for name in OHLCV if market.has_bars else ():
        empty = int((rows & np.isnan(market.read(name))).sum())
        if empty:
            found.append(f"Rows without {name}: {empty:,}.")
    return tuple(found)
