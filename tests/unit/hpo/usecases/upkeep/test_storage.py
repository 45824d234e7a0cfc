"""A finished campaign of real trainings, seen from a machine that has none of its files and the same store."""

from __future__ import annotations

import json
import shutil
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
from hpo.usecases.campaigns import frozen_config
from hpo.usecases.doctor.checkup import check_up
from hpo.usecases.records import Stores, unique_name
from hpo.usecases.refit.finalize import finalize
from hpo.usecases.refit.record import FOLDER, final_file, is_finalized, places_of_finals
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
    assert all(key.startswith(f"runs/{unique_name([places.campaign])}/") for key in places.store.contents)


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


def test_a_campaign_is_concluded_once_for_all_machines(places: Places) -> None:
    upload_rest(places.here, places.campaign)
    elsewhere = replace(places.there, home=places.there.home / "elsewhere")
    config, _ = frozen_config(places.campaign)
    assert not conclusion.is_concluded(elsewhere, places.campaign)
    conclusion.conclude(places.there, HOST, places.campaign, config, places.sitting.prepared, lambda line: None)
    assert conclusion.is_concluded(elsewhere, places.campaign)
    results.scores(elsewhere, places.campaign, places.new, everything=False)
    assert conclusion.faults(elsewhere, places.campaign) == []


def test_what_was_refitted_here_predicts_there(places: Places) -> None:
    upload_rest(places.here, places.campaign)
    name = places.campaign.name
    finalize(places.there, [name], 1, lambda line: None)
    crowned = places.here.find(name)
    assert crowned.crowned is not None
    assert crowned.crowned.finals.keys() == {name}
    shutil.rmtree(places.here.home / FOLDER, ignore_errors=True)
    tables = [
        results.scores(stores, crowned, places.new, everything=False)
        for stores in (places.there, places.here, replace(places.here, home=places.there.home / "third"))
    ]
    if final_file(places.there, [crowned]):
        assert {table.notes[0] for table in tables} == {"Scored with the models that `hpo finalize` refitted."}
    for other in tables[1:]:
        pd.testing.assert_frame_equal(tables[0].table, other.table)
    assert is_finalized(places.here, [crowned])
    places.store.contents.clear()
    with pytest.raises(EnvironmentFault, match=f"that `hpo finalize {name}` refitted on another machine are not in"):
        final_file(replace(places.here, home=places.there.home / "fourth"), [crowned])
    finalize(places.there, [name], 1, lambda line: None)
    assert {key.partition("/")[0] for key in places.store.contents} == {FOLDER}
    (place,) = places_of_finals(places.here, places.here.find(name))
    assert places.store.sizes(place).keys() == places.store.contents.keys()


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
    models = [key for key in places.store.contents if "model.pt" in key]
    conclusion.retain(places.there, replace(places.campaign, champion=None), 0)
    left = [key for key in places.store.contents if "model.pt" in key]
    assert left == [key for key in models if "slot-0001" in key], "the default's stays"
    ledger = MemoryLedger(FakeClock())
    other = ledger.open_campaign(places.campaign.spec)
    away = replace(places.there, ledger=ledger, home=tmp_path / "other")
    delete(away, HOST, other)
    gone = away.stored(other)
    assert gone is not None
    assert gone.everything() == {}
