"""A batch is exactly its span of the panel: context before it, labels on it, nothing after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from trainer.config import DataConfig, ModelConfig
from trainer.data.panel import Panel
from trainer.models.graph import GraphSchedule
from trainer.training import feed as room
from trainer.training.batches import Span
from trainer.training.feed import Feed, resident_bytes
from trainer.training.folds import FoldRun, first_fold
from trainer.training.labels import make_labels, target_variant
from trainer.training.losses import build_loss

CPU = torch.device("cpu")
STOCKS = np.array([1, 4, 7])
MODEL = ModelConfig(window=4, num_neighbours=3)


@pytest.fixture
def panel(make_panel: Callable[..., Panel]) -> Panel:
    """Labels on masked stock-days too, and usable stock-days without one."""
    made = make_panel(days=90, stocks=10)
    target = np.random.default_rng(1).normal(size=made.targets["raw"].shape).astype(np.float32)
    target[::3, 4] = np.nan
    return replace(made, targets={**made.targets, "raw": target})


def test_a_batch_is_its_span(panel: Panel) -> None:
    """The graph is refreshed amid it, on day 84."""
    batch = Feed(panel, make_labels(panel, DataConfig()), MODEL, CPU).batch(Span(range(82, 87), STOCKS, 3))
    days, scored = slice(79, 87), slice(82, 87)
    mask, target = panel.mask[scored][:, STOCKS, None], panel.targets["raw"][scored][:, STOCKS]
    labelled = np.isfinite(target) & mask
    schedule = GraphSchedule(panel.dates, panel.returns, panel.sectors, 3)
    seen = schedule.with_neighbours(range(79, 87), STOCKS)
    assert seen[:3].tolist() == STOCKS.tolist()
    assert len(seen) > 3
    np.testing.assert_array_equal(batch.features, panel.features[days][:, seen])
    np.testing.assert_array_equal(batch.mask, panel.mask[days][:, seen])
    np.testing.assert_array_equal(batch.labelled[:, :3], labelled)
    np.testing.assert_array_equal(batch.returns[:, :3], np.where(labelled, target, 0.0))
    assert not batch.labelled[:, 3:].any(), "neighbours from outside the span carry no label"
    label = make_labels(panel, DataConfig()).label[scored][:, STOCKS]
    np.testing.assert_array_equal(batch.label[:, :3], np.where(labelled, label, 0.0))
    assert not labelled.all()
    assert batch.graph is not None
    assert [schedule.refresh_day(day) for day in (79, 83, 84, 86)] == [56, 56, 84, 84]
    assert torch.equal(batch.graph.weights, schedule.graph_for(range(79, 87), seen).weights)
    everyone = schedule.graph_for(range(79, 87), np.arange(10))
    assert torch.equal(batch.graph.weights[:, :3], everyone.weights[:, STOCKS]), "as where all are scored"


def test_days_before_the_panel_are_masked(panel: Panel) -> None:
    feed = Feed(panel, make_labels(panel, DataConfig()), MODEL, CPU)
    batch = feed.batch(Span(range(1, 4), STOCKS, 3))
    assert batch.features.shape[0] == batch.mask.shape[0] == 6
    assert not batch.mask[:2].any()
    assert not batch.features[:2].any()
    np.testing.assert_array_equal(batch.mask[2:, :3], panel.mask[:4][:, STOCKS])
    np.testing.assert_array_equal(batch.features[2:, :3], panel.features[:4][:, STOCKS])
    expected = np.isfinite(panel.targets["raw"][1:4][:, STOCKS]) & panel.mask[1:4][:, STOCKS, None]
    np.testing.assert_array_equal(batch.labelled[:, :3], expected)


def test_the_labels_of_days_are_those_of_their_batch(panel: Panel) -> None:
    feed = Feed(panel, make_labels(panel, DataConfig()), MODEL, CPU)
    batch = feed.batch(Span(range(60, 65), np.arange(10), 3))
    label, returns, labelled = feed.targets(range(60, 65))
    assert torch.equal(label, batch.label)
    assert torch.equal(returns, batch.returns)
    assert torch.equal(labelled, batch.labelled)


def test_a_panel_on_the_device_and_one_streamed_to_it_give_the_same_batches(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that says it is not a CPU, and copies as one: the paths that a GPU takes."""
    plan = [(Span(range(first, first + 4), STOCKS, 3),) for first in range(1, 70, 4)]
    expected = [batch for (batch,) in Feed(panel, make_labels(panel, DataConfig()), MODEL, CPU).steps(plan)]
    streamed = Feed(panel, make_labels(panel, DataConfig()), MODEL, CPU)
    resident = Feed(panel, make_labels(panel, DataConfig()), MODEL, CPU)
    resident._resident = [torch.from_numpy(np.array(array)) for array in resident._arrays]
    streamed._device = torch.device("meta")  # anything but a CPU
    monkeypatch.setattr(Feed, "_upload", lambda self, block: torch.from_numpy(np.array(block)))
    monkeypatch.setattr(room.Graph, "to", lambda self, device: self)
    for feed in (streamed, resident):
        found = [batch for (batch,) in feed.steps(plan)]
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            for name in ("features", "mask", "label", "returns", "labelled"):
                assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_a_panel_lies_on_a_gpu_where_it_fits(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    size = resident_bytes((90, 10, 3, 2))
    target = panel.targets["raw"]
    assert size == sum(array.nbytes for array in (panel.features, panel.mask, target, target))
    labels = make_labels(panel, DataConfig())
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **__: self)
    for free, fits in ((size / room.RESIDENT_SHARE + 1, True), (size / room.RESIDENT_SHARE - 10, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 2 * free))
        assert (Feed(panel, labels, MODEL, torch.device("cuda", 0))._resident is not None) == fits


