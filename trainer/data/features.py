"""The feature recipe: what is known at a day's close, free of price level, ranked over the day's stocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainer.data.cross_section import group_mean, pooled_sectors, rank_normalise
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

RECIPE = 1
"""Version of the features, targets, checks and generator; part of the cache's key. Raise it when any of them changes."""

HISTORY_WINDOW = 60
MIN_HISTORY = 20
"""A stock-day is usable where the last HISTORY_WINDOW days hold at least MIN_HISTORY closes, today's among them."""

SMALLEST_SECTOR = 5
"""Sectors with fewer stocks are pooled with the unknown ones."""


class Bars:
    """Daily bars, [D, S] each, and what several features share."""

    def __init__(self, market: Market) -> None:
        self.open, self.high, self.low, self.close, self.volume = (market.read(name) for name in OHLCV)

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
        return _positive(self.close * self.volume)

    def past_return(self, days: int, until: int = 0) -> Wide:
        """Return from the close `days` days ago to the close `until` days ago."""
        return shift(self.close, until) / shift(self.close, days) - 1


def _positive(values: Wide) -> Wide:
    return np.where(values > 0, values, np.nan)


def _shadow_balance(bars: Bars) -> Wide:
    upper = bars.high - np.maximum(bars.open, bars.close)
    lower = np.minimum(bars.open, bars.close) - bars.low
    return (upper - lower) / _positive(upper + lower)


def _downside_share(bars: Bars) -> Wide:
    losses = moving_mean(np.minimum(bars.returns, 0.0) ** 2, 20)
    return losses / _positive(moving_mean(bars.returns**2, 20))


FEATURES: Mapping[str, Callable[[Bars], Wide]] = {
    "return_1d": lambda b: b.returns,
    "return_5d": lambda b: b.past_return(5),
    "return_20d": lambda b: b.past_return(20),
    "return_60d": lambda b: b.past_return(60),
    "momentum_12_1": lambda b: b.past_return(252, until=21),
    "overnight_return": lambda b: b.open / shift(b.close, 1) - 1,
    "intraday_return": lambda b: b.close / b.open - 1,
    "range_1d": lambda b: b.range / b.close,
    "range_surprise": lambda b: b.range / moving_mean(b.range, 20),
    "close_location": lambda b: (2 * b.close - b.high - b.low) / b.range,
    "shadow_balance": _shadow_balance,
    "body_share": lambda b: np.abs(b.close - b.open) / b.range,
    "volatility_20d": lambda b: moving_std(b.returns, 20),
    "volatility_ratio": lambda b: moving_std(b.returns, 5) / _positive(moving_std(b.returns, 60)),
    "downside_share": _downside_share,
    "skewness_60d": lambda b: moving_skew(b.returns, 60),
    "max_return_20d": lambda b: moving_max(b.returns, 20),
    "distance_to_high": lambda b: b.close / moving_max(b.close, 252),
    "distance_to_mean": lambda b: b.close / moving_mean(b.close, 20),
    "volume_surprise": lambda b: b.volume / _positive(moving_mean(shift(b.volume, 1), 20)),
    "volume_trend": lambda b: moving_mean(b.volume, 5) / _positive(moving_mean(b.volume, 60)),
    "turnover_20d": lambda b: moving_mean(b.turnover, 20),
    "illiquidity_20d": lambda b: moving_mean(np.abs(b.returns) / b.turnover, 20),
    "return_volume_corr": lambda b: moving_corr(b.returns, np.log(_positive(b.volume)), 20),
}
"""Raw features by name. Their order of stocks within a day is all that is kept."""

SECTOR_TWINS: tuple[str, ...] = (
    "return_1d",
    "return_5d",
    "return_20d",
    "momentum_12_1",
    "shadow_balance",
    "volatility_20d",
    "volume_surprise",
    "turnover_20d",
)
"""Features that get a twin `..._in_sector`: the rank less the sector's mean rank, ranked again."""


def usable(market: Market, min_price: float) -> NDArray[np.bool_]:
    """Stock-days that may be fed to a model: bool [D, S]."""
    if market.has_bars:
        close = market.read("close")
        traded = np.isfinite(close)
        history = moving_count(traded, HISTORY_WINDOW) >= MIN_HISTORY
        return traded & history & (np.nan_to_num(close) >= min_price)
    present = np.zeros((len(market.dates), len(market.symbols)), dtype=np.int64)
    for name in market.ready:
        present += np.isfinite(market.read(name))
    mask = 2 * present >= len(market.ready)
    if min_price:
        mask &= np.nan_to_num(market.read("close")) >= min_price
    return mask


def feature_names(market: Market) -> tuple[str, ...]:
    """Names of the features that `make_features` yields, in order."""
    made: list[str] = []
    if market.has_bars:
        made += FEATURES
        if market.sector_names:
            made += [f"{name}_in_sector" for name in SECTOR_TWINS]
    return (*made, *market.ready)


def make_features(market: Market, mask: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each feature with its values [D, S], ranked per day over the usable stocks."""
    if market.has_bars:
        yield from _from_bars(market, mask)
    for name in market.ready:
        yield name, rank_normalise(market.read(name), mask)


def _from_bars(market: Market, mask: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    bars = Bars(market)
    twins: dict[str, NDArray[np.float32]] = {}
    sectors = pooled_sectors(market.sectors, SMALLEST_SECTOR)
    for name, formula in FEATURES.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            values = formula(bars)
        ranked = rank_normalise(values, mask)
        yield name, ranked
        if market.sector_names and name in SECTOR_TWINS:
            known = mask & np.isfinite(values)
            twins[name] = rank_normalise(ranked - group_mean(ranked, known, sectors), known)
    for name in SECTOR_TWINS if twins else ():
        yield f"{name}_in_sector", twins[name]
