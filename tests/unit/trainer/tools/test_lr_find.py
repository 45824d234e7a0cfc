"""The range test."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.tools.lr_find import HIGHEST, LOWEST, RateTest, find_rate


def test_it_suggests_a_rate_that_learns(make_config: Any, make_data: Any) -> None:
    test = find_rate(make_config(), make_data(signal=3.0), steps=60)
    assert test.rates[0] == LOWEST
    assert all(rate <= HIGHEST for rate in test.rates)
    assert test.suggestion is not None
    assert 1e-4 < test.suggestion < 1e-1
    assert f"optim.lr={test.suggestion:.1e}" in test.advice


def test_it_stops_at_divergence(make_config: Any, make_data: Any) -> None:
    test = find_rate(make_config({"optim.name": "sgd", "optim.clip_norm": 0.0}), make_data(signal=3.0), steps=60)
    assert len(test.rates) <= 60
    assert test.losses[-1] >= min(test.losses)


def test_it_says_when_nothing_was_learned() -> None:
    assert "fell at no rate" in RateTest((1e-6, 1e-5), (0.0, 0.0), None).advice
    assert RateTest((1e-3, 1e-2), (0.0, -0.5), 1e-3).advice == (
        "The loss is lowest near 1.0e-02 and rises after it; try optim.lr=1.0e-03."
    )


@pytest.mark.parametrize("steps", [2, 5])
def test_few_steps_are_enough_to_run(steps: int, make_config: Any, make_data: Any) -> None:
    assert len(find_rate(make_config(), make_data(), steps=steps).rates) == steps
