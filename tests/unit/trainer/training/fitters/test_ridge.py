"""Ridge by its normal equations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.training import checkpoint
from trainer.training.labels import make_labels
from trainer.training.loop import fit


def weights(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = checkpoint.load(folder / checkpoint.MODEL)["weights"]
    return found


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
