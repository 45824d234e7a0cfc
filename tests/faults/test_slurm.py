"""Campaigns whose workers are tasks of a real Slurm of one node: killed, cancelled, requeued, out of time."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from support.arena import until
from support.tree import Tree

from hpo.domain.campaign import SlotState

pytestmark = [pytest.mark.slow_faults, pytest.mark.usefixtures("cluster")]

NUM_TRIALS = 6
SETTINGS = (f"trials={NUM_TRIALS}", "worker.lease=PT3S")
ON_SLURM = ("worker.engine=slurm", "worker.sbatch=--time=10")
STRIKES = {
    "killed": ["scancel", "--full", "--signal=KILL"],
    "cancelled": ["scancel"],
    "told that time is up": ["scancel", "--batch", "--signal=TERM"],
    "requeued": ["scontrol", "requeue"],
}


def tasks(name: str) -> list[str]:
    """`JOB_TASK` of the campaign's tasks that run."""
    asked = ["squeue", "--noheader", "--array", f"--name=hpo-{name}", "--states=RUNNING", "--format=%F_%K"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("strike", STRIKES)
def test_a_search_ends_where_the_undisturbed_one_ends(tree: Tree, strike: str) -> None:
    tree.environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    name = strike.replace(" ", "-")
    process = tree.start(name, *SETTINGS, *ON_SLURM)
    tree.wait_for_epoch(name)
    (task,) = tasks(name)
    subprocess.run([*STRIKES[strike], task], check=True)
    tree.finish(process, name)
    until(lambda: tasks(name) == [])
    assert tree.arena.examine(name) == []
    assert tree.arena.history(name) == tree.undisturbed(*SETTINGS)


def test_ctrl_c_ends_the_tasks_and_resume_goes_on(tree: Tree) -> None:
    tree.environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    process = tree.start("stopped", *SETTINGS, *ON_SLURM)
    tree.wait_for_epoch("stopped")
    process.send_signal(signal.SIGINT)
    tree.finish(process, "stopped", 130)
    until(lambda: tasks("stopped") == [])
    tree.finish(tree.command("resume", "study=stopped", *ON_SLURM), "stopped")
    assert tree.arena.history("stopped") == tree.undisturbed(*SETTINGS)


def test_tasks_outlive_the_command_and_resume_joins_them(tree: Tree) -> None:
    tree.environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    process = tree.start("left", *SETTINGS, *ON_SLURM)
    tree.wait_for_epoch("left")
    process.kill()
    process.wait()
    assert len(tasks("left")) == 1
    tree.finish(tree.command("resume", "study=left", *ON_SLURM), "left")
    until(lambda: tasks("left") == [])
    assert [slot.state for slot in tree.arena.slots("left")] == [SlotState.DONE] * NUM_TRIALS
    assert tree.arena.examine("left") == []


def test_a_task_whose_time_is_up_is_submitted_again(tree: Tree) -> None:
    tree.environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    many = 150
    tree.run("long", f"trials={many}", "worker.lease=PT3S", "worker.engine=slurm", "worker.sbatch=--time=3")
    ends = sorted((tree.home / "logs" / "long").glob("worker-1.[0-9]*"), key=lambda file: int(file.suffix[1:]))
    assert [file.read_text().strip() for file in ends[:-1]] == ["130"] * (len(ends) - 1)
    assert len(ends) > 1, "the campaign was over before its time was up"
    assert [slot.state for slot in tree.arena.slots("long")] == [SlotState.DONE] * many
    assert tree.arena.examine("long") == []


def test_two_workers_share_the_budget_exactly(tree: Tree) -> None:
    tree.environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    tree.run("pair", *SETTINGS, *ON_SLURM, "worker.num_workers=2")
    assert [slot.state for slot in tree.arena.slots("pair")] == [SlotState.DONE] * NUM_TRIALS
    assert tree.arena.examine("pair") == []
    until(lambda: tasks("pair") == [])
