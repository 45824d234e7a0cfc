"""A training over two devices, started and ended: its reports, its verdicts, a process that dies, one that fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from trainer.config import TrainerConfig
from trainer.data import prepare
from trainer.errors import InputError, MissingMetricError, RankLostError
from trainer.reports import Ending, EpochReport, Verdict
from trainer.training import checkpoint
from trainer.training.parallel.launch import check_devices, fit_prepared


def config(**changes: Any) -> TrainerConfig:
    train = {"epochs": 3, "score_epochs": 1, "device": "cpu", "precision": "fp32", "threads": 2, "devices": 2}
    return TrainerConfig.model_validate(
        {
            "data": {"source": "planted:clean?stocks=12&days=300", "horizons": (1,)},
            "model": {"kind": "linear", "window": 3, **changes.pop("model", {})},
            "train": {**train, **changes.pop("train", {})},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(config().data, 3, tmp_path_factory.mktemp("cache")).search


@dataclass
class Search:
    """Hears every epoch, does something then, and may stop the training at one."""

    stop_at: int | None = None
    then: Callable[[], None] = lambda: None
    epochs: list[int] = field(default_factory=list)

    def report(self, report: EpochReport) -> Verdict:
        self.epochs.append(report.epoch)
        self.then()
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.STOP if self.stop_at in self.epochs else Verdict.CONTINUE


def ranks() -> list[psutil.Process]:
    """The processes of a training that this one started, in order."""
    children = psutil.Process().children()
    return sorted((each for each in children if "spawn_main" in " ".join(each.cmdline())), key=lambda each: each.pid)


def test_it_is_stopped_gone_on_with_by_one_process_and_leaves_none_behind(data: Path, tmp_path: Path) -> None:
    many = config(train={"epochs": 400})
    stopped = fit_prepared(many, data, (search := Search(stop_at=2)), tmp_path)
    assert stopped.ending is Ending.STOPPED
    assert search.epochs == list(range(1, stopped.last_epoch + 1))
    assert 2 <= stopped.last_epoch < 400
    assert ranks() == []
    few = {"epochs": 400, "devices": 1}
    ended = fit_prepared(config(train=few), data, (search := Search(stop_at=stopped.last_epoch + 1)), tmp_path)
    assert ended.last_epoch == stopped.last_epoch + 1
    assert search.epochs == list(range(1, ended.last_epoch + 1))
    assert checkpoint.load(tmp_path / "model.pt")["epoch"] == ended.last_epoch


def test_a_process_that_is_killed_ends_the_training_with_its_reason(data: Path, tmp_path: Path) -> None:
    search = Search(then=lambda: os.kill(ranks()[1].pid, signal.SIGKILL))
    with pytest.raises(RankLostError, match=r"the process of device 2 was ended by SIGKILL, often") as lost:
        fit_prepared(config(train={"epochs": 400}), data, search, tmp_path)
    assert lost.value.reason == "rank_lost"
    assert len(search.epochs) < 400
    assert ranks() == []


@pytest.mark.slow_faults
def test_a_process_that_fails_ends_the_training_with_its_failure(data: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingMetricError, match="could not be computed"):
        fit_prepared(config(optim={"lr": 1e30, "clip_norm": 0.0}), data, Search(), tmp_path)
    assert ranks() == []


@pytest.mark.slow_faults
def test_a_whole_training_has_the_score_of_one_process(data: Path, tmp_path: Path) -> None:
    two = fit_prepared(config(), data, Search(), tmp_path / "two")
    one = fit_prepared(config(train={"devices": 1}), data, Search(), tmp_path / "one")
    assert (two.ending, two.last_epoch, two.num_parameters) == (one.ending, one.last_epoch, one.num_parameters)
    assert two.score == pytest.approx(one.score, abs=1e-5)
    assert {file.name for file in (tmp_path / "two").iterdir()} == {"last.pt", "previous.pt", "model.pt"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model": {"kind": "lightgbm"}},
            r"train\.devices=2 spreads a training by gradients, and model\.kind=lightgbm",
        ),
        ({"train": {"device": "cuda:1"}}, r"train\.device=cuda:1 is a single one; for train\.devices=2 name a kind"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**changes)


def test_more_devices_than_there_are_are_refused(data: Path, tmp_path: Path) -> None:
    number = len(os.sched_getaffinity(0))
    with pytest.raises(InputError, match=rf"train\.devices=64: this machine has {number} CPUs; use at most that many"):
        fit_prepared(config(train={"devices": 64}), data, Search(), tmp_path)
    with pytest.raises(InputError, match=r"train\.devices=2 needs CUDA devices or CPUs, not meta"):
        check_devices(config(train={"device": "meta"}))
    check_devices(config(train={"devices": 1}))
