"""The real thing, `hpo run` with real training, killed at every level of its tree, ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from support.arena import Arena, Tally, until

from hpo.run_folder import runs as run_folders
from trainer import checkpoint

NUM_TRIALS, NUM_EPOCHS = 4, 3
SETTINGS = (
    f"trials={NUM_TRIALS}",
    f"trainer.train.epochs={NUM_EPOCHS}",
    "trainer.data.source='planted:clean?stocks=40&days=500'",
    "worker.lease=PT5S",
)


def hpo(home: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    settings = {**os.environ, "HPO_HOME": str(home), "OMP_NUM_THREADS": "1", **(environment or {})}
    with (home / "output.txt").open("ab") as output:
        return subprocess.Popen([sys.executable, "-m", "hpo", *arguments], stdout=output, stderr=output, env=settings)


def finish(home: Path, *arguments: str) -> None:
    code = hpo(home, *arguments).wait(300)
    assert code == 0, (home / "output.txt").read_text()


def curves(home: Path) -> dict[str, list[str]]:
    """Slot -> the scores of its epochs as they were written, of its newest attempt."""
    attempts = [attempt for slot in run_folders(home / "runs" / "default") if (attempt := slot.current())]
    return {attempt.folder.parent.name: [repr(record.score) for record in attempt.epochs()] for attempt in attempts}


def weights(home: Path) -> dict[str, Any]:
    """Slot -> the weights of its best checkpoint."""
    attempts = [attempt for slot in run_folders(home / "runs" / "default") if (attempt := slot.current())]
    return {attempt.folder.parent.name: checkpoint.load(attempt.best)["weights"] for attempt in attempts}


def num_epochs(home: Path) -> int:
    return sum(len(lines) for lines in curves(home).values()) if (home / "runs").exists() else 0


def tree(process: psutil.Process) -> list[psutil.Process]:
    """The supervisor and all below it; the database lives on its own."""
    below = process.children(recursive=True)
    return [process, *(child for child in below if "postgres" not in child.name())]


def trials(supervisor: psutil.Process) -> list[psutil.Process]:
    """Trial processes: the leaves below the workers' fork servers."""
    leaves = [p for worker in supervisor.children() for server in worker.children() for p in server.children()]
    return [leaf for leaf in leaves if not leaf.children()]


def workers(supervisor: psutil.Process) -> list[psutil.Process]:
    return [child for child in supervisor.children() if "worker" in child.cmdline()]


VICTIMS: Sequence[tuple[str, int, Callable[[psutil.Process], list[psutil.Process]]]] = (
    ("trial", signal.SIGKILL, trials),
    ("worker", signal.SIGKILL, workers),
    ("supervisor", signal.SIGKILL, lambda supervisor: [supervisor]),
    ("tree", signal.SIGKILL, tree),
    ("supervisor", signal.SIGTERM, lambda supervisor: [supervisor]),
    ("supervisor", signal.SIGINT, lambda supervisor: [supervisor]),
)


def strike(home: Path, number: int, choose: Callable[[psutil.Process], list[psutil.Process]], *, survives: bool) -> int:
    """Run until an epoch is done, signal the victims, and wait for the end; one that survives goes on for an epoch
    before it is asked to stop. The exit code."""
    process = hpo(home, "run", *SETTINGS)
    supervisor, goal = psutil.Process(process.pid), num_epochs(home) + 1
    until(lambda: num_epochs(home) >= goal and bool(choose(supervisor)))
    for target in choose(supervisor):
        target.send_signal(number)
    if survives:
        until(lambda: num_epochs(home) >= goal + 1)
        process.send_signal(signal.SIGTERM)
    return process.wait(120)


@pytest.mark.slow_faults
def test_a_search_killed_at_every_level_ends_where_the_undisturbed_one_ends(arena: Arena, tmp_path: Path) -> None:
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    calm.mkdir()
    stormy.mkdir()
    finish(calm, "run", *SETTINGS)

    for victim, number, choose in VICTIMS:
        code = strike(stormy, number, choose, survives=victim in ("trial", "worker"))
        assert code in (130, -number), (stormy / "output.txt").read_text()
        tally = arena.table.setdefault((signal.Signals(number).name[3:], "real training", victim), Tally())
        tally.runs += 1
        time.sleep(1.0)
    finish(stormy, "resume")

    assert curves(stormy) == curves(calm)
    ours, theirs = weights(stormy), weights(calm)
    assert ours.keys() == theirs.keys()
    for slot, folds in ours.items():
        for mine, other in zip(folds, theirs[slot], strict=True):
            assert all(torch.equal(mine[name], other[name]) for name in other), slot
    finish(stormy, "doctor")


@pytest.mark.slow_faults
def test_two_supervisors_started_at_the_same_instant_share_one_budget(tmp_path: Path) -> None:
    both = [hpo(tmp_path, "run", *SETTINGS) for _ in range(2)]

    assert [process.wait(300) for process in both] == [0, 0], (tmp_path / "output.txt").read_text()
    assert len(curves(tmp_path)) == NUM_TRIALS
    finish(tmp_path, "doctor")


@pytest.mark.slow_faults
def test_a_search_whose_mlflow_is_unreachable_ends_all_the_same(tmp_path: Path) -> None:
    nowhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    code = hpo(tmp_path, "run", *SETTINGS, environment=nowhere).wait(300)

    assert code == 0, (tmp_path / "output.txt").read_text()
    assert "hpo sync" in (tmp_path / "output.txt").read_text()
    finish(tmp_path, "sync")
    finish(tmp_path, "doctor")
