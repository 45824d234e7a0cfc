"""What the champion's scores would have been worth: deciles, turnover, a long-short curve net of costs, sectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

COST = 5e-4
"""Cost of trading one unit of value, once (5 basis points); stated beside every net figure."""

SHARE = 0.2
"""Share of the day's stocks held long, and the same held short."""

FEWEST_STOCKS = 10
"""A day with fewer scored stocks holds nothing; a sector with fewer has no RankIC that day."""

NUM_DECILES = 10

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PanelScores:
    """One configuration's scores on holdout days beside what happened.

    dates: [D]. scores: [D, S, H], NaN where the stock-day is not usable. targets: `raw`, `neutral`, `lag1`,
    `neutral_lag1` -> [D, S, H], NaN without a label. returns: [D, S] close-to-close return into the day. sectors:
    [D, S], position in sector_names or -1.
    """

    dates: NDArray[np.datetime64]
    horizons: tuple[int, ...]
    scores: NDArray[np.float32]
    targets: Mapping[str, NDArray[np.float32]]
    returns: NDArray[np.float32]
    sectors: NDArray[np.int16]
    sector_names: tuple[str, ...]


def decile_returns(scores: NDArray[np.float32], target: NDArray[np.float32]) -> Array:
    """Mean forward return of each decile of the day's scores, less the day's mean over all scored stocks.

    scores, target: [D, S], NaN where absent. Returns [10], lowest scores first; NaN without a usable day.
    """
    sums, num_days = np.zeros(NUM_DECILES), 0
    for day_scores, day_target in zip(scores, target, strict=True):
        valid = np.isfinite(day_scores) & np.isfinite(day_target)
        if valid.sum() < FEWEST_STOCKS:
            continue
        position = (rankdata(day_scores[valid], method="ordinal") - 1) * NUM_DECILES // valid.sum()
        excess = day_target[valid] - day_target[valid].mean()
        members = np.bincount(position, minlength=NUM_DECILES)
        sums += np.bincount(position, weights=excess, minlength=NUM_DECILES) / np.maximum(members, 1)
        num_days += 1
    return sums / num_days if num_days else np.full(NUM_DECILES, np.nan)


def long_short_weights(scores: NDArray[np.float32], holding_days: int) -> Array:
    """Weights held from each day's close: the best fifth long, the worst fifth short, equal within each, one unit of
    value a side; the mean of the last holding_days such portfolios, so that 1 / holding_days is renewed each day
    (Jegadeesh & Titman 1993). scores: [D, S], NaN where absent. Returns [D, S]."""
    daily = np.zeros(scores.shape)
    for day, day_scores in enumerate(scores):
        valid = np.flatnonzero(np.isfinite(day_scores))
        if len(valid) < FEWEST_STOCKS:
            continue
        order = valid[np.argsort(day_scores[valid], kind="stable")]
        num_held = max(1, int(len(valid) * SHARE))
        daily[day, order[-num_held:]] = 1 / num_held
        daily[day, order[:num_held]] = -1 / num_held
    sums = np.cumsum(daily, axis=0)
    sums[holding_days:] -= sums[:-holding_days].copy()
    return sums / holding_days


@dataclass(frozen=True)
class LongShort:
    """A long-short portfolio's days. gross, net: [D] returns on one unit of value a side; net of `cost` for each unit
    traded. turnover: [D] value traded per unit of value held (both sides; 1 is a complete exchange each day)."""

    gross: Array
    net: Array
    turnover: Array
    cost: float

    def yearly_ratio(self, series: Array) -> float:
        """Sharpe ratio a year of 252 trading days, NaN without variation."""
        spread = series.std(ddof=1)
        return float(series.mean() / spread * np.sqrt(252)) if spread > 0 else float("nan")


def long_short(scored: PanelScores, horizon: int, lag: int = 0, cost: float = COST) -> LongShort:
    """Trade on one horizon's scores, held for that horizon; entered at the close of the day, or `lag` closes later.

    Weights drifting with prices between the renewals are not modelled; a missing return counts as 0.
    """
    weights = long_short_weights(scored.scores[:, :, scored.horizons.index(horizon)], horizon)
    held = np.zeros_like(weights)
    held[1 + lag :] = weights[: len(weights) - 1 - lag]
    gross = (held * np.nan_to_num(scored.returns.astype(np.float64))).sum(axis=1)
    traded = np.abs(np.diff(held, axis=0, prepend=0.0)).sum(axis=1)
    size = np.abs(held).sum(axis=1)
    turnover = np.divide(traded, 2 * size, out=np.zeros_like(traded), where=size > 0)
    return LongShort(gross, gross - cost * traded, turnover, cost)


def sector_rank_ic(scored: PanelScores, horizon: int, target: str = "raw") -> dict[str, Array]:
    """Daily RankIC within each sector that has at least 10 scored stocks on some day: name -> [D], NaN elsewhere."""
    position = scored.horizons.index(horizon)
    scores, labels = scored.scores[:, :, position], scored.targets[target][:, :, position]
    found = {}
    for number, name in enumerate(scored.sector_names):
        members = scored.sectors == number
        inside = np.where(members, scores, np.nan), np.where(members, labels, np.nan)
        daily = np.array([_rank_ic(*day) for day in zip(*inside, strict=True)])
        if np.isfinite(daily).any():
            found[name] = daily
    return found


def _rank_ic(scores: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Spearman correlation over the pairs that are there; NaN below 10 or without variation."""
    valid = np.isfinite(scores) & np.isfinite(target)
    if valid.sum() < FEWEST_STOCKS:
        return float("nan")
    first, second = rankdata(scores[valid]), rankdata(target[valid])
    first, second = first - first.mean(), second - second.mean()
    size = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / size) if size > 0 else float("nan")
