"""Ridge and boosted trees: equal to a reference, resumed to the bit, stopped without a trace, every setting felt."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import torch

from tests.unit.trainer.models.test_model_parts import ALTERED
from trainer.config import MODEL_KNOBS, TABULAR_KINDS, is_read
from trainer.errors import InputError
from trainer.models import MODELS
from trainer.reports import Ending
from trainer.scoring.scorer import evaluate, load_scorer
from trainer.training import checkpoint
from trainer.training.fitters import FITTERS
from trainer.training.fitters.boosting import SETTINGS
from trainer.training.labels import make_labels
from trainer.training.loop import fit
from trainer.training.memory import check_fits, estimate
from trainer.training.precision import choose_precision

TREES = {
    "model.kind": "lightgbm",
    "model.rounds_per_epoch": 5,
    "model.num_leaves": 8,
    "model.feature_fraction": 0.7,
    "model.bagging_fraction": 0.8,
}
each_kind = pytest.mark.parametrize("settings", [{"model.kind": "ridge"}, TREES], ids=["ridge", "lightgbm"])


def weights(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = checkpoint.load(folder / checkpoint.MODEL)["weights"]
    return found


def test_every_kind_of_model_has_a_fitter() -> None:
    assert set(FITTERS) == set(MODELS)
    assert set(SETTINGS) | {"rounds_per_epoch"} == MODEL_KNOBS["lightgbm"]


@each_kind
def test_the_model_repeats_the_validation_of_its_last_epoch(
    settings: dict[str, Any], make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    data, heard = make_data(folds=2, days=120), recorder()
    result = fit(make_config(settings), data, heard, tmp_path)
    scorer = load_scorer(tmp_path / checkpoint.MODEL, device="cpu")
    assert result.ending is Ending.COMPLETED
    assert scorer.epoch == result.last_epoch == len(heard.reports) == (1 if settings["model.kind"] == "ridge" else 4)
    assert result.score > 0.2, "the panel has a linear signal"
    assert result.num_parameters > 0
    lengths = [len(fold.valid) for fold in data.folds]
    series = np.split(heard.reports[-1].daily["rank_ic_5d"], np.cumsum(lengths)[:-1])
    for fold, model, expected in zip(data.folds, scorer.models, series, strict=True):
        daily = evaluate(replace(scorer, models=(model,)), data.panel, fold.valid)
        np.testing.assert_allclose(daily["rank_ic_5d"], expected, atol=1e-6)


def test_trees_killed_and_resumed_are_the_undisturbed_ones(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config, data = make_config({**TREES, "train.epochs": 6}), make_data()
    whole = recorder()
    fit(config, data, whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(config, data, recorder(die_after=3), tmp_path / "killed")
    assert checkpoint.load(tmp_path / "killed" / checkpoint.MODEL)["epoch"] == 3
    again = recorder()
    fit(config, data, again, tmp_path / "killed")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    for ours, theirs in zip(again.reports, whole.reports, strict=True):
        assert (ours.epoch, ours.score) == (theirs.epoch, theirs.score)
        np.testing.assert_array_equal(ours.daily["rank_ic_1d"], theirs.daily["rank_ic_1d"])


def test_trees_stopped_within_an_epoch_are_those_of_the_one_before(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config, data = make_config({**TREES, "train.epochs": 3}), make_data()
    rounds = 5 * len(data.panel.horizons)
    stopped = fit(config, data, recorder(polls=rounds + 2), tmp_path / "stopped")
    assert (stopped.ending, stopped.last_epoch) == (Ending.STOPPED, 1)
    fit(config, data, recorder(), tmp_path / "whole")
    assert weights(tmp_path / "stopped")[0]["_extra_state"] == weights(tmp_path / "whole")[0]["_extra_state"][:1]


def test_a_seed_decides_what_trees_draw(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> None:
    data = make_data()
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        fit(make_config({**TREES, "train.seed": seed}), data, recorder(), tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_one_epoch_of_trees_is_what_lightgbm_grows(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    """Without chance, a booster of LightGBM on the same table; horizons apart."""
    config, data = make_config({"model.kind": "lightgbm", "train.epochs": 2}), make_data()
    fit(config, data, recorder(), tmp_path)
    panel, days = data.panel, data.folds[0].train
    label = make_labels(panel, config.data).label[days.start : days.stop]
    scorer = load_scorer(tmp_path / checkpoint.MODEL, device="cpu")
    scores = scorer.score(panel, range(len(panel.dates)))
    for column in range(2):
        known = np.isfinite(label[..., column])
        table = lightgbm.Dataset(panel.features[days.start : days.stop][known], label[known, column])
        settings = {"verbosity": -1, "num_threads": 1, "boost_from_average": False, "deterministic": True}
        reference = lightgbm.train({**settings, "force_col_wise": True}, table, num_boost_round=50)
        np.testing.assert_allclose(
            scores[panel.mask][:, column], reference.predict(panel.features[panel.mask]), atol=1e-5
        )


def test_ridge_solves_the_normal_equations(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> None:
    config, data = make_config({"model.kind": "ridge", "model.alpha": 0.1}), make_data()
    fit(config, data, recorder(), tmp_path)
    found = weights(tmp_path)[0]["coefficients"].numpy()
    days = data.folds[0].train
    label = make_labels(data.panel, config.data).label[days.start : days.stop]
    for column in range(2):
        known = np.isfinite(label[..., column])
        x = data.panel.features[days.start : days.stop][known].astype(np.float64)
        expected = np.linalg.solve(x.T @ x + 0.1 * len(x) * np.eye(3), x.T @ label[known][:, column])
        np.testing.assert_allclose(found[:, column], expected, atol=1e-5)


def test_ridge_without_a_penalty_bears_features_that_say_the_same(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    data = make_data()
    features = data.panel.features.copy()
    features[..., 1], features[..., 2] = features[..., 0], 0.0
    twins = replace(data, panel=replace(data.panel, features=features))
    assert fit(make_config({"model.kind": "ridge", "model.alpha": 0.0}), twins, recorder(), tmp_path).score > 0.2
    assert torch.isfinite(weights(tmp_path)[0]["coefficients"]).all()


@pytest.mark.parametrize("kind", sorted(TABULAR_KINDS))
@pytest.mark.parametrize("knob", ALTERED)
def test_a_setting_changes_a_training_exactly_where_the_table_says_so(
    kind: str, knob: str, make_config: Any, make_data: Any
) -> None:
    data = make_data()

    def trained(settings: dict[str, Any]) -> dict[str, Any]:
        config = make_config({"model.kind": kind, "model.window": 8, "model.hidden_size": 16, **settings})
        labels = make_labels(data.panel, config.data)
        fold = FITTERS[kind](config, data.panel, labels, data.folds[0], 0, choose_precision(config.train))
        fold.train_epoch(1, lambda: False)
        state = fold.weights()
        return {**state, "coefficients": state["coefficients"].tolist()} if kind == "ridge" else state

    changed = trained({}) != trained({f"model.{knob}": ALTERED[knob]})
    assert changed == is_read(kind, f"model.{knob}")


@each_kind
def test_masked_and_later_days_are_never_learnt_from(
    settings: dict[str, Any], make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    data, config = make_data(), make_config({**settings, "train.epochs": 2})
    fit(config, data, recorder(), tmp_path / "before")
    panel, end = data.panel, data.folds[0].train.stop
    features = panel.features.copy()
    features[~panel.mask] = np.nan
    features[end:] *= -2.0
    targets = {name: np.concatenate([target[:end], -target[end:]]) for name, target in panel.targets.items()}
    changed = replace(data, panel=replace(panel, features=features, targets=targets))
    fit(config, changed, recorder(), tmp_path / "after")
    before, after = (weights(tmp_path / name)[0] for name in ("before", "after"))
    for name, value in before.items():
        assert torch.equal(value, after[name]) if isinstance(value, torch.Tensor) else value == after[name]


@each_kind
def test_a_fold_without_labels_is_one_sentence(
    settings: dict[str, Any], make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    data = make_data()
    unlabelled = {name: np.full_like(target, np.nan) for name, target in data.panel.targets.items()}
    with pytest.raises(InputError, match="no labelled stock-day"):
        fit(make_config(settings), replace(data, panel=replace(data.panel, targets=unlabelled)), recorder(), tmp_path)


@each_kind
def test_memory_grows_with_the_panel_and_is_checked(settings: dict[str, Any], make_config: Any) -> None:
    config = make_config(settings)
    small, large = (estimate(config, (days, 100, 24)) for days in (100, 1000))
    assert large == 10 * small > 4 * 100 * 100 * 24
    check_fits(config, (100, 100, 24), small)
    with pytest.raises(Exception, match="needs about"):
        check_fits(config, (100, 100, 24), small - 1)


def test_lightgbm_is_imported_only_where_it_is_used() -> None:
    words = "import sys, trainer.training.loop, trainer.scoring.scorer; sys.exit('lightgbm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
