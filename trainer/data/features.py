"""The feature recipe: what is known at a day's close, free of price level, ranked over the day's stocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainer.data.cross_section import Groups, rank_normalise
from trainer.data.market import OHLCV, Market, Wide
from trainer.data.rolling import (
    moving_corr,
    moving_count,
    moving_max,
    moving_mean,
    moving_skew,
    moving_std,
    shift,
)
from trainer.errors import InputError

RECIPE = 5
"""Version of features, targets, checks and generator; part of the cache's key. Raise it when any of them changes."""

HISTORY_WINDOW = 60
MIN_HISTORY = 20
"""A stock-day is usable where the last HISTORY_WINDOW days hold at least MIN_HISTORY closes, today's among them."""

SMALLEST_SECTOR = 5
"""Sectors with fewer usable stocks on a day are pooled with the unknown ones."""


class Bars:
    """Daily bars, [D, S] each, and what several features share."""

    def __init__(self, market: Market) -> None:
        self.open, self.high, self.low, self.close, self.volume = (market.read(name) for name in OHLCV)
        self._turnover = traded_value(market)

    @cached_property
    def returns(self) -> Wide:
        """Return into the day."""
        return self.close / shift(self.close, 1) - 1

    @cached_property
    def range(self) -> Wide:
        """High - low, NaN where the stock did not move."""
        return _positive(self.high - self.low)

    @cached_property
    def turnover(self) -> Wide:
        """Traded value, NaN where nothing was traded."""
        return _positive(self._turnover)

    def past_return(self, days: int, until: int = 0) -> Wide:
        """Return from the close `days` days ago to the close `until` days ago."""
        return shift(self.close, until) / shift(self.close, days) - 1


def traded_value(market: Market) -> Wide:
    """The day's turnover as the source has it, or else close times volume. Of prices adjusted for later payments the
    product would tell of these."""
    if "turnover" in market.columns:
        return market.read("turnover")
    return market.read("close") * market.read("volume")


def _positive(values: Wide) -> Wide:
    return np.where(values > 0, values, np.nan)


def _shadow_balance(bars: Bars) -> Wide:
    upper = bars.high - np.maximum(bars.open, bars.close)
    lower = np.minimum(bars.open, bars.close) - bars.low
    return (upper - lower) / _positive(upper + lower)


def _downside_share(bars: Bars) -> Wide:
    losses = moving_mean(np.minimum(bars.returns, 0.0) ** 2, 20)
    return losses / _positive(moving_mean(bars.returns**2, 20))


@dataclass(frozen=True)
class Feature:
    """A formula, the days of history before which it has no value, and whether it gets a sector-relative twin.

    The twin, `..._in_sector`, is the rank less the sector's mean rank, ranked again.
    """

    formula: Callable[[Bars], Wide]
    history: int = 1
    twin: bool = False


FEATURES: Mapping[str, Feature] = {
    "return_1d": Feature(lambda b: b.returns, 2, twin=True),
    "return_5d": Feature(lambda b: b.past_return(5), 6, twin=True),
    "return_20d": Feature(lambda b: b.past_return(20), 21, twin=True),
    "return_60d": Feature(lambda b: b.past_return(60), 61),
    "momentum_12_1": Feature(lambda b: b.past_return(252, until=21), 253, twin=True),
    "overnight_return": Feature(lambda b: b.open / shift(b.close, 1) - 1, 2),
    "intraday_return": Feature(lambda b: b.close / b.open - 1),
    "range_1d": Feature(lambda b: b.range / b.close),
    "range_surprise": Feature(lambda b: b.range / moving_mean(b.range, 20), 20),
    "close_location": Feature(lambda b: (2 * b.close - b.high - b.low) / b.range),
    "shadow_balance": Feature(_shadow_balance, twin=True),
    "body_share": Feature(lambda b: np.abs(b.close - b.open) / b.range),
    "volatility_20d": Feature(lambda b: moving_std(b.returns, 20), 20, twin=True),
    "volatility_ratio": Feature(lambda b: moving_std(b.returns, 5) / _positive(moving_std(b.returns, 60)), 60),
    "downside_share": Feature(_downside_share, 20),
    "skewness_60d": Feature(lambda b: moving_skew(b.returns, 60), 60),
    "max_return_20d": Feature(lambda b: moving_max(b.returns, 20), 20),
    "distance_to_high": Feature(lambda b: b.close / moving_max(b.close, 252), 252),
    "distance_to_mean": Feature(lambda b: b.close / moving_mean(b.close, 20), 20),
    "volume_surprise": Feature(lambda b: b.volume / _positive(moving_mean(shift(b.volume, 1), 20)), 20, twin=True),
    "volume_trend": Feature(lambda b: moving_mean(b.volume, 5) / _positive(moving_mean(b.volume, 60)), 60),
    "turnover_20d": Feature(lambda b: moving_mean(b.turnover, 20), 20, twin=True),
    "illiquidity_20d": Feature(lambda b: moving_mean(np.abs(b.returns) / b.turnover, 20), 20),
    "return_volume_corr": Feature(lambda b: moving_corr(b.returns, np.log(_positive(b.volume)), 20), 20),
}
"""The recipe. The order of the stocks within a day is all that is kept of a formula's values."""


def too_long(market: Market) -> tuple[str, ...]:
    """Features of the recipe whose history is longer than the panel, and which are therefore not made."""
    return tuple(name for name, feature in FEATURES.items() if market.has_bars and feature.history > len(market.dates))


def usable(market: Market, min_price: float) -> NDArray[np.bool_]:
    """Stock-days that may be fed to a model: bool [D, S].

    With bars: a close, and MIN_HISTORY of them within HISTORY_WINDOW days. With ready features alone: a row, and a
    close where the source has that column. Inside the universe of the day, where the source has one.
    """
    mask = market.rows.copy()
    if "universe" in market.columns:
        mask &= market.read("universe") > 0
    if "close" in market.columns:
        close = market.read("close")
        paid = market.read("raw_close") if "raw_close" in market.columns else close
        mask &= np.isfinite(close) & (np.nan_to_num(paid) >= min_price)
        if market.has_bars:
            mask &= moving_count(np.isfinite(close), HISTORY_WINDOW) >= MIN_HISTORY
    elif min_price:
        raise InputError(
            f"data.min_price={min_price:g} needs a column 'close', which {market.name} lacks; set it to 0."
        )
    return mask


def feature_names(market: Market) -> tuple[str, ...]:
    """Names of the features that `make_features` yields, in order."""
    made = [name for name in FEATURES if name not in too_long(market)] if market.has_bars else []
    twins = [f"{name}_in_sector" for name in made if FEATURES[name].twin and market.sector_names]
    return (*made, *twins, *market.ready)


def make_features(market: Market, mask: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each feature with its values [D, S], ranked per day over the usable stocks; in no particular order."""
    if market.has_bars:
        yield from _from_bars(market, mask)
    for name in market.ready:
        yield name, rank_normalise(market.read(name), mask)


def _from_bars(market: Market, mask: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    bars = Bars(market)
    names = set(feature_names(market))
    groups = Groups(market.sectors, mask, SMALLEST_SECTOR)
    for name, feature in FEATURES.items():
        if name not in names:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            values = feature.formula(bars)
        ranked = rank_normalise(values, mask)
        yield name, ranked
        twin = f"{name}_in_sector"
        if twin in names:
            known = mask & np.isfinite(values)
            yield twin, rank_normalise(ranked - groups.mean(ranked, known), known)