@pytest.mark.parametrize(
    ("target", "lag", "variant"),
    [("raw", 0, "raw"), ("neutral", 0, "neutral"), ("raw", 1, "lag1"), ("neutral", 1, "neutral_lag1")],
)
def test_the_target_of_the_loss(target: str, lag: int, variant: str) -> None:
    assert target_variant(DataConfig.model_validate({"target": target, "target_lag": lag})) == variant


def test_a_batch_s_loss_is_that_of_its_scored_days(make_config: Any, make_data: Any) -> None:
    config, data = make_config({"model.dropout": 0.0}), make_data()
    run = first_fold(config, data)
    batch = next(run.batches(1))[0]
    scores = run.model(*batch.inputs)[batch.span.context :]
    expected, _ = build_loss(config.loss, data.panel.horizons)(scores, batch.label, batch.returns, batch.labelled)
    assert float(run.loss(batch, 0.0)[0].detach()) == pytest.approx(float(expected.detach()))


def test_the_parts_of_a_batch_count_alike(make_config: Any, make_data: Any) -> None:
    config, data = make_config({"model.dropout": 0.0, "train.accumulate": 2, "optim.clip_norm": 0.0}), make_data()
    run = first_fold(config, data)
    parts = next(run.batches(1))
    assert len(parts) == 2

    def gradient(batches: Any) -> list[torch.Tensor]:
        scalars.append(run.gradient(batches, 0.0))
        return [weight.grad.clone() for weight in run.model.parameters() if weight.grad is not None]

    scalars: list[dict[str, torch.Tensor]] = []
    both, *each = gradient(parts), gradient(parts[:1]), gradient(parts[1:])
    for together, one, other in zip(both, *each, strict=True):
        torch.testing.assert_close(together, (one + other) / 2)
    assert float(scalars[0]["loss"]) == pytest.approx(float(scalars[1]["loss"] + scalars[2]["loss"]) / 2)
    assert float(scalars[0]["samples"]) == float(scalars[1]["samples"] + scalars[2]["samples"])
    assert not any(value.requires_grad for value in scalars[0].values())


def test_the_phases_of_the_loss_go_by_the_epochs_behind(
    make_config: Any, make_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = make_config({"train.epochs": 4}), make_data()
    run = first_fold(config, data)
    seen: list[float] = []
    step = FoldRun.step

    def watched(fold: FoldRun, batches: Any, progress: float) -> Any:
        seen.append(progress)
        return step(fold, batches, progress)

    monkeypatch.setattr(FoldRun, "step", watched)
    for epoch, progress in ((1, 0.0), (2, 0.25), (4, 0.75)):
        seen.clear()
        run.train_epoch(epoch, lambda: False)
        assert set(seen) == {progress}


def test_the_validation_loss_is_that_of_the_validation_days(make_config: Any, make_data: Any) -> None:
    config, data = make_config(), make_data()
    fold, panel = data.folds[0], data.panel
    run = first_fold(config, data)
    rows = slice(fold.valid.start - config.model.window + 1, fold.valid.stop)
    with torch.no_grad():
        scores = run.model.eval()(torch.from_numpy(panel.features[rows]), torch.from_numpy(panel.mask[rows]))
    scored = slice(fold.valid.start, fold.valid.stop)
    labels = make_labels(panel, config.data)
    label, returns = torch.from_numpy(labels.label[scored]), torch.from_numpy(labels.returns[scored])
    valid = torch.isfinite(label)
    expected, _ = build_loss(config.loss, panel.horizons)(scores[config.model.window - 1 :], label, returns, valid, 1.0)
    assert run.validate()[0]["loss"] == pytest.approx(float(expected), abs=1e-5)


def test_only_usable_stock_days_with_a_label_are_samples(make_config: Any, make_data: Any) -> None:
    config, data = make_config({"train.stocks_per_batch": 0}), make_data()
    labels = np.ones_like(data.panel.targets["raw"])
    mask = data.panel.mask.copy()
    mask[:, 3] = False  # labelled, and never usable
    panel = replace(data.panel, targets={**data.panel.targets, "raw": labels}, mask=mask)
    run = first_fold(config, replace(data, panel=panel))
    assert 3 not in run.plan.stocks
    assert len(run.plan.stocks) == 23
