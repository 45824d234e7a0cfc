"""Boosted trees, an epoch at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from support.trees import TREES

from trainer.reports import Ending
from trainer.scoring.scorer import load_scorer
from trainer.training import checkpoint
from trainer.training.labels import make_labels
from trainer.training.loop import fit


def weights(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = checkpoint.load(folder / checkpoint.MODEL)["weights"]
    return found


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


def test_lightgbm_is_imported_only_where_it_is_used() -> None:
    words = "import sys, trainer.training.loop, trainer.scoring.scorer; sys.exit('lightgbm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
