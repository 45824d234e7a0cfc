"""Two state folders on one database: what was trained in one is never taken for what was trained in the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from support.simulated import SimulatedRunner, configuration, worker

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.adapters.optuna.study_storage import study_storage
from hpo.domain.campaign import Campaign, WorkerIdentity
from hpo.domain.champion import Champion
from hpo.domain.errors import EnvironmentFault
from hpo.runs.folder import SlotFolder, campaign_folder
from hpo.usecases import conclusion, results
from hpo.usecases.champion import choose
from hpo.usecases.records import Records

NAME = "shared"
A, B = WorkerIdentity("host-a/1", 1, 0.0), WorkerIdentity("host-b/2", 2, 0.0)


class Killed(BaseException):
    """The end of a process."""


@dataclass
class Homes:
    """Folder a, where the trial was killed at epoch 3, and folder b, where it was trained to its end."""

    ledger: PostgresLedger
    a: Path
    b: Path

    @property
    def campaign(self) -> Campaign:
        found = self.ledger.find_campaign(NAME)
        assert found is not None
        return found

    def records(self, home: Path) -> Records:
        return Records(home, self.ledger)

    def choose(self, home: Path) -> Champion:
        return choose(self.campaign, self.records(home).archive(self.campaign))


@pytest.fixture
def homes(database_url: str, tmp_path: Path) -> Iterator[Homes]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ledger, storage = PostgresLedger(database_url), study_storage(database_url)
    config, space = configuration(NAME, 1)

    def die(attempt: Path, epoch: int) -> None:
        if epoch == 3:
            (attempt / "model.pt").write_text("weights of epoch 2")
            raise Killed

    with pytest.raises(Killed):
        worker(ledger, storage, tmp_path / "a", config, space, SimulatedRunner(die), A).run()
    worker(ledger, storage, tmp_path / "b", config, space, SimulatedRunner(), B, lambda identity: identity == A).run()
    yield Homes(ledger, tmp_path / "a", tmp_path / "b")
    ledger.close()
    storage.remove_session()
    storage.engine.dispose()


def test_the_unfinished_file_is_there_and_is_not_crowned(homes: Homes) -> None:
    unfinished = SlotFolder(campaign_folder(homes.a, NAME), 1).current()
    assert unfinished is not None
    assert unfinished.model.read_text() == "weights of epoch 2"
    right = homes.b / f"runs/{NAME}/slot-0001/attempt-2/model.pt"
    with pytest.raises(EnvironmentFault) as refused:
        homes.choose(homes.a)
    assert f"It was written on the host host-b, as {right}" in str(refused.value)
    assert "copy the folder attempt-2 here" in str(refused.value)

    chosen = homes.choose(homes.b)
    assert chosen.run_folder == f"runs/{NAME}/slot-0001/attempt-2"
    record = homes.records(homes.b).archive(homes.campaign).record(1, "model")
    assert record is not None
    assert chosen.sha256 == record.sha256


def test_the_copied_folder_is_crowned_in_the_other_home_too(homes: Homes) -> None:
    there, here = (home / f"runs/{NAME}/slot-0001/attempt-2" for home in (homes.b, homes.a))
    shutil.copytree(there, here)
    assert homes.choose(homes.a) == homes.choose(homes.b)
    (here / "model.pt").write_text("weights of somebody else")
    with pytest.raises(EnvironmentFault, match=r"attempt-2/model\.pt is not the checkpoint of trial 1: its SHA-256 is"):
        homes.choose(homes.a)


def test_nothing_else_is_read_from_the_unfinished_attempt(homes: Homes) -> None:
    with pytest.raises(EnvironmentFault, match=r"run folder of trial 1 is not below .*/a/runs.*on the host host-b"):
        results.best_settings(homes.records(homes.a), homes.campaign)
    assert results.best_settings(homes.records(homes.b), homes.campaign)["train"]["epochs"] == 6


def test_sync_and_report_say_what_is_not_here(homes: Homes) -> None:
    said: list[str] = []
    with pytest.raises(
        EnvironmentFault, match=r"MLflow cannot be brought up to date .* trials 1 .*host host-b below .*/b"
    ):
        conclusion.sync(homes.records(homes.a), NullTracker(), homes.campaign, said.append)
    nowhere: Any = None
    with pytest.raises(EnvironmentFault, match=r"nothing to report here\. The run folders of the trials 1"):
        conclusion.report(homes.records(homes.a), nowhere, homes.campaign, nowhere, said.append)
    assert said == []
    assert conclusion.sync(homes.records(homes.b), NullTracker(), homes.campaign, said.append) == 0
