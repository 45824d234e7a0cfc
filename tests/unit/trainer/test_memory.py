"""The memory model: exact on fake tensors, and moved by what costs memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer.config import OptimConfig
from trainer.memory import ALLOCATION_UNIT, STATE_COPIES, LiveBytes, estimate, step_bytes
from trainer.optim import OPTIMIZERS, build_optimizer

SHAPE = (200, 12, 5)
KINDS = [
    {"model.kind": "linear"},
    {"model.kind": "mlp"},
    {"model.kind": "gru"},
    {"model.kind": "atft_gat_fan", "model.num_neighbours": 3},
]


def test_live_bytes_follow_the_life_of_tensors() -> None:
    with LiveBytes() as live:
        first = torch.zeros(1000)
        view = first[10:]
        second = first * 2
        assert live.now == 2 * 4096
        del second
        assert (live.now, live.peak) == (4096, 8192)
        del first
        assert live.now == 4096  # the view keeps it alive
        del view
        assert live.now == 0
    assert live.peak % ALLOCATION_UNIT == 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("settings", KINDS, ids=lambda s: s["model.kind"])
def test_fake_tensors_count_what_real_ones_take(settings: dict[str, Any], precision: str, make_config: Any) -> None:
    config = make_config({**settings, "train.precision": precision})
    with FakeTensorMode():
        counted = step_bytes(config, 5, 24, 12)
    assert counted == pytest.approx(step_bytes(config, 5, 24, 12), rel=0.02)
    assert counted > 24 * 12 * 5 * 4


@pytest.mark.parametrize(
    "larger",
    [
        {"model.hidden_size": 128},
        {"model.num_layers": 3},
        {"train.batch_size": 1200},
        {"optim.name": "lookahead"},
        {"train.ema_decay": 0.9},
    ],
    ids=lambda s: next(iter(s)),
)
def test_what_costs_memory_raises_the_estimate(larger: dict[str, Any], make_config: Any) -> None:
    base = {"model.kind": "atft_gat_fan", "model.hidden_size": 32, "train.batch_size": 400}
    small, large = (estimate(make_config({**base, **more}), SHAPE) for more in ({}, larger))
    assert large > small


def test_accumulation_lowers_the_estimate_and_a_longer_panel_raises_it(make_config: Any) -> None:
    base = {"model.kind": "gru", "model.hidden_size": 64, "train.batch_size": 2400}
    whole = estimate(make_config(base), SHAPE)
    assert estimate(make_config({**base, "train.accumulate": 4}), SHAPE) < whole
    assert estimate(make_config(base), (400, 12, 5)) > whole


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimizers_keep_as_many_copies_as_the_table_says(name: str) -> None:
    model = torch.nn.Linear(64, 64, bias=False)
    optimizer = build_optimizer(model, OptimConfig(name=name))
    held = 0

    def closure() -> float:
        nonlocal held
        held = max(held, copies(optimizer))
        model(torch.ones(2, 64)).sum().backward()
        return 0.0

    for _ in range(2):
        closure()
        optimizer.step(closure)
    assert max(held, copies(optimizer)) == STATE_COPIES[name]


def copies(optimizer: Any) -> int:
    states = [optimizer.state, *([optimizer.optimizer.state] if hasattr(optimizer, "optimizer") else [])]
    return sum(
        value.numel() == 64 * 64
        for state in states
        for values in state.values()
        for value in values.values()
        if isinstance(value, torch.Tensor)
    )
