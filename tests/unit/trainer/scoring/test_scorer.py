"""Scoring a finished run on any panel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from trainer.errors import CheckpointError, InputError
from trainer.scoring.scorer import Scorer, load_scorer
from trainer.training import checkpoint
from trainer.training.evaluate import daily_metrics, score_days
from trainer.training.feed import Feed
from trainer.training.labels import unlabelled
from trainer.training.loop import fit

KINDS = [{"model.kind": "mlp"}, {"model.kind": "atft_gat_fan", "model.num_neighbours": 3}]


def trained(settings: dict[str, Any], make_config: Any, data: Any, recorder: Any, folder: Path) -> Scorer:
    fit(make_config({"train.epochs": 2, **settings}), data, recorder(), folder)
    return load_scorer(folder / checkpoint.MODEL, device="cpu")


@pytest.mark.parametrize("settings", KINDS, ids=lambda s: s["model.kind"])
def test_scores_depend_neither_on_chunks_nor_on_jitter_nor_on_the_future(
    settings: dict[str, Any], make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    data = make_data()
    scorer = trained(settings, make_config, data, recorder, tmp_path)
    panel, days = data.panel, range(20, 70)
    scores = scorer.score(panel, days)
    feed = Feed(panel, unlabelled(panel), scorer.config.model, torch.device("cpu"))
    for budget in (1, 10**9):
        again = score_days(scorer.models[0], feed, days, scorer.config.model.window, scorer.precision, budget)
        np.testing.assert_allclose(again.numpy(), scores, atol=1e-5)
    np.testing.assert_allclose(scorer.score(panel, range(40, 41)), scores[20:21], atol=1e-5)
    jitter = np.float32(1e-7) * np.random.default_rng(0).choice([-1, 1], panel.features.shape).astype(np.float32)
    shaken = scorer.score(replace(panel, features=panel.features + jitter), days)
    np.testing.assert_allclose(shaken, scores, atol=1e-4)
    later = panel.features.copy()
    later[60:] = 1.0
    np.testing.assert_allclose(scorer.score(replace(panel, features=later), days)[:40], scores[:40], atol=1e-5)


def test_scores_vary_within_every_day_and_masked_stocks_have_none(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    data = make_data()
    scores = trained({}, make_config, data, recorder, tmp_path).score(data.panel, range(30))
    assert (np.isfinite(scores).all(-1) == data.panel.mask[:30]).all()
    assert (np.nanstd(scores, axis=1) > 0).all()


def test_folds_are_combined_by_mean_or_by_rank(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> None:
    data = make_data(folds=2, days=120)
    scorer = trained({}, make_config, data, recorder, tmp_path)
    days = range(50, 60)
    single = [replace(scorer, models=(model,)).score(data.panel, days) for model in scorer.models]
    np.testing.assert_allclose(scorer.score(data.panel, days), np.mean(single, axis=0), atol=1e-6)
    ranked = scorer.score(data.panel, days, combine="rank")
    assert (np.isfinite(ranked).all(-1) == data.panel.mask[50:60]).all()
    valid = data.panel.mask[50]
    shares = [(rankdata(s[0, valid, 0]) - 1) / (valid.sum() - 1) for s in single]
    np.testing.assert_allclose(ranked[0, valid, 0], np.mean(shares, axis=0), atol=1e-6)


def test_a_panel_of_other_features_or_horizons_is_refused(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    data = make_data()
    scorer = trained({}, make_config, data, recorder, tmp_path)
    renamed = replace(data.panel, feature_names=("f0", "f1", "volume"))
    with pytest.raises(InputError, match="it lacks f2 and the model does not know volume"):
        scorer.score(renamed, range(10, 20))
    with pytest.raises(InputError, match="order differs"):
        scorer.score(replace(data.panel, feature_names=("f1", "f0", "f2")), range(10, 20))
    with pytest.raises(InputError, match="horizons"):
        scorer.score(replace(data.panel, horizons=(1, 10)), range(10, 20))
    with pytest.raises(CheckpointError, match=r"not a model\.pt"):
        load_scorer(tmp_path / checkpoint.LAST)


def test_a_perfect_scorer_gets_one_and_a_shuffled_one_nothing(make_panel: Any) -> None:
    panel = make_panel(days=200, stocks=60)
    days = range(20, 200)
    perfect = panel.targets["raw"][20:]
    assert np.nanmin(daily_metrics(perfect, panel, days)["rank_ic_1d"]) == pytest.approx(1.0)
    assert np.nanmax(daily_metrics(-perfect, panel, days)["rank_ic_5d"]) == pytest.approx(-1.0)
    shuffled = np.random.default_rng(0).permuted(perfect, axis=1)
    assert abs(np.nanmean(daily_metrics(shuffled, panel, days)["rank_ic_1d"])) < 3 / np.sqrt(180 * 59)
