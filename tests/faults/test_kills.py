"""Searches with default settings that are killed, or interrupted twice, again and again: no trial is blamed for it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest
from support.arena import Arena, family, until
from support.plans import Fault
from support.tree import Tree, everything, trials

from hpo.domain.campaign import Outcome

NUM_TRIALS = 8
NUM_KILLS = 10
NUM_INTERRUPTS = 20
PATIENCE = 600.0
"""Seconds to wait for a search to come so far; a machine that does other things takes its time to start one."""
LONG = (
    "trainer.train.epochs=12",
    "trainer.train.batch_size=256",
    "trainer.data.source='planted:clean?stocks=60&days=700'",
)
"""Trials of some seconds, so that a kill falls amid one."""
SLOW = (
    "trainer.train.epochs=40",
    "trainer.train.batch_size=256",
    "trainer.data.source='planted:clean?stocks=60&days=700'",
)
"""Forty epochs of half a second, so that an interruption falls amid the training."""


def test_a_trial_whose_worker_is_killed_again_and_again_completes(arena: Arena) -> None:
    """In its first epoch every time, so that nothing is finished in between."""
    name, fault = "unlucky", Fault("amid epoch", "KILL")
    for _ in range(5):
        assert arena.suffer(arena.plan(name, 2, fault)) == -signal.SIGKILL
    arena.recover(arena.plan(name, 2))

    assert {slot.outcome for slot in arena.slots(name)} == {Outcome.COMPLETE}
    assert {slot.num_crashes for slot in arena.slots(name)} == {0}
    assert arena.history(name) == arena.calm(2)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow_faults) for seed in (2, 3))])
def test_ten_kills_of_worker_and_trial_change_nothing(arena: Arena, seed: int) -> None:
    """At random moments of trainings that are made up, in processes of their own."""
    name, moments = f"both-killed-{seed}", random.Random(seed)
    log = arena.home / f"{name}.log"
    log.touch()
    for _ in range(NUM_KILLS):
        begun = len(log.read_text().splitlines()) + moments.randint(1, 4)
        worker = arena.start(arena.plan(name, NUM_TRIALS, own_process=True, pace=0.1))
        until(lambda goal=begun: len(log.read_text().splitlines()) >= goal)
        time.sleep(moments.uniform(0.0, 0.1))
        assert worker.is_alive(), arena.complaints(name)
        for victim in family(worker.pid):
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        worker.join()
    arena.recover(arena.plan(name, NUM_TRIALS))

    assert {slot.num_crashes for slot in arena.slots(name)} == {0}
    assert arena.history(name) == arena.calm(NUM_TRIALS)


@pytest.mark.slow_faults
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_kills_of_the_whole_tree_change_nothing(tree: Tree, seed: int) -> None:
    name = f"felled-{seed}"
    kill_at_random(tree, name, random.Random(seed), NUM_TRIALS, NUM_KILLS)
    assert tree.arena.history(name) == tree.undisturbed(f"trials={NUM_TRIALS}", *LONG, name="undisturbed-8")


def kill_at_random(tree: Tree, name: str, moments: random.Random, num_trials: int, num_kills: int) -> None:
    """Kill the supervisor and all below it while a trial trains, then go on to the end."""
    for _ in range(num_kills):
        process = tree.start(name, f"trials={num_trials}", *LONG)
        wait_for_trial(process)
        tree.wait_for_epoch(name, moments.randint(0, 3), PATIENCE)
        time.sleep(moments.uniform(0.0, 0.6))
        assert process.poll() is None, "the search ended before it could be killed"
        for victim in everything(psutil.Process(process.pid)):
            with suppress(psutil.NoSuchProcess):  # it has ended with those before it
                victim.kill()
        process.wait()
        tree.arena.note_strike(name, "KILL")
    tree.run(name, f"trials={num_trials}", *LONG)
    assert not [slot for slot in tree.arena.slots(name) if slot.outcome is Outcome.FAILED]


def wait_for_trial(process: subprocess.Popen[bytes]) -> None:
    """Until a trial's process is there."""
    supervisor = psutil.Process(process.pid)
    until(lambda: bool(trials(supervisor)), PATIENCE)


@pytest.mark.slow_faults
def test_a_trial_that_is_interrupted_twenty_times_completes(tree: Tree) -> None:
    name = "interrupted"
    for _ in range(NUM_INTERRUPTS):
        process = tree.start(name, "trials=1", *SLOW)
        wait_for_trial(process)
        time.sleep(0.2)
        for _ in range(2):
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.05)
        assert process.wait(PATIENCE) == 130, tree.output(name)
    tree.run(name, "trials=1", *SLOW)

    (slot,) = tree.arena.slots(name)
    assert (slot.outcome, slot.epoch) == (Outcome.COMPLETE, 40)
