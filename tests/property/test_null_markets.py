"""Where nothing can be found nothing is: random walks with splits, dividends, listings and delistings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from trainer.data.checking.bars import check_bars
from trainer.data.checking.values import check_values
from trainer.data.cross_section import rank_normalise
from trainer.data.features import make_features, usable
from trainer.data.market import Market
from trainer.data.reading import load
from trainer.data.targets import make_targets
from trainer.errors import InputError
from trainer.metrics import daily_rank_ic

DAYS, STOCKS, TRAIN, HORIZONS = 260, 40, 170, (1, 5, 20)
MARKETS = 10
"""Of each shape."""

BARS = ("open", "high", "low", "close")
SHAPES: Mapping[str, str] = {
    "adjusted": "open=open high=high low=low close=close volume=volume",
    "adjusted close": "open=raw_open high=raw_high low=raw_low close=raw_close adj_close=close volume=raw_volume",
    "both": "Open=raw_open High=raw_high Low=raw_low Close=raw_close Volume=raw_volume AdjustmentOpen=open "
    "AdjustmentHigh=high AdjustmentLow=low AdjustmentClose=close AdjustmentVolume=volume",
    "delisting return": "open=open high=high low=low close=close volume=volume delisting_return=delisting_return",
}
HALF = "open=plain_open high=plain_high low=plain_low close=close volume=volume"


def walk(seed: int) -> pd.DataFrame:
    """Long format: `open ... volume` adjusted for splits and dividends, `plain_...` for splits alone, `raw_...` as
    traded.

    The price walks at random and takes no notice of dividends, so that whoever knew the later ones would earn them.
    """
    rng = np.random.default_rng(seed)
    shape = (DAYS, STOCKS)
    returns = (0.02 * rng.standard_normal(shape) + 0.008 * rng.standard_normal((DAYS, 1))).clip(-0.2, 0.2)
    yields = np.where(rng.random(shape) < 0.012, rng.uniform(0.03, 0.12, shape), 0.0)
    paid = np.vstack([np.ones((1, STOCKS)), np.cumprod(1 - yields[:0:-1], axis=0)])[::-1]
    close = rng.uniform(10, 100, STOCKS) * np.cumprod(1 + returns, axis=0)
    opened = close / (1 + returns) * (1 + 0.5 * returns + 0.003 * rng.standard_normal(shape))
    columns = {"open": opened, "close": close}
    columns["high"] = np.maximum(opened, close) * (1 + 0.008 * rng.random(shape))
    columns["low"] = np.minimum(opened, close) * (1 - 0.008 * rng.random(shape))
    columns["volume"] = np.exp(rng.normal(11, 0.7, shape))
    splits = np.where(rng.random(shape) < 0.004, rng.choice([1.5, 2.0, 3.0, 0.2], shape), 1.0)
    ahead = np.vstack([np.ones((1, STOCKS)), np.cumprod(splits[:0:-1], axis=0)])[::-1]
    for name in BARS:
        columns[f"raw_{name}"] = columns[name] * ahead
        columns[f"plain_{name}"] = columns[name]
        columns[name] = columns[name] * paid
    columns["raw_volume"] = columns["volume"] / ahead
    first = np.where(rng.random(STOCKS) < 0.25, rng.integers(0, TRAIN, STOCKS), 0)
    last = np.where(rng.random(STOCKS) < 0.25, rng.integers(TRAIN // 2, DAYS, STOCKS), DAYS)
    day = np.arange(DAYS)[:, None]
    columns["delisting_return"] = np.where(day == last - 1, 0.3 * rng.standard_normal(STOCKS).clip(-3, 3), np.nan)
    rows = (day >= first) & (day < last) & (rng.random(shape) > 0.01)
    days, stocks = np.nonzero(rows)
    keys = {"date": pd.bdate_range("2020-01-01", periods=DAYS)[days], "symbol": [f"S{number:02d}" for number in stocks]}
    return pd.DataFrame(keys | {name: values[days, stocks] for name, values in columns.items()})


def shaped(table: pd.DataFrame, names: str) -> pd.DataFrame:
    pairs = [pair.split("=") for pair in names.split()]
    return table[["date", "symbol"]].assign(**{new: table[old] for new, old in pairs})


def ridge_rank_ic(market: Market) -> NDArray[np.float64]:
    """Validation RankIC of a ridge regression of each horizon's daily ranks on all features, [H]."""
    mask = usable(market, 0.0)
    features = np.stack([values for _, values in make_features(market, mask)], axis=2).astype(np.float64)
    targets = make_targets(market, mask, HORIZONS)["raw"]
    found = []
    for column, horizon in enumerate(HORIZONS):
        label = targets[..., column]
        known = np.isfinite(label) & mask
        learnt = known & (np.arange(DAYS) < TRAIN - horizon)[:, None]
        X, y = features[learnt], rank_normalise(label, known)[learnt]
        weights = np.linalg.solve(X.T @ X + 1e-2 * len(X) * np.eye(X.shape[1]), X.T @ y)
        scores = np.where(mask, features @ weights, np.nan)[TRAIN:].astype(np.float32)
        found.append(float(np.nanmean(daily_rank_ic(scores, label[TRAIN:]).numpy())))
    return np.array(found)


def many(names: str, folder: Path) -> NDArray[np.float64]:
    """[MARKETS, H]"""
    found = []
    for seed in range(MARKETS):
        path = folder / f"{seed}.parquet"
        shaped(walk(seed), names).to_parquet(path, index=False)
        found.append(ridge_rank_ic(load(str(path))))
    return np.array(found)


def errors_from_zero(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean in standard errors."""
    distance: NDArray[np.float64] = found.mean(axis=0) / (found.std(axis=0, ddof=1) / np.sqrt(len(found)))
    return distance


@pytest.mark.parametrize("shape", SHAPES)
def test_a_ridge_regression_finds_nothing(shape: str, tmp_path: Path) -> None:
    names = SHAPES[shape]
    path = tmp_path / "first.parquet"
    shaped(walk(0), names).to_parquet(path, index=False)
    market = load(str(path))
    check_values(market)
    assert not any("splits" in warning for warning in check_bars(market))
    found = many(names, tmp_path)
    assert (np.abs(errors_from_zero(found)) < 4.0).all(), found.mean(axis=0)
    assert np.abs(found.mean(axis=0)).max() < 0.04


def test_the_test_would_see_half_adjusted_prices_which_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "first.parquet"
    shaped(walk(0), HALF).to_parquet(path, index=False)
    with pytest.raises(InputError, match="adjusted in part"):
        check_bars(load(str(path)))
    found = many(HALF, tmp_path)
    assert errors_from_zero(found)[2] > 4.0
    assert found.mean(axis=0)[2] > 0.04
