"""Campaigns and trials as rows, from a ledger in memory and run folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.domain.campaign import Campaign, CampaignSpec, Outcome, TierPlan, WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.runs.folder import SlotFolder
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.usecases.inspection.listing import campaign_rows, trial_rows
from hpo.usecases.records import Records


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path, MemoryLedger(FakeClock()))


@pytest.fixture
def campaign(records: Records) -> Campaign:
    """Two trials of three done, the last of which failed."""
    search = {"objective": "rank_ic", "space": "/spaces/mine.yaml", "trainer": {"data": {"source": "/data/prices.csv"}}}
    opened = records.ledger.open_campaign(CampaignSpec("night", {"search": search}, {}, (TierPlan(1, "one", 3),), 0))
    worker = records.ledger.register_worker(opened.id, WorkerIdentity("host", 1, 0.0))
    for slot, score in ((1, 0.02), (2, None)):
        claim = records.ledger.claim(opened.id, worker, SearchConfig().worker.lease)
        assert claim is not None
        SlotFolder(records.runs("night"), slot).open_attempt(1, {"params": {"optim.lr": 0.1 * slot}}, {})
        reason = None if score else "error: it broke"
        records.ledger.finish(claim, Outcome.COMPLETE if score else Outcome.FAILED, score, reason)
    return opened


def test_a_campaign_is_a_row(records: Records, campaign: Campaign) -> None:
    records.ledger.open_campaign(CampaignSpec("bare", {}, {}, (TierPlan(1, "one", 1),), 0))
    by_name = {row["name"]: row for row in campaign_rows(records)}
    row = by_name["night"]
    assert (row["state"], row["done"], row["budget"], row["best"]) == ("running", 2, 3, 0.02)
    assert (row["objective"], row["space"], row["data"]) == ("rank_ic", "mine.yaml", "prices.csv")
    assert by_name["bare"]["best"] is None
    assert by_name["bare"].keys() == row.keys()


def test_a_trial_is_a_row_with_what_it_was_given(records: Records, campaign: Campaign) -> None:
    first, second, third = trial_rows(records, campaign)
    assert first.keys() == second.keys() == third.keys()
    assert (first["state"], first["score"], first["params.optim.lr"]) == ("complete", 0.02, 0.1)
    assert (second["state"], second["score"], second["reason"]) == ("failed", None, "error: it broke")
    assert second["params.optim.lr"] == 0.2
    assert (third["state"], third["params.optim.lr"], third["started_at"]) == ("open", None, None)


def test_the_best_is_that_of_the_trials_that_can_be_chosen(records: Records) -> None:
    opened = records.ledger.open_campaign(CampaignSpec("day", {}, {}, (TierPlan(1, "one", 3),), 0))
    worker = records.ledger.register_worker(opened.id, WorkerIdentity("host", 1, 0.0))
    broken = "infeasible: num_parameters at most 10, and it has 20"
    for outcome, score, reason in (
        (Outcome.COMPLETE, 0.01, None),
        (Outcome.PRUNED, 0.03, None),
        (Outcome.COMPLETE, 0.02, broken),
    ):
        claim = records.ledger.claim(opened.id, worker, SearchConfig().worker.lease)
        assert claim is not None
        records.ledger.finish(claim, outcome, score, reason)
    assert [row["best"] for row in campaign_rows(records)] == [0.01]
