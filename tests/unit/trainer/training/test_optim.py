"""Optimizers, clipping, averages and the guard before a step."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from trainer.config import ModelConfig, OptimConfig, TrainConfig
from trainer.errors import NonFiniteError
from trainer.models import build_model
from trainer.training.optim import (
    OPTIMIZERS,
    StepGuard,
    WeightAverage,
    build_optimizer,
    clip_gradients,
    needs_second_pass,
)

RATES = {"lars": 0.1, "sgd": 0.01, "ranger": 0.03}


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1))


def test_the_table_holds_every_name_of_the_configuration() -> None:
    assert set(OPTIMIZERS) == set(get_args(OptimConfig.model_fields["name"].annotation))


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_lowers_a_loss(name: str) -> None:
    model = small_model()
    x = torch.randn(64, 4)
    y = x @ torch.tensor([[1.0], [-1.0], [2.0], [-2.0]])  # centralised gradients could not learn a plain sum
    optimizer = build_optimizer(model, OptimConfig(name=name, lr=RATES.get(name, 0.02), weight_decay=0.0))

    def closure() -> float:
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        torch.autograd.backward(loss)
        return float(loss.detach())

    start = closure()
    for _ in range(200):
        closure()
        if needs_second_pass(optimizer):
            optimizer.step(closure)
        else:
            optimizer.step()
    assert closure() < 0.7 * start


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_decays_matrices_and_nothing_else(name: str) -> None:
    model = small_model()
    optimizer = build_optimizer(model, OptimConfig(name=name, weight_decay=0.3))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {n: decays[id(p)] for n, p in model.named_parameters()} == {
        n: 0.3 if n in {"0.weight", "2.weight"} else 0.0 for n, _ in model.named_parameters()
    }


def test_biases_of_several_heads_are_not_decayed_though_they_are_matrices() -> None:
    model = build_model(ModelConfig(frequency_normalisation=True), 6, 2)
    optimizer = build_optimizer(model, OptimConfig(weight_decay=0.3))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name.rpartition(".")[2]: decays[id(p)] for name, p in model.named_parameters() if p.ndim >= 2}
    assert {name: found[name] for name in ("lag_bias", "offset", "threshold")} == dict.fromkeys(
        ("lag_bias", "offset", "threshold"), 0.0
    )
    assert {name: found[name] for name in ("weight", "slope", "read")} == dict.fromkeys(
        ("weight", "slope", "read"), 0.3
    )


def test_sam_takes_its_step_with_the_gradient_at_the_perturbed_weights() -> None:
    model = small_model()
    optimizer = build_optimizer(model, OptimConfig(name="sam"))
    seen = []

    def closure() -> float:
        optimizer.zero_grad()
        seen.append(model[0].weight.detach().clone())  # type: ignore[index]  # a Sequential
        loss = model(torch.ones(3, 4)).square().mean()
        torch.autograd.backward(loss)
        return float(loss.detach())

    closure()
    optimizer.step(closure)
    assert not torch.equal(seen[0], seen[1])


def gradients(**limits: float) -> tuple[float, list[torch.Tensor]]:
    model = small_model()
    torch.autograd.backward(1000 * model(torch.randn(16, 4)).square().mean())
    norm = clip_gradients(model.parameters(), OptimConfig(**limits))
    return float(norm), [p.grad for p in model.parameters() if p.grad is not None]


def test_each_kind_of_clipping_limits_what_it_says() -> None:
    free_norm, free = gradients(clip_norm=0.0)
    assert free_norm == pytest.approx(float(nn.utils.get_total_norm(free)))
    assert free_norm > 100
    norm, clipped = gradients(clip_norm=2.0)
    assert norm == free_norm
    assert float(nn.utils.get_total_norm(clipped)) == pytest.approx(2.0, rel=1e-4)
    _, clipped = gradients(clip_norm=0.0, clip_value=0.5)
    assert max(float(g.abs().max()) for g in clipped) == 0.5
    _, clipped = gradients(clip_norm=0.0, clip_adaptive=0.01)
    weight = dict(small_model().named_parameters())["0.weight"]
    assert (clipped[0].norm(dim=1) <= 0.0101 * weight.norm(dim=1)).all()


def test_the_guard_ends_a_run_before_the_step_on_the_cpu() -> None:
    guard = StepGuard(torch.device("cpu"))
    taken = []
    guard.step(torch.tensor(True), lambda: taken.append(1))
    with pytest.raises(NonFiniteError, match=r"lower optim\.lr"):
        guard.step(torch.tensor(False), lambda: taken.append(2))
    assert taken == [1]


def test_the_guard_that_does_not_wait_tells_when_it_is_asked_or_looks() -> None:
    taken: list[int] = []
    guard = StepGuard(torch.device("cpu"), wait=False)
    guard.step(torch.tensor(True), lambda: taken.append(1))
    guard.settle()
    guard.step(torch.tensor(False), lambda: taken.append(2))
    guard.step(torch.tensor(True), lambda: taken.append(3))
    assert taken == [1, 2, 3]
    with pytest.raises(NonFiniteError):
        guard.settle()
    looked = StepGuard(torch.device("cpu"), wait=False)
    looked.step(torch.tensor(False), lambda: None)
    for _ in range(StepGuard.LOOK_EVERY - 2):
        looked.step(torch.tensor(True), lambda: None)
    with pytest.raises(NonFiniteError):
        looked.step(torch.tensor(True), lambda: None)


def steps_of(average: WeightAverage, model: nn.Module, values: list[float]) -> None:
    for value in values:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
        average.step_ended()


def first_weight(module: nn.Module) -> float:
    return float(next(module.parameters()).detach().flatten()[0])


def test_no_average_scores_the_weights_themselves() -> None:
    model = small_model()
    assert WeightAverage(model, TrainConfig()).scored is model


def test_ema_follows_the_weights_slowly() -> None:
    model = small_model()
    average = WeightAverage(model, TrainConfig(ema_decay=0.9))
    steps_of(average, model, [1.0] * 100)
    assert first_weight(average.scored) == pytest.approx(1.0)
    steps_of(average, model, [2.0])
    assert first_weight(average.scored) == pytest.approx(1.1)
    assert first_weight(model) == 2.0


def test_ema_forgets_the_random_start_soon() -> None:
    """The nth step keeps at most (1 + n) / (10 + n) of the average."""
    model = small_model()
    average = WeightAverage(model, TrainConfig(ema_decay=0.999))
    steps_of(average, model, [1.0, 2.0])
    assert first_weight(average.scored) == pytest.approx((2 * 1.0 + 9 * 2.0) / 11)


def test_swa_is_the_mean_over_the_late_epochs() -> None:
    model = small_model()
    average = WeightAverage(model, TrainConfig(epochs=4, swa_fraction=0.5))
    for epoch, value in enumerate([1.0, 2.0, 4.0, 6.0], start=1):
        steps_of(average, model, [value])
        average.epoch_ended(epoch)
        assert first_weight(average.scored) == pytest.approx({1: 1.0, 2: 2.0, 3: 4.0, 4: 5.0}[epoch])
