"""Ridge and boosted trees: equal to a reference, resumed to the bit, stopped without a trace, every setting felt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.trees import TREES

from tests.unit.trainer.config.test_model import ALTERED
from trainer.config import MODEL_KNOBS, TABULAR_KINDS, is_read
from trainer.errors import InputError
from trainer.models import MODELS
from trainer.reports import Ending
from trainer.scoring.scorer import evaluate, load_scorer
from trainer.training import checkpoint
from trainer.training.feed import Feed
from trainer.training.fitters import FITTERS
from trainer.training.fitters.boosting import SETTINGS
from trainer.training.labels import make_labels
from trainer.training.loop import fit
from trainer.training.memory import check_fits, estimate
from trainer.training.precision import choose_precision

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


@pytest.mark.parametrize("kind", sorted(TABULAR_KINDS))
@pytest.mark.parametrize("knob", ALTERED)
def test_a_setting_changes_a_training_exactly_where_the_table_says_so(
    kind: str, knob: str, make_config: Any, make_data: Any
) -> None:
    data = make_data()

    def trained(settings: dict[str, Any]) -> dict[str, Any]:
        config = make_config({"model.kind": kind, "model.window": 8, "model.hidden_size": 16, **settings})
        labels = make_labels(data.panel, config.data)
        precision = choose_precision(config.train)
        feed = Feed(data.panel, labels, config.model, precision.device)
        fold = FITTERS[kind](config, feed, data.folds[0], 0, precision)
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
