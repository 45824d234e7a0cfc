"""Two hosts that share a database and a store of artifacts, and no folder: trials move, and outages fail none."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from support.command import wait_for
from support.s3 import S3
from support.simulated import SimulatedRunner, configuration, worker

from hpo.adapters.artifacts import FsspecStore
from hpo.domain.campaign import Campaign, SlotState, WorkerIdentity
from hpo.engine.uploads import StoredUploads
from hpo.runs.folder import Attempt, SlotFolder, campaign_folder
from hpo.runs.stored import StoredRuns
from hpo.testing.clock import FakeClock
from hpo.testing.memory_artifacts import MemoryArtifacts
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage

A, B = WorkerIdentity("host-a/1", 1, 0.0), WorkerIdentity("host-b/2", 2, 0.0)
SOON = timedelta(milliseconds=20)


class Killed(BaseException):
    """The end of a process."""


@dataclass
class Hosts:
    """Both have a state folder of their own."""

    home: Path
    store: Any = field(default_factory=MemoryArtifacts)
    ledger: MemoryLedger = field(default_factory=lambda: MemoryLedger(FakeClock()))
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    lag: int = 2

    def work(self, who: WorkerIdentity, before_epoch: Any = None, num_trials: int = 1, **more: Any) -> SimulatedRunner:
        """A worker on this host, until nothing is left."""
        config, space = configuration("night", num_trials, sampler={"name": "random", "options": {}})
        home = self.home / who.host.partition("/")[0]
        uploads = StoredUploads(self.stored(home), self.ledger, who, self.lag, retry=SOON, patience=SOON)
        runner = SimulatedRunner(before_epoch or (lambda folder, epoch: None))
        others = {A, B} - {who}
        made = worker(
            self.ledger, self.storage, home, config, space, runner, who, others.__contains__, uploads=uploads, **more
        )
        made.run()
        return runner

    def stored(self, home: Path) -> StoredRuns:
        return StoredRuns(self.store, campaign_folder(home, "night"), "runs/night")

    @property
    def campaign(self) -> Campaign:
        found = self.ledger.find_campaign("night")
        assert found is not None
        return found

    def history(self) -> list[tuple[int, list[float], float | None]]:
        """Of every slot: its curve in Optuna, and its score."""
        trials = [
            trial
            for tier in self.campaign.spec.tiers
            if tier.num_slots
            for trial in optuna.load_study(study_name=tier.study_name("night"), storage=self.storage).trials
            if "copied_from" not in trial.user_attrs
        ]
        return [(t.user_attrs["slot"], list(t.intermediate_values.values()), t.value) for t in trials]


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return Hosts(tmp_path / "hosts")


@pytest.fixture
def on_s3(s3: S3, tmp_path: Path) -> Hosts:
    """The same with a real server."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return Hosts(tmp_path / "hosts", FsspecStore(s3.url(f"uploads/{tmp_path.name}")))


def dying_at(epoch: int) -> Callable[[Path, int], None]:
    def die(attempt: Path, begun: int) -> None:
        if begun == epoch:
            raise Killed

    return die


