"""What every runner promises, with real trainings of a second each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from hpo.adapters.processes.ends import failure
from hpo.adapters.processes.runners import InProcessRunner, ProcessRunner
from hpo.domain.errors import EnvironmentFault
from hpo.domain.ports import TrialEnd, TrialRequest, TrialRunner
from hpo.domain.training import Decision, EpochReport
from hpo.ranking.ranker import Ranker
from hpo.runs.folder import Attempt, SlotFolder
from trainer.config import TrainerConfig
from trainer.data import prepare
from trainer.training.checkpoint import load
from trainer.training.device import processor_name

NUM_EPOCHS = 3
ORPHAN = """
import sys
from pathlib import Path
from hpo.adapters.processes.runners import ProcessRunner
from hpo.domain.ports import TrialRequest
import json

if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text())
    runner = ProcessRunner()

    def on_epoch(report):
        print(report.epoch, flush=True)
        sys.stdin.read()

    runner.run(TrialRequest(request["config"], Path(request["data"]), Path(request["folder"])), on_epoch, lambda: False)
"""


def config(**changes: Any) -> dict[str, Any]:
    values = {
        "data": {"source": "planted:clean?stocks=12&days=300", "horizons": (1,)},
        "model": {"kind": "linear", "window": 3},
        "train": {"epochs": NUM_EPOCHS, "score_epochs": 2, "device": "cpu", "precision": "fp32", "threads": 1},
    }
    for section, settings in changes.items():
        values[section] = {**values[section], **settings} if section in values else settings
    return TrainerConfig.model_validate(values).model_dump(mode="json")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trainer = TrainerConfig.model_validate(config())
    return prepare(trainer.data, trainer.model.window, tmp_path_factory.mktemp("cache")).search


@pytest.fixture(params=[InProcessRunner, lambda: ProcessRunner(Ranker.preload)], ids=["in-process", "process"])
def runner(request: pytest.FixtureRequest) -> Iterator[TrialRunner]:
    made: TrialRunner = request.param()
    yield made
    made.close()


@dataclass
class Search:
    """What the search hears and answers."""

    stop_after: int | None = None
    reports: list[EpochReport] = field(default_factory=list)

    def on_epoch(self, report: EpochReport) -> Decision:
        self.reports.append(report)
        return Decision.STOP if report.epoch == self.stop_after else Decision.CONTINUE

    @property
    def epochs(self) -> list[int]:
        return [report.epoch for report in self.reports]


def attempt(runs: Path, fence: int = 1) -> Attempt:
    return SlotFolder(runs, 1).open_attempt(fence, {"campaign": "night", "slot": 1}, {})


def request(data: Path, folder: Path, **changes: Any) -> TrialRequest:
    return TrialRequest(config(**changes), data, folder)


def never() -> bool:
    return False


def test_a_training_runs_to_its_end(runner: TrialRunner, data: Path, tmp_path: Path) -> None:
    search, own = Search(), attempt(tmp_path)
    end = runner.run(request(data, own.folder), search.on_epoch, never)
    assert search.epochs == [1, 2, 3]
    scores = [report.score for report in search.reports]
    device = f"{processor_name(torch.device('cpu'))}, fp32, as asked for; torch {torch.__version__}"
    assert end == TrialEnd("finished", pytest.approx(sum(scores[-2:]) / 2), 3, end.num_parameters, device=device)
    assert end.num_parameters is not None
    assert end.num_parameters > 0
    assert own.model.exists()
    assert [record.score for record in own.epochs()] == scores
    assert set(own.daily(3)) == set(search.reports[-1].daily)


def test_both_runners_train_the_same(data: Path, tmp_path: Path) -> None:
    scores = []
    for number, made in enumerate((InProcessRunner(), ProcessRunner(Ranker.preload)), start=1):
        search = Search()
        made.run(request(data, attempt(tmp_path / str(number)).folder), search.on_epoch, never)
        scores.append([report.score for report in search.reports])
    assert scores[0] == scores[1]


def test_a_stop_verdict_ends_the_training_with_the_epoch_it_was_given_for(
    runner: TrialRunner, data: Path, tmp_path: Path
) -> None:
    search, own = Search(stop_after=1), attempt(tmp_path)
    end = runner.run(request(data, own.folder), search.on_epoch, never)
    assert end.kind == "stopped"
    assert search.epochs == [1]
    assert [record.epoch for record in own.epochs()] == [1]
    assert load(own.model)["epoch"] == end.last_epoch == 1


def test_a_stopped_training_goes_on_where_it_was(runner: TrialRunner, data: Path, tmp_path: Path) -> None:
    first, again, whole = Search(stop_after=2), Search(), Search()
    runner.run(request(data, attempt(tmp_path).folder), first.on_epoch, never)
    end = runner.run(request(data, attempt(tmp_path, fence=2).folder), again.on_epoch, never)
    undisturbed = runner.run(request(data, attempt(tmp_path / "other").folder), whole.on_epoch, never)
    assert end == undisturbed
    assert again.epochs == [1, 2, 3], "those before are told again"
    assert [report.score for report in again.reports] == [report.score for report in whole.reports]


def test_a_drain_stops_between_epochs(runner: TrialRunner, data: Path, tmp_path: Path) -> None:
    search, own = Search(), attempt(tmp_path)
    long = request(data, own.folder, train={"epochs": 10_000})
    end = runner.run(long, search.on_epoch, lambda: len(search.reports) >= 2)
    assert end.kind == "stopped"
    assert 2 <= len(own.epochs()) < 10_000


def test_a_failing_training_is_a_typed_failure(runner: TrialRunner, data: Path, tmp_path: Path) -> None:
    end = runner.run(
        request(data, attempt(tmp_path).folder, optim={"lr": 1e30, "clip_norm": 0.0}), Search().on_epoch, never
    )
    assert (end.kind, end.score) == ("failed", None)
    assert end.reason in ("non_finite", "missing_metric")
    assert end.message


def test_an_unexpected_error_is_the_trials_alone(runner: TrialRunner, tmp_path: Path) -> None:
    end = runner.run(TrialRequest({"nonsense": 1}, tmp_path, attempt(tmp_path).folder), Search().on_epoch, never)
    assert (end.kind, end.reason) == ("failed", "error")
    assert "ValidationError" in str(end.message)


def test_data_that_are_gone_are_no_failure_of_the_trial(runner: TrialRunner, tmp_path: Path) -> None:
    end = runner.run(request(tmp_path / "gone", attempt(tmp_path).folder), Search().on_epoch, never)
    assert (end.kind, end.reason) == ("environment", None)
    assert str(tmp_path / "gone") in str(end.message)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(5, "Input/output error", "/data/x.npy"), "environment"),
        (ModuleNotFoundError("No module named 'trainer.models.gru'"), "environment"),
        (EnvironmentFault("/cache/x.npy is damaged."), "environment"),
        (ZeroDivisionError("division by zero"), "failed"),
        (MemoryError(), "failed"),
    ],
)
def test_faults_of_the_environment_are_told_from_failures(error: Exception, kind: str, tmp_path: Path) -> None:
    assert failure(error, tmp_path).kind == kind


def test_a_folder_that_is_named_as_our_package_is_not_imported(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hpo", "trainer"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    monkeypatch.chdir(tmp_path / "here")
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # one that is up already looked elsewhere
    end = ProcessRunner(Ranker.preload).run(request(data, attempt(tmp_path).folder), Search().on_epoch, never)
    assert end.kind == "finished", end
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def test_a_killed_process_has_died(data: Path, tmp_path: Path) -> None:
    own = attempt(tmp_path)

    def kill_it(report: EpochReport) -> Decision:
        for trial in _trials(own.folder):
            trial.kill()
        return Decision.CONTINUE

    end = ProcessRunner(Ranker.preload).run(request(data, own.folder, train={"epochs": 10_000}), kill_it, never)
    assert (end.kind, end.reason) == ("died", "killed")
    assert "SIGKILL" in str(end.message)
    assert own.epochs(), "what was finished is on disk"


def test_a_trial_process_ignores_ctrl_c(data: Path, tmp_path: Path) -> None:
    own = attempt(tmp_path)

    def interrupt(report: EpochReport) -> Decision:
        for trial in _trials(own.folder):
            trial.send_signal(signal.SIGINT)
        return Decision.CONTINUE

    assert ProcessRunner(Ranker.preload).run(request(data, own.folder), interrupt, never).kind == "finished"


def test_a_trial_ends_itself_when_its_worker_is_gone(data: Path, tmp_path: Path) -> None:
    own = attempt(tmp_path)
    given = tmp_path / "request.json"
    asked = config(train={"epochs": 10_000})
    given.write_text(json.dumps({"config": asked, "data": str(data), "folder": str(own.folder)}))
    script = tmp_path / "worker.py"
    script.write_text(ORPHAN)
    with subprocess.Popen(
        [sys.executable, str(script), str(given)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "1\n"
        trials = _trials(own.folder)
        assert trials, "the trial's process was not found"
        worker.kill()
    _, alive = psutil.wait_procs(trials, timeout=30)
    assert not alive


@pytest.mark.parametrize("dies", ["trial", pytest.param("rank", marks=pytest.mark.slow_faults)])
def test_a_trial_over_two_devices_leaves_no_process_behind(dies: str, data: Path, tmp_path: Path) -> None:
    own, seen = attempt(tmp_path), list[psutil.Process]()

    def kill_one(report: EpochReport) -> Decision:
        if not seen:
            seen.extend(_trials(own.folder))
            (trial,) = (process for process in seen if process.ppid() not in {each.pid for each in seen})
            ranks = [each for each in trial.children() if "spawn_main" in " ".join(each.cmdline())]
            assert len(ranks) == 2
            (trial if dies == "trial" else ranks[0]).kill()
        return Decision.CONTINUE

    many = request(data, own.folder, train={"epochs": 10_000, "devices": 2, "threads": 2})
    end = ProcessRunner(Ranker.preload).run(many, kill_one, never)
    assert (end.kind, end.reason) == (("died", "killed") if dies == "trial" else ("failed", "rank_lost"))
    assert "SIGKILL" in str(end.message)
    assert own.epochs(), "what was finished is on disk"
    _, alive = psutil.wait_procs(seen, timeout=30)
    assert not alive


def test_a_trial_says_on_what_and_in_which_arithmetic_it_trained(data: Path, tmp_path: Path) -> None:
    own = SlotFolder(tmp_path, 1).open_attempt(1, run={}, config=config())
    request = TrialRequest(config(), data, own.folder)
    end = ProcessRunner(Ranker.preload).run(request, lambda report: Decision.CONTINUE, lambda: False)
    assert end.device is not None
    assert "fp32, as asked for" in end.device
    assert "precision on cpu: fp32, as asked for" in (own.folder / "trial.log").read_text()


def _trials(folder: Path) -> list[psutil.Process]:
    """The processes that have the run's log open: the trial's own, wherever it hangs in the process tree."""
    log = folder / "trial.log"
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and os.readlink(f"/proc/{process.pid}/fd/2") == str(log):
                found.append(process)
        except OSError:
            continue
    return found
