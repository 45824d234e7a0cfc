"""A series in two parts by its frequencies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from trainer.config import ModelConfig
from trainer.models import build_model
from trainer.models.frequency import FrequencyNormalisation


@pytest.mark.parametrize("days", [2, 7, 10])
def test_the_sliding_spectrum_is_the_discrete_fourier_transform(days: int) -> None:
    layer = FrequencyNormalisation(days)
    x = torch.randn(days, 1, 1)
    real, imaginary = (layer.analysis @ x[:, :, 0]).split(layer.frequencies)
    expected = np.abs(np.fft.rfft(x[:, 0, 0].numpy())) ** 2 * layer.synthesis.numpy()[:, 0] ** 2
    np.testing.assert_allclose((real**2 + imaginary**2)[:, 0], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("days", [2, 7, 10])
def test_both_parts_of_a_series_add_up_and_open_gates_take_all(days: int) -> None:
    layer = FrequencyNormalisation(days)
    x = torch.randn(25, 4, 3)
    rest, dominant = layer(x)
    torch.testing.assert_close(rest + dominant, x[days - 1 :])
    layer.threshold.data.fill_(-100.0)
    torch.testing.assert_close(layer(x)[1], x[days - 1 :], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cycles", [0, 1, 3])
def test_one_frequency_leaves_the_main_path_and_noise_stays(cycles: int) -> None:
    layer = FrequencyNormalisation(10)
    time = torch.arange(200.0)
    wave = torch.cos(2 * math.pi * cycles * time / 10 + 0.4).view(-1, 1, 1)
    rest, _ = layer(wave)
    assert rest.abs().max() < 0.05
    noise = torch.randn(2000, 1, 1)
    rest, _ = layer(noise)
    assert rest.var() > 0.7 * noise.var()


def test_each_path_of_the_frequency_normalisation_is_given_its_own_days() -> None:
    """The main path the newest days and their mask, the other one the scored days."""
    days, stocks, features, window = 14, 6, 3, 8
    model = build_model(ModelConfig(window=window, hidden_size=8, frequency_normalisation=True), features, 2).eval()
    model.absent.data.fill_(0.5)
    x, mask = torch.randn(days, stocks, features), torch.rand(days, stocks) < 0.7
    mask[-2:, 0], mask[-1, 1] = torch.tensor([False, True]), False
    given: dict[str, tuple[torch.Tensor, ...]] = {}
    model.temporal.register_forward_pre_hook(lambda _, inputs: given.update(temporal=inputs))
    model.dominant_path.register_forward_pre_hook(lambda _, inputs: given.update(dominant=inputs))
    model(x, mask)

    (embedded,) = given["temporal"]
    assert torch.equal((embedded == 0.5).all(dim=-1), ~mask[-embedded.shape[0] :])
    _, today = given["dominant"]
    assert torch.equal(today, x.masked_fill(~mask.unsqueeze(-1), 0.0)[window - 1 :])


def altered(model: torch.nn.Module, x: torch.Tensor, mask: torch.Tensor, alter: Callable[[], None]) -> list[int]:
    """The days whose scores change."""
    with torch.no_grad():
        before = model(x, mask)
        alter()
        return (model(x, mask) - before).abs().amax(dim=(1, 2)).gt(1e-6).nonzero().flatten().tolist()


def wild(**settings: Any) -> torch.nn.Module:
    model = build_model(ModelConfig(**{"window": 8, "hidden_size": 16, **settings}), 4, 2).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_the_dominant_path_sees_today_and_the_days_of_the_spectrum() -> None:
    model, day = wild(frequency_normalisation=True), 11
    model.heads.read.data.zero_()  # its path alone
    x = torch.randn(24, 3, 4)
    changed = altered(model, x, torch.ones(24, 3, dtype=torch.bool), lambda: x[day].add_(3.0))
    assert changed == list(range(day, day + model.frequency.days))
