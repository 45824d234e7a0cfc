"""Boosted trees that are grown in no time."""

from __future__ import annotations

TREES = {
    "model.kind": "lightgbm",
    "model.rounds_per_epoch": 5,
    "model.num_leaves": 8,
    "model.feature_fraction": 0.7,
    "model.bagging_fraction": 0.8,
}
