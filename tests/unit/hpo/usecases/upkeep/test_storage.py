"""A finished campaign of real trainings, seen from a machine that has none of its files and the same store."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from support.markets import write_market
from support.sitting import HOST, Sitting

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.domain.campaign import Campaign
from hpo.domain.errors import EnvironmentFault, InvariantBroken, StoreUnavailable
from hpo.testing.clock import FakeClock
from hpo.testing.memory_artifacts import MemoryArtifacts
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases import conclusion, results
from hpo.usecases.doctor.checkup import check_up
from hpo.usecases.records import Stores, unique_name
from hpo.usecases.upkeep.deletion import delete
from hpo.usecases.upkeep.storage import not_stored, upload_rest

SPACE = """
settings: {model.kind: linear, model.window: 3}
tiers:
  capacity:
    optim.lr: {type: float, low: 1.0e-3, high: 1.0e-1, log: true, default: 1.0e-2}
"""
SETTINGS = (
    "trainer.data.source='planted:clean?stocks=12&days=400'",
    "trainer.data.horizons=[1]",
    "trainer.train.epochs=2",
    "trainer.train.threads=1",
)


@dataclass(frozen=True)
class Places:
    """here: where the campaign was trained while the store was away. there: another machine."""

    here: Stores
    there: Stores
    campaign: Campaign
    store: MemoryArtifacts
    sitting: Sitting
    new: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sitting, Path]:
    home = tmp_path_factory.mktemp("trained")
    write_market("planted:clean?stocks=12&days=430", home / "new.parquet")
    stores = Stores(home, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())
    return Sitting(
        home, SPACE, "trainer.data.source='planted:clean?stocks=12&days=400'", *SETTINGS, stores=stores
    ), home


@pytest.fixture
def places(trained: tuple[Sitting, Path], tmp_path: Path) -> Places:
    sitting, home = trained
    store = MemoryArtifacts()
    here = replace(sitting.stores, artifacts=store)
    return Places(here, replace(here, home=tmp_path), sitting.campaign, store, sitting, home / "new.parquet")


def examined(stores: Stores, campaign: Campaign, *, repair: bool = False) -> str:
    """What the doctor says of a campaign that was never concluded."""
    said: list[str] = []
    with suppress(InvariantBroken):
        check_up(stores, HOST, campaign, said.append, repair=repair)
    return "\n".join(said)


def test_what_an_outage_has_left_is_named_and_uploaded_once(places: Places) -> None:
    assert not_stored(places.here, places.campaign) == [1, 2]
    assert not_stored(places.there, places.campaign) == [], "they do not lie there"
    before, after = examined(places.here, places.campaign), examined(places.here, places.campaign, repair=True)
    assert "- trial 1 lies on this machine alone" in before
    assert "Repair: 2 trials were uploaded to the store of artifacts." in after
    assert "holds        2  finished trials are in the store" in after
    assert upload_rest(places.here, places.campaign) == 0
    assert upload_rest(replace(places.here, artifacts=None), places.campaign) == 0
    assert all(f"runs/{unique_name([places.campaign])}/slot-000" in key for key in places.store.contents)


def test_another_machine_reports_predicts_and_examines(places: Places, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="There is nothing to report here"):
        conclusion.report(places.there, HOST, places.campaign, places.sitting.prepared, lambda line: None)
    assert conclusion.sync(places.here, NullTracker(), places.campaign, lambda line: None) == 0
    written = [
        conclusion.report(stores, HOST, places.campaign, places.sitting.prepared, lambda line: None)
        for stores in (places.here, places.there)
    ]
    first, second = (json.loads(each.json.read_text()) for each in written)
    for figures in (first, second):
        del figures["created_at"], figures["sections"]["luck"]["facts"]["holdout_openings"]
    assert first == second
    tables = [
        results.scores(stores, places.campaign, places.new, everything=False).table
        for stores in (places.here, places.there)
    ]
    pd.testing.assert_frame_equal(*tables)
    assert "holds        2  run folders are whole" in examined(places.there, places.campaign)


def test_a_changed_model_is_not_scored_with(places: Places) -> None:
    upload_rest(places.here, places.campaign)
    for key in places.store.contents:
        if "model.pt" in key:
            places.store.contents[key] = b"somebody else's"
    with pytest.raises(EnvironmentFault, match=r"model\.pt\.\w+ in memory://test is damaged"):
        results.scores(places.there, places.campaign, places.new, everything=False)


def test_a_store_that_is_away_is_said_before_anything(places: Places) -> None:
    places.store.is_away = True
    for repair in (False, True):
        with pytest.raises(StoreUnavailable, match="memory://test is away"):
            check_up(places.here, HOST, places.campaign, lambda line: None, repair=repair)


def test_retention_and_deletion_reach_the_store(places: Places, tmp_path: Path) -> None:
    upload_rest(places.here, places.campaign)
    results.scores(places.there, places.campaign, places.new, everything=False)
    single = replace(places.campaign, champion={**(places.campaign.champion or {}), "members": {}, "slot": 1})
    models = [key for key in places.store.contents if "model.pt" in key]
    stored = places.there.stored(single)
    assert stored is not None
    stored.drop_models([2])
    assert [key for key in places.store.contents if "model.pt" in key] == [key for key in models if "slot-0001" in key]
    ledger = MemoryLedger(FakeClock())
    other = ledger.open_campaign(places.campaign.spec)
    away = replace(places.there, ledger=ledger, home=tmp_path / "other")
    delete(away, HOST, other)
    left = away.stored(other)
    assert left is not None
    assert left.everything() == {}
