"""What is said of MLflow and of the report at a campaign's end, with stores that are not there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.domain.campaign import Campaign, CampaignSpec, CheckpointRecord, Outcome, TierPlan, WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.domain.errors import EnvironmentFault, StoreUnavailable
from hpo.runs.durable import sha256_of, write_sealed
from hpo.runs.folder import SlotFolder
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.usecases import conclusion
from hpo.usecases.records import Records


class Keeper(NullTracker):
    """A store that remembers what it was given, or does not take it."""

    def __init__(self) -> None:
        self.attached: list[str] = []
        self.is_read_only = False

    def attach_report(self, campaign: Campaign, runs: Path, files: Sequence[Path]) -> None:
        if self.is_read_only:
            raise StoreUnavailable("MLflow does not take the records: it is read-only")
        self.attached = [file.name for file in files]

    def register_champion(self, campaign: Campaign, run_folder: Path, model: Path, *, recommended: bool) -> str | None:
        return f"models:/{run_folder.name}/{model.name}{'@champion' if recommended else ''}"


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path, MemoryLedger(FakeClock()))


@pytest.fixture
def tracker() -> Keeper:
    return Keeper()


@pytest.fixture
def campaign(records: Records) -> Campaign:
    """One trial, finished and crowned, its report written."""
    opened = records.ledger.open_campaign(CampaignSpec("night", {}, {}, (TierPlan(1, "capacity", 1),), 0))
    worker = records.ledger.register_worker(opened.id, WorkerIdentity("host", 1, 0.0))
    claim = records.ledger.claim(opened.id, worker, SearchConfig().worker.lease)
    attempt = SlotFolder(records.runs("night"), 1).open_attempt(1, {}, {})
    attempt.model.write_bytes(b"weights")
    attempt.finish(Outcome.COMPLETE, 0.1, 1)
    for kind, file in (("model", attempt.model), ("result", attempt.result_file)):
        path = str(file.relative_to(records.home))
        records.ledger.record_checkpoint(
            claim, CheckpointRecord(1, kind, 1, path, "host", str(records.home), sha256_of(file), 0.1)
        )
    records.ledger.finish(claim, Outcome.COMPLETE, 0.1)
    folder = conclusion.report_folder(records, opened)
    folder.mkdir(parents=True)
    for name in ("report.html", "notes.txt"):
        (folder / name).write_text(name)
    put_report(folder, recommended=True)
    return replace(opened, champion={"slot": 1})


def put_report(folder: Path, *, recommended: bool) -> None:
    (folder / "report.json").write_text(json.dumps({"recommended": recommended}))
    digests = {name: sha256_of(folder / name) for name in ("report.html", "report.json")}
    write_sealed(folder / conclusion.DIGESTS, digests)


def test_report_and_champion_go_to_the_tracker(records: Records, tracker: Keeper, campaign: Campaign) -> None:
    said: list[str] = []
    conclusion.sync(records, tracker, campaign, said.append)
    assert tracker.attached == ["report.html", "report.json"]
    assert said == ["  registered in MLflow as models:/attempt-1/model.pt@champion"]


def test_what_the_report_does_not_recommend_has_no_alias(records: Records, tracker: Keeper, campaign: Campaign) -> None:
    put_report(conclusion.report_folder(records, campaign), recommended=False)
    said: list[str] = []
    conclusion.sync(records, tracker, campaign, said.append)
    reason = "without the alias 'champion': the report does not recommend it"
    assert said == [f"  registered in MLflow as models:/attempt-1/model.pt, {reason}"]


def test_a_read_only_store_is_no_sync(records: Records, tracker: Keeper, campaign: Campaign) -> None:
    tracker.is_read_only = True
    with pytest.raises(EnvironmentFault, match="does not take the records"):
        conclusion.sync(records, tracker, campaign, print)


def test_a_swapped_checkpoint_is_not_registered(records: Records, tracker: Keeper, campaign: Campaign) -> None:
    best = records.runs("night") / "slot-0001" / "attempt-1" / "model.pt"
    best.write_bytes(b"other weights")
    with pytest.raises(EnvironmentFault, match=r"model\.pt is not the checkpoint of trial 1"):
        conclusion.sync(records, tracker, campaign, print)


def test_a_damaged_report_is_not_attached(records: Records, tracker: Keeper, campaign: Campaign) -> None:
    (conclusion.report_folder(records, campaign) / "report.json").write_text("{}")
    with pytest.raises(EnvironmentFault, match=r"report\.json is damaged.*`hpo report study=night`"):
        conclusion.sync(records, tracker, campaign, print)


def test_a_begun_trial_that_is_trained_elsewhere_is_missing_here(
    records: Records, tracker: Keeper, campaign: Campaign
) -> None:
    (records.runs("night") / "slot-0001").rename(records.home / "away")
    with pytest.raises(EnvironmentFault, match=r"trials 1 are not below .*; they were written on the host host below"):
        conclusion.sync(records, tracker, campaign, print)


def test_a_long_scoring_says_how_far_it_is_and_a_short_one_says_it_began() -> None:
    said: list[str] = []
    times = iter([0.0, 9.9, 10.0, 10.0, 19.9])
    on_trial = conclusion.scoring(said.append, lambda: next(times))
    for number in (1, 2, 3, 4):
        on_trial(number, 15)
    assert said == ["Scoring the holdout: trial 1 of 15 ...", "Scoring the holdout: trial 3 of 15 ..."]
