"""Checks a campaign's ledger against Optuna, the run folders and MLflow's books, and mends what can be mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import get_storage
from optuna.trial import FrozenTrial, TrialState

from hpo.domain.campaign import Campaign, Outcome, SlotState, SlotView, WorkerIdentity
from hpo.domain.errors import EnvironmentFault
from hpo.domain.ledger_invariants import invariants
from hpo.domain.ports import Ledger
from hpo.engine.objective import OUTCOMES, outcome_of
from hpo.engine.stage import own_trials, settle
from hpo.engine.tiers import COPIED_FROM, DUPLICATE_OF, SLOT, VALUES
from hpo.runs.archive import Archive
from hpo.runs.durable import read_sealed
from hpo.runs.folder import Attempt, SlotFolder
from hpo.runs.stored import StoredRuns
from hpo.trainable.loading import load_trainable
from hpo.usecases.doctor.files import burnt, champion_fault, code_faults, slot_faults

BOOK = "tracked.json"
FILES = "run folders are whole: every file is as it was written"


class Mendable(str):
    """A breach that `Doctor.repair` mends."""

    __slots__ = ()


@dataclass(frozen=True)
class Check:
    """One invariant: what must hold, over how many things it was asked, and a sentence for each breach."""

    rule: str
    num_checked: int
    breaches: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """A campaign as its stores held it at about one moment. own: slot -> its Optuna trials (one, if all is well).
    faults: slot -> what is wrong with its files."""

    campaign: Campaign
    slots: Sequence[SlotView]
    studies: Mapping[int, optuna.Study]
    trials: Mapping[int, Sequence[FrozenTrial]]
    own: Mapping[int, Sequence[FrozenTrial]]
    archive: Archive
    faults: Mapping[int, Sequence[str]]

    def pairs(self) -> Iterator[tuple[SlotView, FrozenTrial]]:
        """Every slot that has a trial, with it."""
        return ((slot, self.own[slot.slot][0]) for slot in self.slots if slot.slot in self.own)

    def attempts(self) -> Iterator[tuple[SlotView, FrozenTrial, Attempt]]:
        """The same, where the run folder is on this machine, and whole."""
        for slot, trial in self.pairs():
            attempt = self.archive.attempt(slot.slot)
            if attempt is not None and not self.faults[slot.slot]:
                yield slot, trial, attempt


class Doctor:
    """Examines campaigns.

    runs: the campaign's folder of run folders on this machine. sync: brings MLflow up to date, where something was
    mended; the number of items written. is_dead: whether a worker's process has certainly ended. stored: where run
    folders that are not here are fetched from.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: optuna.storages.BaseStorage,
        runs: Path,
        sync: Callable[[], int],
        is_dead: Callable[[WorkerIdentity], bool],
        stored: StoredRuns | None = None,
    ) -> None:
        self._ledger, self._storage, self._runs, self._stored = ledger, get_storage(storage), runs, stored
        self._sync, self._is_dead = sync, is_dead

    def examine(self, name: str) -> list[Check]:
        """Every check. Reads only. While the search runs, its stores change between two reads: a breach is reported
        where it shows twice in a row."""
        first = self._examine(name)
        if not any(check.breaches for check in first):
            return first
        again = {check.rule: set(check.breaches) for check in self._examine(name)}
        return [
            Check(check.rule, check.num_checked, tuple(b for b in check.breaches if b in again[check.rule]))
            for check in first
        ]

    def repair(self, name: str) -> list[str]:
        """Mend what can be mended while others work on the campaign; a sentence for everything that was done."""
        campaign = self._find(name)
        done = [
            f"the lease of trial {slot}, whose worker is dead, was ended"
            for slot in self._ledger.expire_dead(campaign.id, self._is_dead)
        ]
        seen = self._see(name)
        for tier, study in seen.studies.items():
            done += _settle_duplicates(study, seen.trials[tier])
        for slot, trial in seen.pairs():
            if slot.state is SlotState.DONE and trial.state is TrialState.RUNNING:
                done.append(_tell_outcome(seen.studies[slot.tier], trial, slot))
        if done or any(_left_running(seen)) or any(map(_book_fault, _books(seen))):
            num_written = self._sync()
            done += [f"{num_written} items were brought to MLflow"] if num_written else []
        return done

    def _examine(self, name: str) -> list[Check]:
        seen = self._see(name)
        return [
            Check(
                "finished and open slots are the budget, and the ledger agrees with itself",
                len(seen.slots),
                tuple(invariants(self._ledger, seen.campaign.id)),
            ),
            _check("no dead worker holds a lease", _running(seen.slots), self._lease),
            _check("a slot has one trial of its own", list(seen.slots), lambda slot: _one_trial(seen, slot)),
            _check("a trial belongs to a slot", list(_all_trials(seen)), lambda pair: _belongs(seen, *pair)),
            _check("ledger and Optuna agree on how trials ended", list(seen.pairs()), lambda pair: _outcome(*pair)),
            _check("curves have no gaps", list(seen.pairs()), lambda pair: _curve(*pair)),
            _check("run folders hold the same curves", list(seen.attempts()), lambda row: _folder_curve(*row)),
            _check("trials were trained with their parameters", list(seen.attempts()), lambda row: _params(*row)),
            Check(FILES, len(seen.slots), tuple(fault for found in seen.faults.values() for fault in found)),
            _check("the champion's weights are those that were crowned", [seen], _champion),
            _check("a trial came to a result", [seen], lambda seen: burnt(seen.campaign, seen.slots)),
            Check("all trials were trained with one code", len(seen.slots), tuple(_codes(seen))),
            _check("what was noted of MLflow is whole", _books(seen), _book_fault),
            _check("MLflow keeps no finished run RUNNING", _tracked(seen), lambda row: _run_status(*row)),
        ]

    def _find(self, name: str) -> Campaign:
        campaign = self._ledger.find_campaign(name)
        assert campaign is not None, "the caller found it"
        return campaign

    def _see(self, name: str) -> Seen:
        campaign = self._find(name)
        present = set(optuna.get_all_study_names(self._storage))
        studies = {
            tier.number: optuna.load_study(study_name=tier.study_name(name), storage=self._storage)
            for tier in campaign.spec.tiers
            if tier.study_name(name) in present
        }
        # Optuna first: a slot that the ledger has DONE had its trial told before.
        trials = {tier: study.get_trials(deepcopy=False) for tier, study in studies.items()}
        own = {slot: found for tier in trials.values() for slot, found in own_trials(tier).items()}
        slots = self._ledger.slots(campaign.id)
        archive = Archive(self._runs, self._ledger.checkpoints(campaign.id), self._stored)
        trainable = load_trainable(campaign.spec.trainable)
        faults = {slot.slot: slot_faults(trainable, archive, slot) for slot in slots}
        return Seen(campaign, slots, studies, trials, own, archive, faults)

    def _lease(self, slot: SlotView) -> str | None:
        if slot.worker is None or not self._is_dead(slot.worker):
            return None
        who = f"the process {slot.worker.pid} on {slot.worker.host}"
        return Mendable(f"trial {slot.slot} is leased to {who}, which is dead")


