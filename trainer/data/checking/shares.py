"""Whether a feature is the answer for a share of the stocks: some of them, or one sector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STANDARD_ERRORS = 5.0
"""Beyond luck: a correlation of this many standard errors."""

ALONE, FEW_STOCKS, STOCKS_SHARE = 0.6, 3, 0.01
"""Correlation over the days at which a stock's feature is its answer, and the fewest such stocks that are no chance."""

LONGEST = 20
"""Days of the longest window that is judged here: of longer ones a panel holds too few to tell."""

SMALLEST = 8
"""Stocks of the smallest sector that is judged by itself."""


def stocks_that_follow(
    rows: NDArray[np.float32], ranks: NDArray[np.float32], valid: NDArray[np.float32], days: int
) -> int:
    """Number of stocks whose feature moves over the days as their returns do, 0 where they may be chance.

    rows, ranks, valid: [D, S], the feature's and the returns' ranks and whether the latter are known. days: that a
    return spans.
    """
    if days > LONGEST:
        return 0
    count = valid.sum(axis=0)
    known = np.maximum(count, 1.0)
    x = (rows - (rows * valid).sum(axis=0) / known) * valid
    y = (ranks - (ranks * valid).sum(axis=0) / known) * valid
    length = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    correlation = np.abs((x * y).sum(axis=0)) / np.maximum(length, 1e-9)
    luck = STANDARD_ERRORS * np.sqrt(days / known)
    number = int((correlation >= np.maximum(ALONE, luck)).sum())
    return number if number >= max(FEW_STOCKS, STOCKS_SHARE * rows.shape[1]) else 0


def sector_that_follows(
    rows: NDArray[np.float32],
    ranks: NDArray[np.float32],
    valid: NDArray[np.float32],
    days: int,
    sectors: NDArray[np.int16],
    limit: float,
) -> tuple[int, float] | None:
    """The sector within which the feature orders the stocks most as their returns do, and its mean daily correlation,
    if that is beyond `limit` and beyond luck. sectors: [S]; the others as in `stocks_that_follow`."""
    if days > LONGEST:
        return None
    found: tuple[int, float] | None = None
    for sector in np.unique(sectors[sectors >= 0]):
        inside = sectors == sector
        if inside.sum() < SMALLEST:
            continue
        daily = _within(rows[:, inside], ranks[:, inside], valid[:, inside])
        daily = daily[np.isfinite(daily)]
        if not daily.size:
            continue
        spread = max(float(daily.std()), 1 / np.sqrt(inside.sum() - 1))
        mean, luck = float(daily.mean()), STANDARD_ERRORS * spread / np.sqrt(max(daily.size / days, 1.0))
        if abs(mean) > max(limit, luck, abs(found[1]) if found else 0.0):
            found = int(sector), mean
    return found


def _within(rows: NDArray[np.float32], ranks: NDArray[np.float32], valid: NDArray[np.float32]) -> NDArray[np.float64]:
    """Correlation over the stocks of each day, NaN where fewer than SMALLEST are known or nothing varies."""
    count = valid.sum(axis=1, keepdims=True)
    known = np.maximum(count, 1.0)
    x = (rows - (rows * valid).sum(axis=1, keepdims=True) / known) * valid
    y = (ranks - (ranks * valid).sum(axis=1, keepdims=True) / known) * valid
    length = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        daily: NDArray[np.float64] = np.where(
            (count[:, 0] >= SMALLEST) & (length > 1e-6), (x * y).sum(axis=1) / length, np.nan
        )
    return daily
