"""The feature recipe against pandas, formula by formula; which stock-days are usable; panels that are not full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.config import DataConfig
from trainer.data import open_holdout, open_training, prepare
from trainer.data.cross_section import Groups, rank_normalise
from trainer.data.features import (
    FEATURES,
    HISTORY_WINDOW,
    MIN_HISTORY,
    SMALLEST_SECTOR,
    make_features,
    too_long,
    usable,
)
from trainer.data.market import OHLCV, Market
from trainer.data.planted import generate
from trainer.data.targets import MIN_LABELS, make_targets, neutralise, style_ranks

DAYS, STOCKS = 290, 15


def market_of(columns: Mapping[str, np.ndarray], sectors: int = 0) -> Market:
    days, stocks = columns["close"].shape
    return Market(
        name="made",
        dates=np.arange(days).astype("datetime64[D]"),
        symbols=tuple(map(str, range(stocks))),
        columns=tuple(columns),
        read=lambda name: columns[name].copy(),
        rows=np.isfinite(columns["close"]),
        row=str,
        sectors=np.tile(np.arange(stocks) % sectors if sectors else np.full(stocks, -1), (days, 1)).astype(np.int16),
        sector_names=tuple("abc"[:sectors]),
    )


@pytest.fixture(scope="module")
def bars() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    close = 50 * np.exp(np.cumsum(0.02 * rng.standard_t(4, (DAYS, STOCKS)), axis=0))
    opened = close * np.exp(0.01 * rng.standard_normal(close.shape))
    high = np.maximum(opened, close) * (1 + 0.01 * rng.random(close.shape))
    low = np.minimum(opened, close) * (1 - 0.01 * rng.random(close.shape))
    volume = np.exp(rng.normal(10, 1, close.shape))
    return {"open": opened, "high": high, "low": low, "close": close, "volume": volume}


def by_pandas(bars: Mapping[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    o, h, lo, c, v = (pd.DataFrame(bars[name]) for name in OHLCV)
    r, width, money = c / c.shift(1) - 1, h - lo, c * v
    upper, lower = h - np.maximum(o, c), np.minimum(o, c) - lo
    return {
        "return_1d": r,
        "return_5d": c / c.shift(5) - 1,
        "return_20d": c / c.shift(20) - 1,
        "return_60d": c / c.shift(60) - 1,
        "momentum_12_1": c.shift(21) / c.shift(252) - 1,
        "overnight_return": o / c.shift(1) - 1,
        "intraday_return": c / o - 1,
        "range_1d": width / c,
        "range_surprise": width / width.rolling(20).mean(),
        "close_location": (2 * c - h - lo) / width,
        "shadow_balance": (upper - lower) / (upper + lower),
        "body_share": (c - o).abs() / width,
        "volatility_20d": r.rolling(20).std(),
        "volatility_ratio": r.rolling(5).std() / r.rolling(60).std(),
        "downside_share": (r.clip(upper=0) ** 2).rolling(20).mean() / (r**2).rolling(20).mean(),
        "skewness_60d": r.rolling(60).skew(),
        "max_return_20d": r.rolling(20).max(),
        "distance_to_high": c / c.rolling(252).max(),
        "distance_to_mean": c / c.rolling(20).mean(),
        "volume_surprise": v / v.shift(1).rolling(20).mean(),
        "volume_trend": v.rolling(5).mean() / v.rolling(60).mean(),
        "turnover_20d": money.rolling(20).mean(),
        "illiquidity_20d": (r.abs() / money).rolling(20).mean(),
        "return_volume_corr": r.rolling(20).corr(np.log(v)),
    }


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_is_its_formula(name: str, bars: dict[str, np.ndarray]) -> None:
    market = market_of(bars)
    mask = usable(market, 0.0)
    made = dict(make_features(market, mask))[name][255:]
    expected = rank_normalise(by_pandas(bars)[name].to_numpy(), mask)[255:]
    assert (np.abs(made - expected) > 1e-6).mean() < 0.002  # rounding may swap a near tie


def test_a_twin_is_the_rank_less_that_of_the_sector_over_the_stocks_that_have_one(bars: dict[str, np.ndarray]) -> None:
    holed = {**bars, "open": bars["open"].copy()}
    holed["open"][280, [0, 3, 7]] = np.nan
    market = market_of(holed, sectors=2)
    made = dict(make_features(market, usable(market, 0.0)))
    rank, twin = made["shadow_balance"][280], made["shadow_balance_in_sector"][280]
    known = np.isfinite(holed["open"][280])
    relative = rank.astype(float)
    for sector in range(2):
        inside = (market.sectors[280] == sector) & known
        relative[inside] -= rank[inside].mean()
    np.testing.assert_allclose(twin, rank_normalise(relative[None], known[None])[0], atol=1e-6)
    assert not twin[~known].any()


def test_sectors_of_the_smallest_size_stand_alone() -> None:
    sectors = np.repeat([0, 1], [SMALLEST_SECTOR, SMALLEST_SECTOR - 1]).astype(np.int16)[None]
    together = Groups(sectors, np.ones(sectors.shape, dtype=bool), SMALLEST_SECTOR).total(np.ones(sectors.shape))
    assert together.tolist() == [[SMALLEST_SECTOR] * SMALLEST_SECTOR + [SMALLEST_SECTOR - 1] * (SMALLEST_SECTOR - 1)]


def test_a_stock_day_needs_its_close_its_price_and_enough_closes_in_the_window(bars: dict[str, np.ndarray]) -> None:
    today = 200
    close = bars["close"].copy()
    window = slice(today + 1 - HISTORY_WINDOW, today + 1)
    for stock, closes in ((0, MIN_HISTORY), (1, MIN_HISTORY - 1)):
        close[: today + 1 - closes, stock] = np.nan
    close[window, 2] = np.nan
    close[today + 2 - MIN_HISTORY : today + 1, 2] = 60.0
    close[today - HISTORY_WINDOW, 2] = 60.0  # the twentieth close, a day before the window
    close[today, 3] = np.nan
    close[today, 4:7] = 10.0, 9.99, np.nan
    mask = usable(market_of({**bars, "close": close}), min_price=10.0)[today]
    assert mask[:7].tolist() == [True, False, False, False, True, False, False]


def test_a_row_without_a_close_is_not_usable_and_a_feature_needs_no_day_more_than_its_history(
    bars: dict[str, np.ndarray],
) -> None:
    cut = {name: values[:252].copy() for name, values in bars.items()}
    cut["close"][200, 3] = np.nan
    market = market_of(cut)
    market = replace(market, rows=np.ones_like(market.rows))
    assert not usable(market, 0.0)[200, 3]
    assert too_long(market) == ("momentum_12_1",)  # 253 days; the distance to the high of 252 is made


def test_styles_are_what_was_known_at_the_close(bars: dict[str, np.ndarray]) -> None:
    market = market_of(bars)
    mask = usable(market, 0.0)
    close, volume = pd.DataFrame(bars["close"]), pd.DataFrame(bars["volume"])
    returns = close / close.shift(1) - 1
    expected = (
        returns.rolling(20).std(),
        np.log1p(returns).shift(20).rolling(100).mean(),
        (close * volume).rolling(20).mean(),
    )
    styles = style_ranks(market, mask)
    assert styles.shape[-1] == len(expected)
    for column, values in enumerate(expected):
        ranked = rank_normalise(values.to_numpy(), mask)[150:]
        assert (np.abs(styles[150:, :, column] - ranked) > 1e-6).mean() < 0.002


def one_group(mask: np.ndarray) -> Groups:
    return Groups(np.full(mask.shape, -1, dtype=np.int16), mask, SMALLEST_SECTOR)


@pytest.mark.parametrize(("variant", "of"), [("neutral", "raw"), ("neutral_lag1", "lag1")])
def test_each_neutral_target_is_the_residual_of_its_own_label(
    variant: str, of: str, bars: dict[str, np.ndarray]
) -> None:
    market = market_of(bars)
    mask = usable(market, 0.0)
    targets = make_targets(market, mask, (1, 5))
    expected = neutralise(targets[of].astype(float), style_ranks(market, mask), one_group(mask))
    np.testing.assert_allclose(targets[variant], expected, atol=1e-6)


def test_a_day_of_the_fewest_labels_has_a_neutral_target_and_one_less_has_none() -> None:
    rng = np.random.default_rng(0)
    targets, styles = rng.standard_normal((2, 20, 1)), rng.standard_normal((2, 20, 2))
    targets[0, MIN_LABELS:], targets[1, MIN_LABELS - 1 :] = np.nan, np.nan
    neutral = neutralise(targets, styles, one_group(np.ones((2, 20), dtype=bool)))
    assert np.isfinite(neutral[0, :MIN_LABELS]).all()
    assert np.isnan(neutral[1]).all()


def test_hundreds_of_ready_features_with_late_listings_delistings_and_missing_days(
    write: Callable[..., str], small: Mapping[str, object], tmp_path: Path
) -> None:
    rng, columns = np.random.default_rng(0), 320
    dates = pd.bdate_range("2020-01-01", periods=120)
    present = np.ones((14, 120), dtype=bool)
    present[0, :30] = False  # listed late
    present[1, 70:] = False  # delisted
    present[2, 40:45] = False  # not traded
    present[:, 50] = False  # a holiday
    stock, day = np.nonzero(present)
    close = 50 * np.exp(np.cumsum(0.02 * rng.standard_normal((14, 120)), axis=1))
    table = pd.DataFrame(
        rng.standard_normal((len(day), columns)).astype(np.float32), columns=[f"f{n:03d}" for n in range(columns)]
    )
    table.insert(0, "date", dates[day].strftime("%Y-%m-%d"))
    table.insert(1, "symbol", [f"S{number:02d}" for number in stock])
    table["close"] = close[stock, day]
    prepared = prepare(DataConfig.model_validate({"source": write(table), **small}), 4, tmp_path / "cache")
    panel, holdout = open_training(prepared.search).panel, open_holdout(prepared.holdout).panel

    assert panel.feature_names == tuple(f"f{n:03d}" for n in range(columns))
    assert len(holdout.dates) == 119  # the holiday is no trading day
    traded = np.delete(present, 50, axis=1).T
    np.testing.assert_array_equal(holdout.mask, traded)
    assert not panel.features[~panel.mask].any()
    assert np.isfinite(panel.features).all()
    raw = panel.targets["raw"]
    assert np.isfinite(raw[30:60, 0]).all()
    assert np.isnan(raw[:30, 0]).all()
    assert np.isfinite(raw[:68, 1, 1][30:]).all()  # up to its last close, also where it comes before the third day
    assert np.isnan(raw[68:, 1, 0]).all()  # day 69 is its last, and 50 is none
    assert np.isnan(raw[39:44, 2]).all()  # on the day before five without trading, nothing is known of the next three
    assert np.isfinite(raw[[38, 45], 2]).all()


@pytest.mark.parametrize("scheme", ["expanding", "rolling"])
def test_walk_forward_folds_go_through_preparation(scheme: str, tmp_path: Path) -> None:
    split = {"num_folds": 3, "scheme": scheme}
    source = "planted:clean?stocks=12&days=400"
    prepared = prepare(DataConfig.model_validate({"source": source, "horizons": (1, 5), "split": split}), 4, tmp_path)
    folds = open_training(prepared.search).folds
    assert len(folds) == 3
    assert all(fold.valid.start - fold.train.stop == 9 for fold in folds)
    assert [len(later.train) > len(first.train) for first, later in pairwise(folds)] == [scheme == "expanding"] * 2
    assert (
        generate(source, (1, 5)).dates[folds[-1].valid.stop + 9]
        == open_holdout(prepared.holdout).panel.dates[open_holdout(prepared.holdout).days.start]
    )
