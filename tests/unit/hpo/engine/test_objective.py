"""What a dashboard's reader sorts trials by."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hpo.domain.metric import Metric
from hpo.engine.conversation import sortable
from hpo.runs.entries import EpochRecord

METRICS = (Metric("rank_ic"), Metric("lag1_rank_ic_5d"), Metric("never_computed"))


def record(epoch: int, rank_ic: float) -> EpochRecord:
    metrics = {
        "valid/rank_ic": rank_ic,
        "valid/lag1_rank_ic_5d": rank_ic / 2,
        "valid/loss_rank_ic": 0.9,
        "valid/unknown": 1.0,
        "train/loss": 0.5,
    }
    return EpochRecord(epoch, datetime.now(UTC), rank_ic, 1.5, metrics)


def test_scores_are_means_over_the_epochs_that_make_the_score() -> None:
    found = sortable([record(1, 0.9), record(2, 0.02), record(3, 0.04)], METRICS, num_epochs=2)
    assert found == pytest.approx(
        {"num_epochs": 3, "seconds": 4.5, "valid/rank_ic": 0.03, "valid/lag1_rank_ic_5d": 0.015}
    )


def test_before_the_first_epoch_there_is_nothing_to_sort_by() -> None:
    assert sortable([], METRICS, num_epochs=2) == {}
