"""What is asked of Slurm, and what is made of its answers; with a real one in `tests/contract/test_engines.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hpo.adapters.engines import slurm
from hpo.adapters.engines.slurm import SlurmEngine
from hpo.domain.errors import EnvironmentFault

DRAINS = ["bash", "-c", "trap 'exit 130' TERM; echo ready > ready; while :; do sleep 0.05; done"]


def engine(folder: Path, *command: str) -> SlurmEngine:
    options = "--time=8:00:00 --comment='two words'"
    return SlurmEngine(command or ["true"], logs=folder, home=folder / "a home", name="night", options=options)


def script(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """The job's script as a node runs it."""
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "7"}
    return subprocess.Popen(["bash", "-c", engine(folder, *command).script()], env=environment, cwd=folder)


def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    """Commands of Slurm that are small shell scripts."""
    for name, answer in answers.items():
        (folder / name).write_text(f"#!/bin/bash\n{answer}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.0)


def test_workers_are_one_array_with_the_users_options_last(tmp_path: Path) -> None:
    asked = engine(tmp_path).submission([1, 3])
    assert asked[0] == "sbatch"
    assert "--array=1,3" in asked
    assert asked[-2:] == ["--time=8:00:00", "--comment=two words"]


@pytest.mark.parametrize(("command", "code"), [("exit 3", "3"), ('[[ $HPO_HOME == *"a home" ]]', "0")])
def test_the_script_leaves_the_exit_code(tmp_path: Path, command: str, code: str) -> None:
    assert str(script(tmp_path, "bash", "-c", command).wait(30)) == code
    assert (tmp_path / "worker-2.7").read_text().strip() == code


def test_the_script_passes_sigterm_on_as_often_as_it_comes(tmp_path: Path) -> None:
    running = script(tmp_path, *DRAINS)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    for _ in range(3):
        running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 130


def test_an_end_without_a_code_is_a_kill_and_a_shells_code_is_its_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools(tmp_path, monkeypatch, sbatch="echo '7;cluster'", squeue="cat alive")
    monkeypatch.chdir(tmp_path)
    alive = tmp_path / "alive"
    alive.write_text("7 1\n7 2\n7 3\n7 4\n8 1\n")
    started = engine(tmp_path)
    started.start([1, 2, 3, 4])
    assert started.poll() == dict.fromkeys([1, 2, 3, 4])
    alive.write_text("7 1\n")
    for number, code in ((2, 143), (3, 130)):
        (tmp_path / f"worker-{number}.7").write_text(f"{code}\n")
    assert started.poll() == {1: None, 2: -15, 3: 130, 4: -9}


def test_a_controller_that_does_not_answer_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools(tmp_path, monkeypatch, sbatch="echo 7", squeue="exit 1")
    started = engine(tmp_path)
    started.start([1])
    assert started.poll() == {1: None}


def test_a_refusal_is_said_in_slurms_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools(tmp_path, monkeypatch, sbatch="echo 'invalid partition' >&2; exit 1")
    with pytest.raises(EnvironmentFault, match=r"sbatch refused: invalid partition\."):
        engine(tmp_path).start([1])


def test_a_machine_without_slurm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="needs the command sbatch"):
        engine(tmp_path).start([1])
