"""Where nothing can be found nothing is: random walks with splits, dividends, listings and delistings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from benchmarks.null.campaigns import run
from benchmarks.null.markets import HALF, SHAPES, shaped
from benchmarks.null.markets import walk as any_walk
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


def walk(seed: int) -> pd.DataFrame:
    return any_walk(seed, DAYS, STOCKS, TRAIN)


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


@pytest.mark.parametrize("shape", ["adjusted close", "dividends beside", "both", "sectors and universe"])
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


@pytest.mark.parametrize(("seed", "shape", "form"), [(1, "both", "fields"), (2, "sectors and universe", "csv")])
def test_a_campaign_finds_nothing(seed: int, shape: str, form: str, tmp_path: Path) -> None:
    """`python -m benchmarks.null` runs as many as wanted."""
    outcome = run(seed, shape, form, "ridge", 3, tmp_path)
    assert outcome.finding == "nothing"
    assert abs(outcome.validation) < 0.15
