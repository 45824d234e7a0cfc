"""Labels: the day's whole cross-section sets their scale, and the rank of a return never changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata

from trainer.config import DataConfig
from trainer.data.panel import Panel
from trainer.training.labels import CHUNK_DAYS, TRANSFORMS, make_labels, standardise

each_transform = pytest.mark.parametrize("transform", TRANSFORMS)


def config(transform: str, **settings: Any) -> DataConfig:
    return DataConfig.model_validate({"target_transform": transform, **settings})


@pytest.fixture
def panel(make_panel: Any) -> Panel:
    """More days than are transformed at once; labels on masked stock-days, and usable ones without a label."""
    made: Panel = make_panel(days=CHUNK_DAYS + 7, stocks=30)
    target = np.random.default_rng(1).normal(0.001, 0.02, size=made.targets["raw"].shape).astype(np.float32)
    target[::3, 4] = np.nan
    return replace(made, targets={**made.targets, "raw": target})


def test_every_name_of_the_setting_has_a_transform() -> None:
    assert set(TRANSFORMS) == set(DataConfig.model_json_schema()["properties"]["target_transform"]["enum"])


@each_transform
def test_a_day_has_mean_0_and_variance_1_and_keeps_its_order(transform: str, panel: Panel) -> None:
    labels = make_labels(panel, config(transform))
    valid = np.isfinite(panel.targets["raw"]) & panel.mask[..., None]
    np.testing.assert_array_equal(np.isfinite(labels.label), valid)
    assert labels.returns is panel.targets["raw"]
    for day in (0, CHUNK_DAYS - 1, CHUNK_DAYS, CHUNK_DAYS + 6):
        known = valid[day, :, 1]
        label, target = labels.label[day, known, 1], panel.targets["raw"][day, known, 1]
        assert label.mean() == pytest.approx(0.0, abs=1e-5)
        assert label.std() == pytest.approx(1.0, abs=1e-3)
        np.testing.assert_array_equal(label.argsort(), target.argsort())


def test_ranks_and_normal_scores_are_what_scipy_says(panel: Panel) -> None:
    known = np.isfinite(panel.targets["raw"][9, :, 0]) & panel.mask[9]
    share = (rankdata(panel.targets["raw"][9, known, 0]) - 0.5) / known.sum()
    for transform, expected in (("rank", share), ("gauss", norm.ppf(share))):
        label = make_labels(panel, config(transform)).label[9, known, 0]
        np.testing.assert_allclose(label, (expected - expected.mean()) / expected.std(), atol=1e-4)


@each_transform
def test_a_label_depends_on_its_own_day_alone(transform: str, panel: Panel) -> None:
    before = make_labels(panel, config(transform)).label
    changed = panel.targets["raw"].copy()
    changed[20:] *= -3.0
    after = make_labels(replace(panel, targets={**panel.targets, "raw": changed}), config(transform)).label
    np.testing.assert_array_equal(after[:20], before[:20])
    assert (np.nan_to_num(after[20:]) != np.nan_to_num(before[20:])).any()


def test_the_variant_is_what_is_transformed(panel: Panel) -> None:
    other = -panel.targets["raw"]
    both = replace(panel, targets={**panel.targets, "neutral_lag1": other})
    made = make_labels(both, config("rank", target="neutral", target_lag=1))
    assert made.returns is other
    np.testing.assert_allclose(made.label, -make_labels(panel, config("rank")).label, atol=1e-5)


@each_transform
def test_a_day_on_which_nothing_varies_teaches_nothing(transform: str) -> None:
    flat, valid = torch.full((2, 20, 1), 0.01), torch.ones(2, 20, 1, dtype=torch.bool)
    assert TRANSFORMS[transform](flat, valid).abs().max() < 1e-3


def test_one_wild_return_does_not_rule_the_z_scores() -> None:
    torch.manual_seed(0)
    crowd = torch.randn(1, 400, 2)
    crowd[0, 0] = 20.0  # beside 400 others that is still 14 of their common standard deviations
    made = standardise(crowd, torch.ones_like(crowd, dtype=torch.bool))
    assert made[0, 0].abs().max() < 5.0
    assert made.std(dim=1, correction=0) == pytest.approx(torch.ones(1, 2), abs=1e-4)


def test_the_span_of_a_batch_does_not_change_a_label(make_config: Any, make_data: Any) -> None:
    """Statistics within the few stocks of a span would."""
    from trainer.training.folds import first_fold

    data, configuration = make_data(), make_config({"train.stocks_per_batch": 6})
    labels = make_labels(data.panel, configuration.data)
    run = first_fold(configuration, data)
    for (batch,) in run.batches(1):
        days = slice(batch.span.days.start, batch.span.days.stop)
        label = labels.label[days][:, batch.span.stocks]
        np.testing.assert_array_equal(batch.label, np.nan_to_num(label))
