"""Learning rates by step."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from trainer.config import OptimConfig
from trainer.training.schedules import DECAYS, Schedule

STEPS = 101


def rates(name: str, **settings: float) -> list[float]:
    schedule = Schedule(OptimConfig(schedule=name, lr=2.0, **{"warmup_fraction": 0.0, **settings}), STEPS)
    return [schedule.rate(step) for step in range(STEPS)]


def test_the_table_holds_every_name_of_the_configuration() -> None:
    assert set(DECAYS) == set(get_args(OptimConfig.model_fields["schedule"].annotation))


@pytest.mark.parametrize(
    ("name", "middle", "end"),
    [
        ("cosine", 2.0 * 0.505, 0.02),
        ("one_cycle", 2.0 * 0.50005, 0.0002),
        ("polynomial", 2.0 * (0.01 + 0.99 * 0.25), 0.02),
        ("exponential", 0.2, 0.02),
        ("plateau", 2.0, 2.0),
        ("constant", 2.0, 2.0),
    ],
)
def test_shapes(name: str, middle: float, end: float) -> None:
    made = rates(name, final_lr_fraction=0.01)
    assert made[0] == pytest.approx(2.0)
    assert made[50] == pytest.approx(middle)
    assert made[-1] == pytest.approx(end)
    assert sorted(made, reverse=True) == made


@pytest.mark.parametrize("name", sorted(DECAYS))
def test_the_warm_up_rises_to_the_peak(name: str) -> None:
    made = rates(name, warmup_fraction=0.2)
    assert made[:20] == sorted(made[:20])
    assert made[0] < 0.2
    assert made[20] == pytest.approx(2.0) == max(made)


def test_plateau_lowers_the_rate_when_the_score_stands_still_and_remembers_it() -> None:
    config = OptimConfig(schedule="plateau", lr=1.0, warmup_fraction=0.0, plateau_patience=1, plateau_factor=0.1)
    schedule = Schedule(config, STEPS)
    for score, expected in [(0.1, 1.0), (0.2, 1.0), (0.2, 1.0), (0.1, 0.1), (0.3, 0.1), (0.1, 0.1)]:
        schedule.epoch_ended(score)
        assert schedule.rate(50) == pytest.approx(expected)
    again = Schedule(config, STEPS)
    again.load_state_dict(schedule.state_dict())
    for both in (schedule, again):
        both.epoch_ended(0.0)
        assert both.rate(50) == pytest.approx(0.01)


def test_apply_sets_every_group() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))]}, {"params": [torch.nn.Parameter(torch.ones(1))]}]
    optimizer = torch.optim.SGD(groups, lr=9.0)
    rate = Schedule(OptimConfig(lr=1.0, warmup_fraction=0.5), 10).apply(optimizer, 0)
    assert [group["lr"] for group in optimizer.param_groups] == [rate, rate] == pytest.approx([1 / 6, 1 / 6])
