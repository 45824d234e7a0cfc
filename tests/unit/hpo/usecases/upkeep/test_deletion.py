"""A deleted campaign is gone from every store, others stay, and a deletion that is broken off is gone on with."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.domain.campaign import Campaign, CampaignSpec, TierPlan, WorkerIdentity
from hpo.domain.errors import StoreUnavailable, UsageError
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.host import Host
from hpo.usecases.records import Stores
from hpo.usecases.upkeep.deletion import delete

TIERS = (TierPlan(1, "capacity", 2), TierPlan(2, "refinement", 1))
ROOMS = ("runs", "reports", "logs", "finals")
HERE = WorkerIdentity("here", 1, 1.0)


class Away(NullTracker):
    """Does not answer."""

    def delete(self, campaign: Campaign, runs: Path) -> None:
        raise StoreUnavailable("it is away")


def host(*, dead: bool = False) -> Host:
    def refuse() -> Any:
        raise AssertionError("nothing is trained here")

    return Host(lambda worker: dead, refuse, refuse, refuse)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Of the campaigns `night` and `nightly`, with files, and one trained again with both together."""
    made = Stores(tmp_path, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())
    for name in ("night", "nightly"):
        made.ledger.open_campaign(CampaignSpec(name, {}, {}, TIERS, seed=1))
        optuna.create_study(storage=made.storage, study_name=TIERS[0].study_name(name))
        for room in ROOMS:
            (tmp_path / room / name).mkdir(parents=True)
            (tmp_path / room / name / "file").write_text(name)
    (tmp_path / "finals" / "nightly+night").mkdir()
    (tmp_path / "cache").mkdir()
    return made


def left(stores: Stores) -> tuple[list[str], list[str], list[str]]:
    """Campaigns, studies, files and folders that are there."""
    named = [path for path in stores.home.glob("*/*") if path.parent.name in ROOMS]
    files = sorted({path.name for path in named})
    return [c.name for c in stores.ledger.campaigns()], optuna.get_all_study_names(stores.storage), files


def test_a_deleted_campaign_is_gone_from_every_store_and_the_others_stay(stores: Stores) -> None:
    delete(stores, host(), stores.find("night"))
    assert left(stores) == (["nightly"], [TIERS[0].study_name("nightly")], ["nightly"])
    assert (stores.home / "cache").is_dir()
    again = stores.ledger.open_campaign(CampaignSpec("night", {}, {}, TIERS, seed=2))
    assert again.spec.seed == 2, "its name is free"


def test_one_that_is_worked_on_is_left_alone_until_its_worker_is_dead(stores: Stores) -> None:
    campaign, before = stores.find("night"), left(stores)
    worker = stores.ledger.register_worker(campaign.id, HERE)
    assert stores.ledger.claim(campaign.id, worker, timedelta(minutes=1))
    with pytest.raises(UsageError, match="Somebody works on the campaign 'night'; stop it"):
        delete(stores, host(), campaign)
    assert left(stores) == before
    delete(stores, host(dead=True), campaign)
    assert left(stores)[0] == ["nightly"]


def test_a_store_that_is_away_leaves_the_campaign_to_be_deleted_again(stores: Stores) -> None:
    away = Stores(stores.home, stores.ledger, stores.storage, Away())
    with pytest.raises(StoreUnavailable):
        delete(away, host(), stores.find("night"))
    assert [campaign.name for campaign in stores.ledger.campaigns()] == ["nightly", "night"]
    optuna.delete_study(study_name=TIERS[0].study_name("night"), storage=stores.storage)  # as one broken off later has
    delete(stores, host(), stores.find("night"))
    assert left(stores)[0] == ["nightly"]
