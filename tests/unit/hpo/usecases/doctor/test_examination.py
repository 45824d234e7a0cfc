"""The doctor sees every kind of breach, and mends those that can be mended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import text
from support.simulated import SimulatedRunner, configuration, worker

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import study_storage
from hpo.domain.campaign import Campaign, WorkerIdentity
from hpo.engine.tiers import DUPLICATE_OF, SLOT, VALUES
from hpo.runs.durable import write_sealed
from hpo.runs.folder import SlotFolder, campaign_folder
from hpo.usecases.doctor.examination import FILES, Doctor

NAME = "ward"


@dataclass
class Ward:
    """A finished campaign of two trials that may be harmed."""

    ledger: PostgresLedger
    storage: Any
    runs: Path
    synced: list[str]

    @property
    def campaign(self) -> Campaign:
        found = self.ledger.find_campaign(NAME)
        assert found is not None
        return found

    @property
    def study(self) -> optuna.Study:
        return optuna.load_study(study_name=f"{NAME}/1-capacity", storage=self.storage)

    @property
    def doctor(self) -> Doctor:
        def sync() -> int:
            self.synced.append(NAME)
            return 3

        return Doctor(self.ledger, self.storage, self.runs, sync, is_dead=lambda identity: identity.host == "dead")

    def breaches(self) -> dict[str, tuple[str, ...]]:
        return {check.rule: check.breaches for check in self.doctor.examine(NAME) if check.breaches}

    def execute(self, statement: str) -> None:
        with self.ledger._database._engine.begin() as connection:
            assert connection.execute(text(statement)).rowcount == 1


@pytest.fixture
def ward(database_url: str, tmp_path: Path) -> Iterator[Ward]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ledger, storage = PostgresLedger(database_url), study_storage(database_url)
    config, space = configuration(NAME, 2)
    worker(ledger, storage, tmp_path, config, space, SimulatedRunner(), WorkerIdentity("host", 1, 0.0)).run()
    yield Ward(ledger, storage, campaign_folder(tmp_path, NAME), [])
    ledger.close()
    storage.remove_session()
    storage.engine.dispose()


def test_a_healthy_campaign_has_no_breach_and_every_check_says_over_how_much_it_was_asked(ward: Ward) -> None:
    assert ward.breaches() == {}
    asked = {check.rule: check.num_checked for check in ward.doctor.examine(NAME)}
    assert asked["finished and open slots are the budget, and the ledger agrees with itself"] == 2
    assert asked[FILES] == 2
    assert asked["run folders hold the same curves"] == 2
    assert ward.doctor.repair(NAME) == []
    assert ward.synced == []


def flip_checkpoint(ward: Ward) -> None:
    attempt = SlotFolder(ward.runs, 1).current()
    assert attempt is not None
    attempt.model.write_bytes(attempt.model.read_bytes()[:-1] + b"?")


def change_folder_curve(ward: Ward) -> None:
    attempt = SlotFolder(ward.runs, 2).current()
    assert attempt is not None
    first, *rest = attempt.metrics_file.read_text().splitlines()
    changed = json.dumps({**json.loads(first), "score": 0.5})
    attempt.metrics_file.write_text("\n".join([changed, *rest]) + "\n")


def shorten_folder_curve(ward: Ward) -> None:
    attempt = SlotFolder(ward.runs, 2).current()
    assert attempt is not None
    lines = attempt.metrics_file.read_text().splitlines(keepends=True)
    attempt.metrics_file.write_text("".join(lines[:-1]))


def change_run(ward: Ward) -> None:
    attempt = SlotFolder(ward.runs, 2).current()
    assert attempt is not None
    run = attempt.run()
    run["params"]["optim.lr"] *= 2
    write_sealed(attempt.folder / "run.json", run)


def change_curve(ward: Ward) -> None:
    ward.execute(
        "UPDATE optuna.trial_intermediate_values SET intermediate_value = 0.5 WHERE step = 2 AND trial_id = "
        "(SELECT min(trial_id) FROM optuna.trials)"
    )


def change_params(ward: Ward) -> None:
    ward.execute(
        f"UPDATE optuna.trial_user_attributes SET value_json = '{{}}' WHERE key = '{VALUES}' AND trial_id = "
        "(SELECT min(trial_id) FROM optuna.trials)"
    )


def change_code(ward: Ward) -> None:
    ward.execute(f"UPDATE hpo.campaign SET fingerprints = '{json.dumps({'code': 'another'})}'")


def lose_epoch(ward: Ward) -> None:
    ward.execute(
        "DELETE FROM optuna.trial_intermediate_values WHERE step = 3 AND trial_id = "
        "(SELECT min(trial_id) FROM optuna.trials)"
    )


def change_score(ward: Ward) -> None:
    ward.execute("UPDATE hpo.slot SET score = score + 1 WHERE number = 1")


def change_outcome(ward: Ward) -> None:
    ward.execute("UPDATE hpo.slot SET outcome = 'failed' WHERE number = 1")


def foreign_trial(ward: Ward) -> None:
    ward.study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={SLOT: 99}))


def rebind(ward: Ward) -> None:
    ward.execute("UPDATE hpo.slot SET trial_number = 7 WHERE number = 2")


@pytest.mark.parametrize(
    ("harm", "rule"),
    [
        (flip_checkpoint, FILES),
        (change_folder_curve, FILES),
        (shorten_folder_curve, FILES),
        (change_run, FILES),
        (change_curve, "run folders hold the same curves"),
        (change_params, "trials were trained with their parameters"),
        (change_code, "all trials were trained with one code"),
        (lose_epoch, "curves have no gaps"),
        (change_score, "ledger and Optuna agree on how trials ended"),
        (change_outcome, "ledger and Optuna agree on how trials ended"),
        (foreign_trial, "a trial belongs to a slot"),
        (rebind, "a slot has one trial of its own"),
    ],
)
def test_every_harm_is_seen(ward: Ward, harm: Callable[[Ward], None], rule: str) -> None:
    harm(ward)
    assert len(ward.breaches()[rule]) == 1


def test_a_second_trial_of_a_slot_is_marked_and_failed(ward: Ward) -> None:
    ward.study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={SLOT: 2}))
    assert "a slot has one trial of its own" in ward.breaches()

    done = ward.doctor.repair(NAME)

    assert done[0] == "the duplicates of trial 2 (Optuna's 1) were failed"
    assert ward.synced == [NAME]
    assert ward.breaches() == {}
    duplicate = ward.study.trials[2]
    assert (duplicate.state, duplicate.user_attrs[DUPLICATE_OF]) == (TrialState.FAIL, 1)
    assert ward.doctor.repair(NAME) == []


def test_the_lease_of_a_dead_worker_is_ended(ward: Ward) -> None:
    campaign = ward.ledger.raise_budget(ward.campaign.id, 3)
    dead = ward.ledger.register_worker(campaign.id, WorkerIdentity("dead", 1, 0.0))
    assert ward.ledger.claim(campaign.id, dead, timedelta(hours=1)) is not None
    assert "no dead worker holds a lease" in ward.breaches()

    assert ward.doctor.repair(NAME)[0] == "the lease of trial 3, whose worker is dead, was ended"
    assert ward.breaches() == {}


def test_a_run_that_mlflow_believes_to_run_is_brought_up_to_date(ward: Ward) -> None:
    book = SlotFolder(ward.runs, 1).folder / "tracked.json"
    write_sealed(book, {"status": "RUNNING"})
    assert "MLflow keeps no finished run RUNNING" in ward.breaches()

    assert ward.doctor.repair(NAME) == ["3 items were brought to MLflow"]
    assert ward.synced == [NAME]