def _check(rule: str, things: Sequence[Any], ask: Callable[[Any], str | None]) -> Check:
    return Check(rule, len(things), tuple(said for said in map(ask, things) if said is not None))


def _running(slots: Sequence[SlotView]) -> list[SlotView]:
    return [slot for slot in slots if slot.state is SlotState.RUNNING]


def _all_trials(seen: Seen) -> Iterator[tuple[int, FrozenTrial]]:
    return ((tier, trial) for tier, trials in seen.trials.items() for trial in trials)


def _one_trial(seen: Seen, slot: SlotView) -> str | None:
    numbers = [trial.number for trial in seen.own.get(slot.slot, ())]
    if len(numbers) > 1:
        return Mendable(f"trial {slot.slot} has Optuna's trials {numbers} of tier {slot.tier}")
    if slot.trial_number is not None and numbers != [slot.trial_number]:
        return f"trial {slot.slot} is bound to Optuna's trial {slot.trial_number}, but Optuna has {numbers} for it"
    if slot.state is SlotState.DONE and not numbers:
        return f"trial {slot.slot} is done, and Optuna has none for it"
    return None


def _belongs(seen: Seen, tier: int, trial: FrozenTrial) -> str | None:
    who = f"Optuna's trial {trial.number} of tier {tier}"
    copied_from = trial.user_attrs.get(COPIED_FROM)
    if copied_from is not None:
        twins = [other for other in seen.trials[tier] if other.user_attrs.get(COPIED_FROM) == copied_from]
        return f"{who} is a second copy of {copied_from}" if twins[0].number != trial.number else None
    slot = trial.user_attrs.get(SLOT)
    if slot not in {view.slot for view in seen.slots if view.tier == tier}:
        return f"{who} is for the trial {slot}, which the tier does not have"
    if DUPLICATE_OF in trial.user_attrs and not trial.state.is_finished():
        return Mendable(f"{who} is an unfinished duplicate of its trial {trial.user_attrs[DUPLICATE_OF]}")
    return None


