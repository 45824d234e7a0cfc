"""What is replayed gives what is computed; CUDA's graphs are stood in for by calling again what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from trainer.training.batches import SpanPlan
from trainer.training.folds import FoldRun, first_fold
from trainer.training.replay import LENGTHS, Replay, can_replay

# AdamW would make whole steps of what rounding leaves of a gradient that is 0.
SGD = {"optim.name": "sgd", "optim.lr": 0.01}
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class Captured:
    """A CUDA graph as far as it is used: replaying computes anew, from and into the same tensors."""

    made = replayed = 0

    def replay(self) -> None:
        Captured.replayed += 1
        for held, new in zip(self.results.values(), self.work().values(), strict=True):
            held.copy_(new)

    work: Callable[[], dict[str, torch.Tensor]]
    results: dict[str, torch.Tensor]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> type[Captured]:
    """Lets `Replay` run without a GPU."""

    class Stream:
        def __init__(self, device: Any = None) -> None: ...
        def wait_stream(self, other: Any) -> None: ...

    @contextmanager
    def capture(graph: Captured, *_: Any, **__: Any) -> Iterator[None]:
        """What is captured is not computed."""
        gradients = [weight.grad.clone() for weight in MODEL[0].parameters()]
        yield
        Captured.made += 1
        for weight, gradient in zip(MODEL[0].parameters(), gradients, strict=True):
            weight.grad.copy_(gradient)

    captured = Replay._captured

    def remember(self: Replay, key: Any, padded: Any, function: Any) -> Any:
        def recorded(batch: Any) -> dict[str, torch.Tensor]:
            graph.work, graph.results = lambda: function(padded), function(batch)
            return graph.results

        graph = Captured()
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
        return captured(self, key, padded, recorded)

    Captured.made = Captured.replayed = 0
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(Replay, "_captured", remember)
    return Captured


MODEL: list[torch.nn.Module] = []


def trained(config: Any, data: Any, replayed: bool) -> tuple[FoldRun, list[dict[str, float] | None]]:
    run = first_fold(config, data)
    MODEL[:] = [run.model]
    if replayed:
        run._replay = Replay(run.plan, CPU)
    return run, [run.train_epoch(epoch, lambda: False) for epoch in (1, 2, 3)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train.accumulate": 2},
        {"train.batch_size": 100_000},
        {"optim.clip_adaptive": 0.05},
        {"loss.phases": [{"fraction": 0.5, "mse": 0.0}, {"fraction": 0.5, "rank_ic": 0.0}], "loss.mse": 1.0},
    ],
    ids=lambda s: next(iter(s), "as it is"),
)
def test_replayed_steps_give_the_weights_of_computed_ones(
    settings: dict[str, Any], make_config: Any, make_data: Any, graphs: type[Captured]
) -> None:
    config = make_config(
        {"model.kind": "atft_gat_fan", "model.dropout": 0.0, "train.precision": "fp32", **SGD, **settings}
    )
    data = make_data()
    plain, expected = trained(config, data, replayed=False)
    run, found = trained(config, data, replayed=True)
    assert graphs.replayed > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is not None
        assert theirs is not None
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    for weight, other in zip(run.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-3, atol=1e-4)


def test_few_shapes_are_captured_and_most_spans_replayed(
    make_config: Any, make_data: Any, graphs: type[Captured]
) -> None:
    config = make_config({"model.dropout": 0.0, "train.batch_size": 300, "train.stocks_per_batch": 5})
    run, _ = trained(config, make_data(), replayed=True)
    spans = 3 * sum(len(step) for step in run.plan.epoch(np.random.default_rng(0)))
    assert graphs.made <= 2 * LENGTHS
    assert graphs.replayed >= spans - 4 * LENGTHS


def test_what_cannot_be_captured_is_computed(
    make_config: Any, make_data: Any, graphs: type[Captured], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    @contextmanager
    def refuse(*_: Any, **__: Any) -> Iterator[None]:
        raise RuntimeError("operation not permitted when stream is capturing")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    config, data = make_config({"model.dropout": 0.0, "train.precision": "fp32", **SGD}), make_data()
    plain, _ = trained(config, data, replayed=False)
    run, _ = trained(config, data, replayed=True)
    assert graphs.replayed == 0
    assert caplog.text.count("cannot be captured") == 1
    for weight, other in zip(run.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "device", "expected"),
    [
        ({}, GPU, True),
        ({}, CPU, False),
        ({"train.cuda_graphs": False}, GPU, False),
        ({"optim.name": "sam"}, GPU, False),
        ({"model.kind": "atft_gat_fan", "model.num_neighbours": 4}, GPU, False),
    ],
)
def test_where_steps_are_replayed(
    settings: dict[str, Any], device: torch.device, expected: bool, make_config: Any
) -> None:
    assert can_replay(make_config(settings), plan_of(20, 100), device) == expected


def test_spans_that_take_longer_to_compute_than_to_launch_are_not_replayed(make_config: Any) -> None:
    assert can_replay(make_config(), plan_of(100, 1000), GPU)
    assert not can_replay(make_config(), plan_of(200, 1000), GPU)


def plan_of(days: int, stocks: int) -> SpanPlan:
    return SpanPlan(range(days), np.arange(stocks), groups=1, drawn=1, cuts=1, parts=1, window=1)
