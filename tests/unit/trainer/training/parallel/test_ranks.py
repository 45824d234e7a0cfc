"""Two processes train what one trains: every loss term, parts of a batch, neighbours, days that cannot be divided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.ranks import Heard, Job, furthest, trained_by_two
from torch import nn

from trainer.errors import InputError
from trainer.training import checkpoint
from trainer.training.loop import fit
from trainer.training.parallel.ranks import ALONE, Ranks

ONE_STEP = {"train.epochs": 10, "train.batch_size": 100_000, "train.stocks_per_batch": 0}
"""Ten steps, each of which is an epoch, so that every step's loss is reported."""
CASES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "terms": {"loss.huber": 0.5, "loss.ic": 0.5, "loss.sharpe": 1.0},
    "parts": {"train.batch_size": 300, "train.accumulate": 3, "train.stocks_per_batch": 12, "train.epochs": 3},
    "sam": {"optim.name": "sam", "train.ema_decay": 0.9},
    "days": {"train.batch_size": 8, "train.stocks_per_batch": 8, "train.epochs": 1, "train.epoch_fraction": 0.4},
    "gru": {"model.kind": "gru"},
    "graph": {"model.kind": "atft_gat_fan", "model.num_heads": 2, "model.dropout": 0.0, "model.num_neighbours": 3},
}
"""Settings over those of the fixture; `days` has spans of a day, which one of two processes has to leave out."""
BF16 = {"train.precision": "bf16"}


def test_two_processes_train_what_one_does_and_go_on_exactly(make_config: Any, make_data: Any, tmp_path: Path) -> None:
    cases = {
        name: make_config({**ONE_STEP, "model.dropout": 0.0, **settings})
        for name, settings in {**CASES, "bf16": BF16}.items()
    }
    drops = make_config({"model.dropout": 0.3, "train.epochs": 4})
    jobs = [Job(name, config, make_data()) for name, config in cases.items()]
    jobs += [Job("whole", drops, make_data()), *(Job("cut", drops, make_data(), stop_at) for stop_at in (2, None))]
    *both, whole, _, parts = trained_by_two(jobs, tmp_path)

    found = {}
    for (name, config), two in zip(cases.items(), both, strict=True):
        one = Heard()
        fit(config, make_data(), one, tmp_path / f"{name}-alone")
        found[name] = furthest(one.reports, two, ("train/", "valid/loss"))
        assert [report.metrics.keys() for report in one.reports] == [report.metrics.keys() for report in two], name
        assert all(len(report.daily["rank_ic_5d"]) == 30 for report in two), name
    print({name: f"{value:.1e}" for name, value in found.items()})  # noqa: T201 - shown where it fails
    assert {name: value for name, value in found.items() if value > 1e-5 and name != "bf16"} == {}
    assert found["bf16"] < 1e-2

    assert len(whole) == 4
    assert furthest(whole, parts, ("train/", "valid/")) == 0.0  # dropout included
    assert checkpoint.load(tmp_path / "whole" / "model.pt")["epoch"] == 4


@pytest.mark.parametrize(("days", "size"), [(range(3, 10), 2), (range(5, 6), 2), (range(9), 4)])
def test_shares_are_all_days_once(days: range, size: int) -> None:
    shares = [Ranks(rank, size).share(days) for rank in range(size)]
    assert [day for share in shares for day in share] == list(days)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert shares[1] == Ranks(0, size).share(days, rank=1)


def test_one_process_says_nothing_and_changes_nothing() -> None:
    part, weight = torch.ones(3, 2), nn.Parameter(torch.ones(2))
    assert ALONE.whole(part, range(3)) is part
    ALONE.add_gradients([weight])
    assert weight.grad is None
    assert ALONE.agreed(True) is True
    assert ALONE.collected("mine") == ["mine"]


def test_a_training_over_two_devices_is_not_begun_by_one_process(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"train\.devices=2 is trained by .*fit_prepared"):
        fit(make_config({"train.devices": 2}), make_data(), recorder(), tmp_path)