def _outcome(slot: SlotView, trial: FrozenTrial) -> str | None:
    if slot.state is not SlotState.DONE:
        return None  # Optuna may know the end already; the slot's next owner passes it on
    told = outcome_of(trial)
    if told is not slot.outcome:
        said = f"trial {slot.slot} is {slot.outcome}, Optuna's trial {trial.number} for it is {trial.state.name}"
        return Mendable(said) if trial.state is TrialState.RUNNING else said
    if told is Outcome.COMPLETE and trial.value != slot.score:
        return f"trial {slot.slot} has the score {slot.score}, Optuna's trial {trial.number} the value {trial.value}"
    return None


def _curve(slot: SlotView, trial: FrozenTrial) -> str | None:
    epochs = sorted(trial.intermediate_values)
    if epochs != list(range(1, len(epochs) + 1)):
        return f"trial {slot.slot} (Optuna's {trial.number}) has the epochs {epochs}"
    return None


def _folder_curve(slot: SlotView, trial: FrozenTrial, attempt: Attempt) -> str | None:
    """A run folder is written first, so it may be ahead; only a trial that ended well must agree to the last epoch."""
    folder = {record.epoch: record.score for record in attempt.epochs()}
    told = trial.intermediate_values
    wrong = [epoch for epoch in told if epoch in folder and folder[epoch] != told[epoch]]
    if wrong:
        return f"trial {slot.slot}: Optuna and {attempt.metrics_file} have other scores for the epochs {wrong}"
    if slot.outcome in (Outcome.COMPLETE, Outcome.PRUNED) and len(folder) != len(told):
        return f"trial {slot.slot}: Optuna has {len(told)} epochs, {attempt.metrics_file} has {len(folder)}"
    return None


def _params(slot: SlotView, trial: FrozenTrial, attempt: Attempt) -> str | None:
    if VALUES not in trial.user_attrs:
        return None
    values, trained = trial.user_attrs[VALUES], attempt.run()["params"]
    same = all(values[name] == value for name, value in trial.params.items() if name in values)
    if values != trained or not same:
        return (
            f"trial {slot.slot} was trained with other parameters ({attempt.folder}) than Optuna's {trial.number} has"
        )
    return None


def _champion(seen: Seen) -> str | None:
    return champion_fault(seen.archive, seen.campaign)


def _codes(seen: Seen) -> list[str]:
    return code_faults(seen.archive, seen.campaign, seen.slots)


def _books(seen: Seen) -> list[Path]:
    """What was noted here of the campaign's runs in MLflow."""
    runs = seen.archive.runs
    folders = [runs, *(SlotFolder(runs, slot.slot).folder for slot in seen.slots)]
    return [folder / BOOK for folder in folders if (folder / BOOK).exists()]


def _book_fault(book: Path) -> str | None:
    return None if _read_book(book) is not None else Mendable(f"{book} is damaged; it is written again by a sync")


def _read_book(book: Path) -> Mapping[str, Any] | None:
    try:
        return read_sealed(book)
    except (EnvironmentFault, FileNotFoundError):
        return None


def _tracked(seen: Seen) -> list[tuple[SlotView, Mapping[str, Any]]]:
    """What MLflow was last told of each slot. While trials run it follows a little behind, and is not asked about."""
    if _running(seen.slots):
        return []
    books = [(slot, _read_book(SlotFolder(seen.archive.runs, slot.slot).folder / BOOK)) for slot in seen.slots]
    return [(slot, book) for slot, book in books if book is not None]


def _run_status(slot: SlotView, book: Mapping[str, Any]) -> str | None:
    if slot.state in (SlotState.DONE, SlotState.PAUSED) and book["status"] == "RUNNING":
        return Mendable(f"trial {slot.slot} is {slot.state}, and MLflow was last told that it is RUNNING")
    return None


def _left_running(seen: Seen) -> Iterator[str]:
    return (said for said in (_run_status(*row) for row in _tracked(seen)) if said is not None)


def _settle_duplicates(study: optuna.Study, trials: Sequence[FrozenTrial]) -> Iterator[str]:
    unfinished = {
        trial.user_attrs[SLOT] for trial in trials if DUPLICATE_OF in trial.user_attrs and not trial.state.is_finished()
    }
    for slot, own in own_trials(trials).items():
        if len(own) > 1 or slot in unfinished:
            settle(study, slot)
            yield f"the duplicates of trial {slot} (Optuna's {own[0].number}) were failed"


def _tell_outcome(study: optuna.Study, trial: FrozenTrial, slot: SlotView) -> str:
    """The ledger is told last, so this happens only after Optuna's tables were restored from somewhere."""
    state = next(state for state, outcome in OUTCOMES.items() if outcome is slot.outcome)
    study.tell(trial.number, slot.score if state is TrialState.COMPLETE else None, state=state, skip_if_finished=True)
    return f"Optuna's trial {trial.number} of trial {slot.slot} was told its end, {slot.outcome}"
