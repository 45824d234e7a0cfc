"""What is known of campaigns on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.domain.campaign import CampaignSpec, CheckpointRecord, TierPlan, WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.usecases.records import Records


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path, MemoryLedger(FakeClock()))


def test_a_campaign_is_found_by_name_or_the_names_are_shown(records: Records) -> None:
    with pytest.raises(UsageError, match="no campaign yet; start one with `hpo run trials=20`"):
        records.find("night")
    records.ledger.open_campaign(CampaignSpec("night", {}, {}, (TierPlan(1, "capacity", 2),), 0))
    assert records.find("night").name == "night"
    with pytest.raises(UsageError, match=r"there are night\. Did you mean 'night'\?"):
        records.find("nigth")


def test_the_archive_answers_for_what_the_ledger_recorded_last(records: Records) -> None:
    campaign = records.ledger.open_campaign(CampaignSpec("night", {}, {}, (TierPlan(1, "capacity", 2),), 0))
    worker = records.ledger.register_worker(campaign.id, WorkerIdentity("host", 1, 0.0))
    claim = records.ledger.claim(campaign.id, worker, SearchConfig().worker.lease)
    assert claim is not None
    before = records.archive(campaign)
    record = CheckpointRecord(1, "model", 3, "runs/night/slot-0001/attempt-1/model.pt", "host", str(records.home), "ab")
    records.ledger.record_checkpoint(claim, record)
    assert before.record(1, "model") is None
    assert records.archive(campaign).record(1, "model") == record
    assert records.archive(campaign).runs == records.runs("night")
    assert records.archive(campaign).home == records.home
