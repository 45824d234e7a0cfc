"""One campaign's run folders as MLflow runs: what is there already is known, what is missing is written, in order."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hpo.adapters.dashboard.links import mlflow_run
from hpo.adapters.mlflow import records
from hpo.adapters.mlflow.store import Experiment, Store, locked
from hpo.adapters.processes.host import is_dead
from hpo.domain.campaign import Campaign, CampaignState, WorkerIdentity, run_name
from hpo.domain.errors import EnvironmentFault
from hpo.domain.settings import without
from hpo.runs.durable import read_sealed, write_sealed
from hpo.runs.entries import Result
from hpo.runs.folder import Attempt, SlotFolder, runs

BOOK = "tracked.json"
CAMPAIGN = "campaign"
RUNNING, WAITING, KILLED, FINISHED = "RUNNING", "SCHEDULED", "KILLED", "FINISHED"


@dataclass(frozen=True)
class TrialBook:
    """What a slot's run is known to hold. Losing it costs work, never truth: the run is found again by its tag.

    experiment: `Experiment.key`. result: `finished_at` of the result that was written. trial: the slot's Optuna trial:
    a slot that was given another after a failure has another run.
    """

    experiment: str
    run_id: str
    num_epochs: int = 0
    status: str = RUNNING
    result: str | None = None
    trial: int | None = None


@dataclass(frozen=True)
class CampaignBook:
    """The same for the campaign's run: its id, and what was last said of it."""

    experiment: str
    run_id: str
    said: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SlotState:
    """All of a slot that is projected, seen from outside: two equal states need no write in between.

    is_alive: has no result and may be training. num_bytes: of metrics.jsonl. finished_ns: when the result was written.
    """

    fence: int
    num_bytes: int
    finished_ns: int | None
    is_alive: bool


