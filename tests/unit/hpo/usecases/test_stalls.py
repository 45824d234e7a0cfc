"""A trial that is silent for long is told of once, and a slow one is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hpo.domain.campaign import SlotState, SlotView, WorkerIdentity
from hpo.usecases.stalls import Stalls

MINUTE = 60.0
WORKER = WorkerIdentity("node-3", 7, 0.0)


def slot(number: int = 1, epoch: int | None = 1, fence: int = 1, state: SlotState = SlotState.RUNNING) -> SlotView:
    return SlotView(
        slot=number,
        tier=1,
        position=number,
        state=state,
        outcome=None,
        trial_number=0,
        fence=fence,
        num_crashes=0,
        worker=WORKER,
        epoch=epoch,
        score=None,
        samples_per_second=None,
        reason=None,
        started_at=datetime.now(UTC),
        finished_at=None,
        lease_expires_at=None,
    )


def test_a_quarter_of_an_hour_of_silence_is_told_once() -> None:
    stalls = Stalls()
    assert stalls.look([slot()], 0.0) == []
    assert stalls.look([slot()], 15 * MINUTE) == []
    (said,) = stalls.look([slot()], 16 * MINUTE)
    assert said.startswith("trial 1 on node-3 has finished no epoch for 16 minutes: it may hang. `worker.trial_timeout")
    assert stalls.look([slot()], 60 * MINUTE) == []


def test_the_silence_must_be_ten_times_the_longest_epoch() -> None:
    stalls = Stalls()
    stalls.look([slot(epoch=None)], 0.0)
    stalls.look([slot(epoch=1)], 3 * MINUTE)
    stalls.look([slot(epoch=2)], 4 * MINUTE)  # a shorter one changes nothing
    assert stalls.look([slot(epoch=2)], 33 * MINUTE) == []
    (said,) = stalls.look([slot(epoch=2)], 35 * MINUTE)
    assert "no epoch for 31 minutes, where the longest took 3 minutes: it may" in said


def test_an_epoch_another_attempt_and_another_slot_begin_anew() -> None:
    stalls = Stalls()
    stalls.look([slot(), slot(2)], 0.0)
    assert stalls.look([slot(epoch=2), slot(2, fence=2)], 14 * MINUTE) == []
    assert stalls.look([slot(epoch=2), slot(2, fence=2)], 29 * MINUTE) == []  # ten times 14 minutes are not over
    assert len(stalls.look([slot(epoch=2), slot(2, fence=2)], 155 * MINUTE)) == 2


def test_a_lost_attempt_says_nothing_of_how_long_epochs_take() -> None:
    stalls = Stalls()
    stalls.look([slot(fence=1)], 0.0)
    stalls.look([slot(fence=2)], 14 * MINUTE)
    assert len(stalls.look([slot(fence=2)], 30 * MINUTE)) == 1


def test_what_does_not_run_is_not_silent() -> None:
    stalls = Stalls()
    for state in (SlotState.OPEN, SlotState.PAUSED, SlotState.DONE):
        stalls.look([slot(state=state)], 0.0)
        assert stalls.look([slot(state=state)], 60 * MINUTE) == []
    stalls.look([slot()], 60 * MINUTE)
    stalls.look([slot(state=SlotState.OPEN)], 70 * MINUTE)
    assert stalls.look([slot()], 80 * MINUTE) == []
    assert "trial 1 has finished" in stalls.look([replace(slot(), worker=None)], 96 * MINUTE)[0]