@pytest.mark.parametrize("place", ["hosts", "on_s3"])
def test_another_host_goes_on_at_the_last_uploaded_epoch(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    hosts: Hosts = request.getfixturevalue(place)
    with pytest.raises(Killed):
        hosts.work(A, dying_at(5))
    (record,) = hosts.ledger.checkpoints(hosts.campaign.id)
    assert (record.kind, record.host) == ("snapshot", "host-a/1")
    slot, begun = hosts.work(B).trained[0]
    assert slot == "slot-0001"
    assert record.epoch < begun <= 5, "the checkpoint may be newer than the epoch that was told last"
    assert 4 - record.epoch <= hosts.lag

    calm = Hosts(tmp_path / "calm")
    calm.work(A)
    assert hosts.history() == calm.history()
    curves = [
        [(each.epoch, each.score) for each in found.epochs()]
        for found in (
            SlotFolder(campaign_folder(tmp_path / "hosts/host-b", "night"), 1).current(),
            SlotFolder(campaign_folder(tmp_path / "calm/host-a", "night"), 1).current(),
        )
        if found is not None
    ]
    assert curves[0] == curves[1]


def test_a_slow_store_holds_a_trial_back(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    put, begun, behind = hosts.store.put, [0], []

    def slow(files: Any) -> None:
        time.sleep(0.05)
        put(files)

    def look(attempt: Path, epoch: int) -> None:
        begun[0] = epoch
        records = hosts.ledger.checkpoints(hosts.campaign.id)
        has = next((record.epoch for record in records if record.kind == "snapshot"), 0)
        behind.append(epoch - 1 - has)  # epochs finished, and not in the store, when one begins

    monkeypatch.setattr(hosts.store, "put", slow)
    hosts.lag = 1
    hosts.work(A, look)
    assert len(behind) == 6
    assert max(behind) <= 1


def test_a_store_that_is_away_fails_no_trial_and_gets_everything_later(
    hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hpo")

    def storm(attempt: Path, epoch: int) -> None:
        if (attempt.parent.name, epoch) == ("slot-0001", 3):
            hosts.store.is_away = True
            time.sleep(0.1)  # it is noticed
        if (attempt.parent.name, epoch) == ("slot-0002", 2):
            hosts.store.is_away = False

    hosts.work(A, storm, num_trials=2)
    assert all(slot.state is SlotState.DONE for slot in hosts.ledger.slots(hosts.campaign.id))
    stored = hosts.stored(hosts.home / "host-a")
    results = [record for record in hosts.ledger.checkpoints(hosts.campaign.id) if record.kind == "result"]
    assert [record.slot for record in results] == [1, 2]
    assert all(stored.has(record, stored.everything()) for record in results)
    assert caplog.text.count("trials go on, and are uploaded when the store is back: memory://test is away") == 1
    assert caplog.text.count("answers again") == 1


def test_a_store_that_stays_away_is_left_behind_with_a_word(
    hosts: Hosts, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.store.is_away = True
    hosts.work(A)
    assert hosts.campaign.state
    assert "not everything is uploaded: `hpo sync` on this machine does it later" in caplog.text
    assert hosts.store.contents == {}


def test_a_trial_that_cannot_be_fetched_begins_anew(hosts: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Killed):
        hosts.work(A, dying_at(5))
    key = next(key for key in hosts.store.contents if "last.pt" in key)
    hosts.store.contents[key] = b"torn"
    assert hosts.work(B).trained[0] == ("slot-0001", 1)
    assert "goes on from what is on this machine: " in caplog.text
    assert hosts.ledger.slots(hosts.campaign.id)[0].state is SlotState.DONE


def test_the_first_host_goes_on_with_its_own_files_where_they_are_newer(hosts: Hosts) -> None:
    with pytest.raises(Killed):
        hosts.work(A, dying_at(3))
    hosts.store.is_away = True
    with pytest.raises(Killed):
        hosts.work(B, dying_at(1))
    hosts.store.is_away = False
    assert hosts.work(A).trained[0] == ("slot-0001", 3)


def test_a_host_that_comes_back_stale_writes_nothing(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep, awake = threading.Event(), threading.Event()

    def sleep(attempt: Path, epoch: int) -> None:
        if epoch == 4:
            asleep.set()
            assert awake.wait(60)

    with_a = threading.Thread(target=lambda: hosts.work(A, sleep))
    with_a.start()
    assert asleep.wait(60)
    wait_for(lambda: any(record.epoch == 3 for record in hosts.ledger.checkpoints(hosts.campaign.id)), 30)
    hosts.work(B)
    before, records = dict(hosts.store.contents), hosts.ledger.checkpoints(hosts.campaign.id)
    put: list[Any] = []
    monkeypatch.setattr(hosts.store, "put", put.append)
    awake.set()
    with_a.join(60)
    assert not with_a.is_alive()
    assert put == []
    assert hosts.store.contents == before
    assert hosts.ledger.checkpoints(hosts.campaign.id) == records
    assert {record.host for record in records if record.kind != "snapshot"} == {"host-b/2"}


def test_what_was_on_its_way_when_the_lease_was_lost_is_taken_back(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, sent, awake = hosts.store.put, threading.Event(), threading.Event()

    def asleep(files: Any) -> None:
        if threading.current_thread() in uploaders and any("epoch-0003" in key for key in files):
            sent.set()
            assert awake.wait(60)
        put(files)

    before_a = set(threading.enumerate())
    with_a = threading.Thread(target=lambda: hosts.work(A))
    uploaders: list[threading.Thread] = []
    monkeypatch.setattr(hosts.store, "put", asleep)
    with_a.start()
    wait_for(lambda: any(t.name == "uploads" for t in set(threading.enumerate()) - before_a), 30)
    uploaders += [t for t in set(threading.enumerate()) - before_a if t.name == "uploads"]
    assert sent.wait(60)
    hosts.work(B)
    contents = dict(hosts.store.contents)
    awake.set()
    with_a.join(60)
    wait_for(lambda: not any(t.is_alive() for t in uploaders), 60)
    assert hosts.store.contents == contents


def test_a_result_that_cannot_be_uploaded_holds_nobody_up(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where somebody deletes the run folder amid it."""

    def gone(self: StoredRuns, attempt: Attempt) -> None:
        raise FileNotFoundError(attempt.folder)

    monkeypatch.setattr(StoredRuns, "put_finished", gone)
    at_work = threading.Thread(target=lambda: hosts.work(A, num_trials=2), daemon=True)
    at_work.start()
    at_work.join(60)
    assert not at_work.is_alive()
    assert len(hosts.history()) == 2
    assert "an upload is left out: FileNotFoundError" in caplog.text


def test_a_drained_worker_leaves_its_last_epoch_in_the_store(hosts: Hosts) -> None:
    drain = threading.Event()

    def stop(attempt: Path, epoch: int) -> None:
        if epoch == 4:
            drain.set()

    hosts.work(A, stop, drain=drain)
    (record,) = hosts.ledger.checkpoints(hosts.campaign.id)
    assert hosts.work(B).trained[0] == ("slot-0001", 5), record


def test_what_only_an_unfinished_trial_needs_is_deleted(hosts: Hosts) -> None:
    hosts.work(A)
    names = {key.rpartition("/")[2].partition(".")[0] for key in hosts.store.contents}
    assert {"model", "result"} <= names
    assert not {"last", "previous", "snapshot"} & names
