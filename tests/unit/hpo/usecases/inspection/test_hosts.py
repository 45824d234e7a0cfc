"""Where a campaign is worked on, from the ledger and the run folders that are here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hpo.domain.campaign import CampaignSpec, Outcome, SlotState, SlotView, TierPlan, WorkerIdentity
from hpo.runs.folder import SlotFolder
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.usecases.inspection.hosts import HostView, differing, hosts
from hpo.usecases.records import Records

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEVICE = "cuda, bf16"


def slot(number: int, state: SlotState, host: str, minutes: int) -> SlotView:
    """minutes: until the lease ends, or since the trial has ended."""
    is_done = state is SlotState.DONE
    return SlotView(
        slot=number, tier=1, position=number, state=state, outcome=Outcome.COMPLETE if is_done else None,
        trial_number=number, fence=1, num_crashes=0, worker=WorkerIdentity(host, number, 0.0), epoch=1, score=0.1,
        samples_per_second=None, reason=None, started_at=NOW,
        finished_at=NOW - timedelta(minutes=minutes) if is_done else None,
        lease_expires_at=None if is_done else NOW + timedelta(minutes=minutes),
    )  # fmt: skip


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path, MemoryLedger(FakeClock()))


def test_each_host_says_who_is_alive_and_what_it_trains_on(records: Records) -> None:
    spec = CampaignSpec("night", {}, {}, (TierPlan(1, "capacity", 6),), 0)
    campaign = records.ledger.open_campaign(spec)
    for number, device in ((1, "cpu"), (2, DEVICE)):
        attempt = SlotFolder(records.runs("night"), number).open_attempt(1, {}, {})
        attempt.finish(Outcome.COMPLETE, 0.1, device=device)
    slots = [
        slot(1, SlotState.DONE, "b", minutes=9),
        slot(2, SlotState.DONE, "b", minutes=1),
        slot(3, SlotState.RUNNING, "b", minutes=1),
        slot(4, SlotState.RUNNING, "b", minutes=-1),
        slot(5, SlotState.RUNNING, "a", minutes=1),
    ]
    assert hosts(records, campaign, slots, NOW) == [HostView("a", 1, 0, None), HostView("b", 1, 1, DEVICE)]
    (damaged,) = records.runs("night").glob("slot-0002/*/result.json")
    damaged.write_text("{}")
    assert hosts(records, campaign, slots, NOW)[1].device is None
    assert hosts(records, campaign, slots[:2], NOW) == ()


def test_trials_are_listed_by_what_they_were_trained_on_where_that_differs(records: Records) -> None:
    campaign = records.ledger.open_campaign(CampaignSpec("mixed", {}, {}, (TierPlan(1, "capacity", 4),), 0))
    for number, device in ((1, "cpu"), (2, DEVICE), (3, DEVICE), (4, None)):
        SlotFolder(records.runs("mixed"), number).open_attempt(1, {}, {}).finish(Outcome.COMPLETE, 0.1, device=device)
    slots, archive = [slot(n, SlotState.DONE, "b", minutes=1) for n in range(1, 5)], records.archive(campaign)
    assert differing(slots, archive) == {DEVICE: [2, 3], "cpu": [1]}
    assert differing(slots[1:], archive) == {}
    (damaged,) = records.runs("mixed").glob("slot-0001/*/result.json")
    damaged.write_text("{}")
    assert differing(slots, archive) == {}
