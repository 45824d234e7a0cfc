"""The memory model: exact on fake tensors, and moved by what costs memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer.config import OptimConfig, TrainerConfig
from trainer.errors import DoesNotFitError
from trainer.training import memory
from trainer.training.memory import (
    ALLOCATION_UNIT,
    STATE_COPIES,
    LiveBytes,
    check_fits,
    estimate,
    step_bytes,
    upper_bound,
)
from trainer.training.optim import OPTIMIZERS, build_optimizer

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


@pytest.mark.parametrize("kind", ["linear", "mlp", "gru", "atft_gat_fan"])
@pytest.mark.parametrize(
    ("hidden", "layers", "window", "neighbours", "features"),
    [(8, 1, 4, 0, 5), (64, 2, 20, 32, 24), (16, 1, 60, 0, 400), (512, 1, 10, 0, 24)],
)
def test_the_upper_bound_is_never_below_the_estimate(
    kind: str, hidden: int, layers: int, window: int, neighbours: int, features: int
) -> None:
    model = {"kind": kind, "hidden_size": hidden, "num_layers": layers, "window": window, "num_neighbours": neighbours}
    config = TrainerConfig.model_validate({"model": model, "train": {"precision": "fp32", "device": "cpu"}})
    shape = (900, 300, features)
    assert upper_bound(config, shape) >= estimate(config, shape)


def test_a_device_of_two_holds_half_of_the_days_and_a_cpu_holds_both(make_config: Any) -> None:
    settings = {"model.kind": "gru", "model.hidden_size": 64, "train.batch_size": 4000, "train.stocks_per_batch": 0}
    one, two = (make_config({**settings, "train.devices": devices}) for devices in (1, 2))
    with FakeTensorMode():
        whole, half = step_bytes(one, 5, 203, 12), step_bytes(two, 5, 103, 12, judged=200)
    assert whole / 2 < half < 0.7 * whole
    assert estimate(one, SHAPE) < estimate(two, SHAPE) < upper_bound(two, SHAPE)


def test_what_fits_passes_and_what_does_not_is_refused_with_its_excess(make_config: Any) -> None:
    config = make_config({"model.kind": "gru"})
    needed = estimate(config, SHAPE)
    check_fits(config, SHAPE, needed)
    sentence = r"needs about 0\.\d\d GiB of memory where 0\.\d\d GiB are available; lower model\.hidden_size"
    with pytest.raises(DoesNotFitError, match=sentence) as caught:
        check_fits(config, SHAPE, needed // 2)
    assert caught.value.excess == pytest.approx(1.0, rel=0.01)
    assert caught.value.reason == "does_not_fit"


def test_small_configurations_are_let_pass_without_counting(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "estimate", None)  # calling it would fail
    check_fits(make_config(), SHAPE, 2**30)
    with pytest.raises(TypeError):
        check_fits(make_config(), SHAPE, 2**20)
