"""Canaries: what must be true of any honest pipeline, and was not of dishonest ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.config import TrainerConfig
from trainer.data import HoldoutData, TrainingData, open_holdout, open_training, prepare
from trainer.reports import EpochReport, Verdict
from trainer.scoring.scorer import evaluate, load_scorer
from trainer.training.evaluate import daily_metrics
from trainer.training.loop import fit

CONFIG = TrainerConfig.model_validate(
    {
        "data": {"source": "planted:clean?stocks=60&days=500", "horizons": [1, 5]},
        "model": {"kind": "mlp", "window": 5, "hidden_size": 16},
        "optim": {"lr": 5e-3},
        "train": {"epochs": 4, "threads": 1},
    }
)


class Silence:
    """Listens, and never stops a run."""

    def report(self, report: EpochReport) -> Verdict:
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.CONTINUE


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingData, HoldoutData]:
    prepared = prepare(CONFIG.data, CONFIG.model.window, tmp_path_factory.mktemp("cache"))
    return open_training(prepared.search), open_holdout(prepared.holdout)


def holdout_series(data: TrainingData, holdout: HoldoutData, folder: Path) -> np.ndarray:
    """Daily one-day RankIC on the holdout of a model trained on data."""
    fit(CONFIG, data, Silence(), folder)
    series = evaluate(load_scorer(folder / "model.pt"), holdout.panel, holdout.days)["rank_ic_1d"]
    return series[np.isfinite(series)]


def test_labels_that_mean_something_are_learnt_and_shuffled_ones_are_not(
    market: tuple[TrainingData, HoldoutData], tmp_path: Path
) -> None:
    data, holdout = market
    honest = holdout_series(data, holdout, tmp_path / "honest")
    assert honest.mean() > 0.1

    rng = np.random.default_rng(0)
    order = rng.permuted(np.tile(np.arange(len(data.panel.symbols)), (len(data.panel.dates), 1)), axis=1)
    shuffled = {
        name: np.take_along_axis(np.array(target), order[:, :, None], axis=1)
        for name, target in data.panel.targets.items()
    }
    panel = replace(data.panel, targets=shuffled)
    noise = holdout_series(replace(data, panel=panel), holdout, tmp_path / "shuffled")
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(len(noise))


def test_a_perfect_scorer_gets_one(market: tuple[TrainingData, HoldoutData]) -> None:
    _, holdout = market
    rows = slice(holdout.days.start, holdout.days.stop)
    scores = np.array(holdout.panel.targets["raw"][rows], dtype=np.float32)
    for name in ("rank_ic_1d", "rank_ic_5d"):
        series = daily_metrics(scores, holdout.panel, holdout.days)[name]
        assert np.allclose(series[np.isfinite(series)], 1.0, atol=1e-6)


def test_features_and_predictions_vary_within_every_day(
    market: tuple[TrainingData, HoldoutData], tmp_path: Path
) -> None:
    data, holdout = market
    panel = data.panel
    for day in range(260, len(panel.dates)):  # by then even the feature with a year of history is there
        present = panel.mask[day]
        assert (np.ptp(panel.features[day][present], axis=0) > 0).all(), panel.dates[day]

    fit(CONFIG, data, Silence(), tmp_path)
    scores = load_scorer(tmp_path / "model.pt").score(holdout.panel, holdout.days)
    assert (np.nanmax(scores, axis=1) > np.nanmin(scores, axis=1)).all()


def test_predictions_depend_neither_on_the_company_they_are_made_in_nor_on_the_last_digit(
    market: tuple[TrainingData, HoldoutData], tmp_path: Path
) -> None:
    data, holdout = market
    fit(CONFIG, data, Silence(), tmp_path)
    scorer = load_scorer(tmp_path / "model.pt")
    panel, days = holdout.panel, holdout.days
    scores = scorer.score(panel, days)

    half = np.array(panel.mask)
    half[:, ::2] = False
    alone = scorer.score(replace(panel, mask=half), days)
    seen = np.isfinite(alone)
    assert np.allclose(alone[seen], scores[seen], atol=1e-5)

    jitter = np.random.default_rng(0).uniform(-1e-7, 1e-7, panel.features.shape).astype(np.float32)
    jittered = scorer.score(replace(panel, features=np.array(panel.features) + jitter), days)
    spread = np.nanstd(scores)
    assert np.nanmax(np.abs(jittered - scores)) < 0.05 * spread
