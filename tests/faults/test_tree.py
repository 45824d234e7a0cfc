"""The real thing, `hpo run` with real training, struck at every level of its tree, ends as if nothing had happened."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.arena import until, wait_until_stopped
from support.plans import Fault
from support.tree import Tree, everything, trials, workers

from hpo.domain.campaign import Outcome

pytestmark = pytest.mark.slow_faults

LEASE = 3.0
NUM_TRIALS = 24
"""So many that the search is not over before it has been struck at every level, on a fast machine too."""
WORKER = (f"worker.lease=PT{LEASE:.0f}S",)
SETTINGS = (f"trials={NUM_TRIALS}", *WORKER)
Chooser = Callable[[psutil.Process], list[psutil.Process]]
LEVELS: dict[str, Chooser] = {
    "trial": trials,
    "worker": workers,
    "supervisor": lambda supervisor: [supervisor],
    "tree": everything,
}
NOT_FINITE = ("non_finite: ", "missing_metric: ")
SURVIVED = ((signal.SIGKILL, "trial"), (signal.SIGTERM, "trial"), *((s, "worker") for s in (9, 15, 2)))
"""Signal and victim, after which the search goes on by itself."""
FATAL = tuple((number, victim) for victim in ("supervisor", "tree") for number in (9, 15, 2))


def send(tree: Tree, name: str, supervisor: psutil.Process, number: int, victim: str) -> Fault:
    """Signal the victims as soon as there are any; what was done."""
    choose = LEVELS[victim]
    until(lambda: bool(choose(supervisor)))
    for target in choose(supervisor):
        target.send_signal(number)
    action = signal.Signals(number).name.removeprefix("SIG")
    tree.arena.note_strike(name, action)
    return Fault("real training", action)


def test_a_search_struck_at_every_level_ends_where_the_undisturbed_one_ends(tree: Tree) -> None:
    name = "stormy"
    faults = []
    for fatal in FATAL:
        process = tree.start(name, *SETTINGS)
        supervisor = psutil.Process(process.pid)
        for strike in (*(SURVIVED if fatal is FATAL[0] else ()), fatal):
            tree.wait_for_epoch(name)
            faults.append((send(tree, name, supervisor, *strike), strike[1]))
        code = process.wait(120)
        assert code in (130, -fatal[0]), tree.output(name)
        time.sleep(1.0)
    tree.finish(tree.command("resume", f"study={name}"), name)

    tree.arena.score_all(name, faults)
    assert tree.arena.history(name) == tree.undisturbed(*SETTINGS)


def test_whoever_sleeps_longer_than_the_lease_goes_on_when_it_wakes(tree: Tree) -> None:
    """Alone: nobody has taken its slot meanwhile."""
    name = "sleepy"
    process = tree.start(name, *SETTINGS)
    supervisor = psutil.Process(process.pid)
    faults = []
    for victim in ("trial", "worker", "supervisor"):
        tree.wait_for_epoch(name)
        asleep = LEVELS[victim](supervisor)
        faults.append((send(tree, name, supervisor, signal.SIGSTOP, victim), victim))
        time.sleep(1.5 * LEASE)
        for sleeper in asleep:
            sleeper.resume()
    tree.finish(process, name)

    assert {slot.fence for slot in tree.arena.slots(name)} == {1}, "a slot changed hands"
    tree.arena.score_all(name, faults)
    assert tree.arena.history(name) == tree.undisturbed(*SETTINGS)


def test_a_worker_that_slept_finds_its_slot_taken_and_leaves_it_alone(tree: Tree) -> None:
    name = "overtaken"
    process = tree.start(name, *SETTINGS, "worker.num_workers=2")
    supervisor = psutil.Process(process.pid)
    tree.wait_for_epoch(name, 2)
    sleeper = workers(supervisor)[0]
    sleeper.suspend()
    tree.arena.note_strike(name, "STOP")
    until(lambda: any(slot.fence > 1 for slot in tree.arena.slots(name)))
    sleeper.resume()
    tree.finish(process, name)

    tree.arena.score(name, Fault("real training, overtaken", "STOP"), "worker")


@pytest.mark.parametrize(
    ("point", "action", "victim"),
    [
        ("amid epoch", "KILL", "trial"),
        ("amid checkpoint", "KILL", "trial"),
        ("amid checkpoint", "STOP", "trial"),
        ("between report and verdict", "STOP", "trial"),
        ("between renewal and report", "STOP", "worker"),
    ],
)
def test_accidents_at_the_trainers_own_points_change_nothing(tree: Tree, point: str, action: str, victim: str) -> None:
    name = f"real-{action}-{victim}-{point}".replace(" ", "-")
    trap = tree.trap(name, point, action, nth=2)
    process = tree.start(name, *SETTINGS, trap=trap)
    if action == "STOP":
        asleep = wait_until_stopped(process.pid)
        assert asleep, tree.output(name)
        time.sleep(1.5 * LEASE)
        asleep.resume()
    tree.finish(process, name)

    assert Path(trap.struck).exists(), "the point was not reached"
    tree.arena.note_strike(name, action)
    tree.arena.score(name, Fault(f"real: {point}", action), victim)
    assert tree.arena.history(name) == tree.undisturbed(*SETTINGS)


def test_two_supervisors_started_at_the_same_instant_share_one_budget(tree: Tree) -> None:
    name = "twins"
    both = [tree.start(name, *SETTINGS) for _ in range(2)]
    for process in both:
        tree.finish(process, name)
        tree.arena.note_strike(name, "twin")

    assert len(tree.arena.trials(name)) == NUM_TRIALS
    tree.arena.score(name, Fault("at the same instant", "start"), "2 supervisors")


def test_a_worker_whose_clock_is_an_hour_off_joins_a_search(tree: Tree) -> None:
    name = "clocks"
    process = tree.start(name, "trials=40", *WORKER, TZ="Asia/Tokyo")
    tree.wait_for_epoch(name)
    wrong = tree.trap(name, skew=3600.0)
    guest = tree.command("worker", f"study={name}", trap=wrong, TZ="America/Los_Angeles")
    tree.arena.note_strike(name, "clock")
    tree.finish(process, name)
    tree.finish(guest, name)

    shares = {slot.worker for slot in tree.arena.slots(name)}
    assert len(shares) == 2, "one of the two did all the work"
    assert {slot.fence for slot in tree.arena.slots(name)} == {1}, "a living worker was taken for dead"
    tree.arena.score(name, Fault("real: an hour off, other time zone", "clock"), "worker")


def test_a_trial_whose_loss_is_not_a_number_fails_and_the_search_goes_on(tree: Tree) -> None:
    name = "diverged"
    tree.space.write_text(
        tree.space.read_text().replace(
            "{type: float, low: 1.0e-3, high: 3.0e-2, log: true, default: 5.0e-3}",
            "{type: choice, choices: [1.0e-3, 5.0e-3, 1.0e+30], default: 1.0e+30}",
        )
    )
    tree.run(name, "trials=8", "trainer.optim.clip_norm=0.0", "trainer.optim.warmup_fraction=0.0")
    tree.arena.note_strike(name, "nan")

    slots = tree.arena.slots(name)
    assert slots[0].outcome is Outcome.FAILED, "the default's learning rate"
    assert any(slot.outcome is Outcome.COMPLETE for slot in slots)
    for slot in slots:  # others may be given the same rate
        assert slot.outcome is Outcome.COMPLETE or str(slot.reason).startswith(NOT_FINITE), slot
    tree.arena.score(name, Fault("real training, learning rate 1e30", "NaN"), "trial")


def test_a_trial_that_takes_too_long_fails_and_the_search_goes_on(tree: Tree) -> None:
    """Here it hangs: it is stopped for good."""
    name = "hanging"
    process = tree.start(name, *SETTINGS, "worker.trial_timeout=PT8S")
    tree.wait_for_epoch(name)
    send(tree, name, psutil.Process(process.pid), signal.SIGSTOP, "trial")
    tree.finish(process, name)

    reasons = [slot.reason for slot in tree.arena.slots(name) if slot.outcome is Outcome.FAILED]
    assert len(reasons) == 1
    assert str(reasons[0]).startswith("timeout: ")
    tree.arena.score(name, Fault("real training, for ever", "STOP"), "trial")