class Projection:
    """Keeps one campaign's runs up to date.

    The trials' runs lie directly below the campaign's; the tier is a tag. A trial without a result is RUNNING unless
    it is paused, or the `worker` (host, pid, started) in its `run.json` is dead for certain: then it is SCHEDULED until
    somebody goes on with it, and KILLED where its campaign is complete without it. A pruned trial is KILLED. The
    campaign is FINISHED when complete, else RUNNING or SCHEDULED by whether one of its trials runs.

    study_id: of the campaign's study in optuna-dashboard, where there is one.
    """

    def __init__(self, store: Store, experiment: Experiment, folder: Path, study_id: int | None = None) -> None:
        self._store, self.experiment, self._folder, self._study_id = store, experiment, folder, study_id
        self._states: dict[int, SlotState] = {}
        self._said: dict[str, str] = {}

    def sync(self, campaign: Campaign) -> int:
        """Bring the store up to date; the number of items written."""
        states = self._look(campaign)
        changed = [slot for slot, state in states.items() if self._states.get(slot) != state]
        said = _say(campaign, states, self._study_id)
        if not changed and said == self._said:
            return 0
        with locked(self._folder):
            book = self._open_campaign(campaign)
            num_written = 0
            for slot in changed:
                folder = SlotFolder(self._folder, slot)
                num_written += self._sync_trial(campaign, folder, book.run_id, states[slot])
                self._states[slot] = states[slot]
            num_written += self._sync_campaign(campaign, book, said)
        self._said = said
        return num_written

    def run_id(self, slot_folder: Path) -> str:
        """The run of a slot that was synced. Raises FileNotFoundError for another."""
        return TrialBook(**read_sealed(slot_folder / BOOK)).run_id

    def campaign_run_id(self) -> str:
        """The campaign's run, once it was synced. Raises FileNotFoundError before."""
        return CampaignBook(**read_sealed(self._folder / BOOK)).run_id

    def address(self, slot: int | None) -> str | None:
        """See `MLflowTracker.address`."""
        book = self._campaign_book() if slot is None else self._book(SlotFolder(self._folder, slot))
        return None if book is None else mlflow_run(self._store.uri, self.experiment.id, book.run_id)

    # -- looking ------------------------------------------------------------------------------------------------

    def _look(self, campaign: Campaign) -> dict[int, SlotState]:
        attempts = {slot.slot: slot.current() for slot in runs(self._folder)}
        return {slot: self._state(campaign, slot, attempt) for slot, attempt in attempts.items() if attempt is not None}

    def _state(self, campaign: Campaign, slot: int, attempt: Attempt) -> SlotState:
        finished_ns = _stat(attempt.result_file, "st_mtime_ns")
        num_bytes = _stat(attempt.metrics_file, "st_size") or 0
        known = self._states.get(slot)
        if finished_ns is not None and known is not None and known.fence == attempt.fence:
            return replace(known, num_bytes=num_bytes, finished_ns=finished_ns, is_alive=False)
        run = attempt.run()
        is_over = finished_ns is not None or attempt.is_paused or campaign.state is CampaignState.COMPLETE
        is_alive = not is_over and not _is_dead(run)
        return SlotState(attempt.fence, num_bytes, finished_ns, is_alive)

    # -- trials ---------------------------------------------------------------------------------------------------

    def _sync_trial(self, campaign: Campaign, slot: SlotFolder, parent: str, state: SlotState) -> int:
        attempt = Attempt(slot.folder / f"attempt-{state.fence}")
        result = attempt.result()
        book = self._book(slot)
        if result is not None and book is not None and book.result == result.finished_at.isoformat():
            return 0
        trial = attempt.run().get("trial_number")
        num_written = 0
        if book is None or book.trial != trial or not self._store.is_there(book.run_id):
            run_id = self._open_trial(campaign, slot, attempt, parent)
            book = self._note(slot, TrialBook(self.experiment.key, run_id, trial=trial))
            num_written += 1
        new = attempt.epochs()[book.num_epochs :]
        if new:
            num_written += self._store.log(book.run_id, metrics=records.epoch_metrics(new))
            book = self._note(slot, replace(book, num_epochs=new[-1].epoch))
        is_over = campaign.state is CampaignState.COMPLETE
        status = RUNNING if state.is_alive else KILLED if is_over else WAITING
        if result is not None:
            num_written += self._end_trial(book.run_id, attempt, result)
            status = records.STATUS[result.outcome]
            self._note(slot, replace(book, status=status, result=result.finished_at.isoformat()))
        elif book.status != status:
            self._store.set_status(book.run_id, status)
            self._note(slot, replace(book, status=status))
        return num_written

    def _note(self, slot: SlotFolder, book: TrialBook) -> TrialBook:
        write_sealed(slot.folder / BOOK, asdict(book))
        return book

    def _book(self, slot: SlotFolder) -> TrialBook | None:
        found = _read_book(slot.folder / BOOK)
        return TrialBook(**found) if found and found["experiment"] == self.experiment.key else None

    def _open_trial(self, campaign: Campaign, slot: SlotFolder, attempt: Attempt, parent: str) -> str:
        run = attempt.run()
        tags = records.trial_tags(attempt, None, self._study_id) | records.origin(campaign.name)
        tags[records.PARENT] = parent
        start = datetime.fromisoformat(slot.attempts()[0].run()["started_at"])
        run_id = self._store.find_or_create(
            self.experiment,
            {name: tags[name] for name in ("tiertune.slot", "tiertune.optuna_trial") if name in tags},
            run_name(slot.slot, run["tier_name"]),
            tags,
            records.milliseconds(start),
        )
        self._store.log(run_id, params=records.trial_params(campaign, attempt))
        self._store.log_dataset(run_id, records.dataset(campaign))
        self._store.set_status(run_id, RUNNING)
        return run_id

    def _end_trial(self, run_id: str, attempt: Attempt, result: Result) -> int:
        with tempfile.TemporaryDirectory() as folder:
            records.write_artifacts(attempt, result, Path(folder))
            num_written = self._store.log_folder(run_id, Path(folder))
        metrics = records.result_metrics(result, attempt.epochs())
        num_written += self._store.log(
            run_id, metrics=metrics, tags=records.trial_tags(attempt, result, self._study_id)
        )
        self._store.set_status(run_id, records.STATUS[result.outcome], records.milliseconds(result.finished_at))
        return num_written

    # -- the campaign -------------------------------------------------------------------------------------------

    def _campaign_book(self) -> CampaignBook | None:
        found = _read_book(self._folder / BOOK)
        is_ours = found is not None and found["experiment"] == self.experiment.key and "run_id" in found
        return CampaignBook(**found) if found and is_ours else None

    def _open_campaign(self, campaign: Campaign) -> CampaignBook:
        """The campaign's run, made where it is not there."""
        book = self._campaign_book()
        if book is not None and (self._said or self._store.is_there(book.run_id)):
            return book
        start = None if campaign.created_at is None else records.milliseconds(campaign.created_at)
        identity, tags = {"tiertune.kind": CAMPAIGN}, records.origin(campaign.name)
        run_id = self._store.find_or_create(self.experiment, identity, campaign.name, tags, start)
        self._store.log_dataset(run_id, records.dataset(campaign))
        book = CampaignBook(self.experiment.key, run_id)
        write_sealed(self._folder / BOOK, asdict(book))
        return book

    def _sync_campaign(self, campaign: Campaign, book: CampaignBook, said: dict[str, str]) -> int:
        if book.said == said:
            return 0
        params = records.params(without(campaign.spec.config, "metrics"))
        num_written = self._store.log(book.run_id, params=params, tags=said)
        self._store.set_status(book.run_id, said[records.STATUS_TAG])
        write_sealed(self._folder / BOOK, asdict(replace(book, said=said)))
        return num_written


def _say(campaign: Campaign, states: Mapping[int, SlotState], study_id: int | None) -> dict[str, str]:
    """The tags of the campaign's run."""
    is_alive = any(state.is_alive for state in states.values())
    status = FINISHED if campaign.state is CampaignState.COMPLETE else RUNNING if is_alive else WAITING
    return {**records.campaign_tags(campaign, study_id), records.STATUS_TAG: status}


def _is_dead(run: Mapping[str, Any]) -> bool:
    worker = run.get("worker")
    return worker is not None and is_dead(WorkerIdentity(**worker))


def _read_book(path: Path) -> dict[str, Any] | None:
    """What is known of the store; None where nothing is, or the file is damaged: it is found out again."""
    try:
        return read_sealed(path)
    except (FileNotFoundError, EnvironmentFault):
        return None


def _stat(path: Path, what: str) -> int | None:
    try:
        return int(getattr(path.stat(), what))
    except FileNotFoundError:
        return None
