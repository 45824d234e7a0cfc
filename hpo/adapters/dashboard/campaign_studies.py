"""One Optuna study for each campaign, for people: every trial once, under its number, with its real values."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial
from sqlalchemy import Connection

from hpo.adapters.dashboard import statements
from hpo.adapters.dashboard.shown import RUN, shown_trial, waiting_trial
from hpo.adapters.optuna.study_storage import PatientStorage
from hpo.domain.campaign import Campaign, TierPlan
from hpo.domain.errors import UsageError
from hpo.engine.stage import own_trials
from hpo.engine.study_cache import StudyCache

MARK = "campaign_id"
"""Study attribute by which a campaign's study is told from one that somebody else gave the campaign's name."""

FILES = ("artifacts:", "dashboard:artifacts:")
"""Beginnings of the attributes in which the dashboard looks for files: Optuna's, and those it writes itself."""

TOGETHER = 100
"""Trials that are written in one transaction."""


@dataclass
class _View:
    """A campaign's study as this process knows it. written: slot -> `_state` of what it was written from."""

    study_id: int
    written: dict[int, tuple[Any, ...] | None] = field(default_factory=dict)


class CampaignStudies:
    """Keeps every campaign's study like the studies of its tiers, with which the search works.

    A projection: nothing is read back from it. Whatever differs is written, and worked out anew from the tiers' studies
    once its study is locked. So nothing wrong stays behind where several do this at once, or where one is killed, is
    slow, or comes to a study that was changed by hand.

    storage: called when first needed.
    """

    def __init__(self, storage: Callable[[], PatientStorage]) -> None:
        self._make_storage = storage
        self.close()

    def close(self) -> None:
        """Forget the connection and all that was seen; a later call starts anew."""
        self._opened: PatientStorage | None = None
        self._sources: StudyCache | None = None
        self._views: dict[str, _View] = {}

    @property
    def storage(self) -> PatientStorage:
        self._opened = self._opened or self._make_storage()
        return self._opened

    def sync(self, campaign: Campaign) -> int:
        """Bring the study up to date; the number of trials written. Nothing before the first trial began."""
        tiers = self._tiers(campaign)
        own = self._own_trials(tiers)
        if not own:
            return 0
        view = self._view(campaign)
        begun = {slot: _state(own[slot]) if slot in own else None for slot in range(1, max(own) + 1)}
        num_written = 0
        if not view.written:
            num_written += self._transaction(
                view.study_id, lambda connection: statements.remove_strays(connection, view.study_id, tiers)
            )
        changed = [slot for slot, state in begun.items() if slot not in view.written or view.written[slot] != state]
        for first in range(0, len(changed), TOGETHER):
            some = changed[first : first + TOGETHER]
            num_written += self._bring(campaign, view.study_id, tiers, some)
            view.written |= {slot: begun[slot] for slot in some}
        return num_written

    def study(self, campaign: Campaign) -> optuna.Study:
        """The campaign's study, made where it is not there.

        Raises:
            UsageError: somebody has given a study of their own this name.
        """
        self._view(campaign)
        return optuna.load_study(study_name=campaign.name, storage=self.storage)

    def study_id(self, campaign: Campaign) -> int | None:
        """For links to the study; None where it cannot be told now."""
        try:
            return self._view(campaign).study_id
        except Exception:  # a link is not worth a search, and `sync` says what is wrong
            return None

    def trial_ids(self, campaign: Campaign, slots: Collection[int]) -> dict[int, int]:
        """Slot -> Optuna's id of its trial in the campaign's study, for those that are there."""
        study_id = self._view(campaign).study_id
        found = self._transaction(study_id, lambda c: statements.read_numbers(c, study_id, slots))
        return {slot: trial._trial_id for slot, trial in found.items()}

    def attach(self, trial_id: int, files: Mapping[str, str | None], links: Mapping[str, str]) -> bool:
        """Let a trial have these files (attribute -> description; None: not that one) and these user attributes;
        whether that had to be written."""
        return bool(self._alone(lambda connection: statements.attach(connection, trial_id, files, links)))

    def files(self, campaign: Campaign) -> Iterator[str]:
        """Names of all files that lie at the campaign's study, at the tiers' and at their trials."""
        studies = filter(
            None, map(self._find, (campaign.name, *(tier.study_name(campaign.name) for tier in campaign.spec.tiers)))
        )
        for study in studies:
            trials = study.get_trials(deepcopy=False)
            for attributes in (self.storage.get_study_system_attrs(study._study_id), *(t.system_attrs for t in trials)):
                for key, value in attributes.items():
                    meta = json.loads(value) if key.startswith(FILES) else None
                    if meta is not None:  # one that was deleted in the dashboard
                        yield meta["artifact_id"]

    def delete(self, campaign: Campaign) -> None:
        """Take the study away, if it is ours."""
        study = self._find(campaign.name)
        if study is not None and MARK in study.user_attrs:
            optuna.delete_study(study_name=campaign.name, storage=self.storage)
        self._views.pop(campaign.name, None)

    # -- the tiers' studies -------------------------------------------------------------------------------------

    def _tiers(self, campaign: Campaign) -> dict[int, TierPlan]:
        """Study id -> tier, of those that are there."""
        tiers = {tier.study_name(campaign.name): tier for tier in campaign.spec.tiers}
        present = self._alone(lambda connection: statements.find(connection, list(tiers)))
        return {present[name]: tier for name, tier in tiers.items() if name in present}

    def _own_trials(self, tiers: Mapping[int, TierPlan]) -> dict[int, FrozenTrial]:
        self._sources = self._sources or StudyCache(self.storage)
        found: dict[int, FrozenTrial] = {}
        for study_id in tiers:
            trials = self._sources.get_all_trials(study_id, deepcopy=False)
            found |= {slot: own[0] for slot, own in own_trials(trials).items()}
        return found

    # -- the campaign's -----------------------------------------------------------------------------------------

    def _find(self, name: str) -> optuna.Study | None:
        try:
            return optuna.load_study(study_name=name, storage=self.storage)
        except KeyError:
            return None

    def _view(self, campaign: Campaign) -> _View:
        if campaign.name not in self._views:
            self._views[campaign.name] = _View(self._open(campaign))
        return self._views[campaign.name]

    def _open(self, campaign: Campaign) -> int:
        found = self._find(campaign.name)
        if found is not None and found.user_attrs.get(MARK, campaign.id) != campaign.id:
            optuna.delete_study(study_name=campaign.name, storage=self.storage)  # of a deleted campaign of this name
        marks = {"campaign": campaign.name, MARK: campaign.id}
        self._alone(lambda connection: statements.make(connection, campaign.name, marks))
        study = optuna.load_study(study_name=campaign.name, storage=self.storage)
        if MARK not in study.user_attrs:
            raise UsageError(
                f"the study '{campaign.name}' in the database is not the campaign's; delete it, or give it another name"
            )
        names = [campaign.spec.objective.shown]
        if study.metric_names != names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # a name on the axes is worth it
                study.set_metric_names(names)
        return int(study._study_id)

    def _bring(self, campaign: Campaign, study_id: int, tiers: Mapping[int, TierPlan], slots: Sequence[int]) -> int:
        def write(connection: Connection) -> int:
            wanted = self._wanted(connection, campaign, tiers, slots)
            present = statements.read_numbers(connection, study_id, slots)
            num_written = 0
            for trial in wanted:
                before = present.get(trial.number)
                if before is None or _content(before) != _content(trial):
                    place = None if before is None else before._trial_id
                    statements.put(connection, study_id, place, trial, kept=(RUN,))
                    num_written += 1
            return num_written

        return int(self._transaction(study_id, write))

    def _wanted(
        self, connection: Connection, campaign: Campaign, tiers: Mapping[int, TierPlan], slots: Sequence[int]
    ) -> Iterator[FrozenTrial]:
        """What the study should hold of these slots, in their order, as the tiers' studies are now."""
        found: dict[int, FrozenTrial] = {}
        for study_id, tier in tiers.items():
            trials = statements.read_slots(connection, [study_id], slots)
            found |= {slot: shown_trial(campaign, tier, own[0]) for slot, own in own_trials(trials).items()}
        return (found.get(slot) or waiting_trial(campaign, slot) for slot in sorted(slots))

    def _transaction(self, study_id: int, work: Callable[[Connection], Any]) -> Any:
        """The work's result, done while nobody else writes to the study."""

        def locked(connection: Connection) -> Any:
            if not statements.lock(connection, study_id):
                self._views.clear()  # the next pass makes it again
                raise KeyError(f"the study of the id {study_id} was deleted")
            return work(connection)

        return self._alone(locked)

    def _alone(self, work: Callable[[Connection], Any]) -> Any:
        """The work's result, in a transaction of its own, which may be repeated."""

        def transaction() -> Any:
            with self.storage.engine.begin() as connection:
                return work(connection)

        return self.storage.patiently(transaction)


def _state(trial: FrozenTrial) -> tuple[Any, ...]:
    """Changes with whatever a trial is told: it only ever gets more."""
    num_told = len(trial.params), len(trial.user_attrs), len(trial.intermediate_values)
    return trial._trial_id, trial.state, *num_told


def _content(trial: FrozenTrial) -> tuple[Any, ...]:
    """All that is projected of a trial; NaN equals itself by its text."""
    attributes = {name: value for name, value in trial.user_attrs.items() if name != RUN}
    notes = {name: value for name, value in trial.system_attrs.items() if not name.startswith(FILES)}
    parts = trial.state, trial.values, trial.datetime_start, trial.datetime_complete
    told = trial.params, trial.distributions, attributes, notes, trial.intermediate_values
    return repr(parts), *(repr(sorted(part.items())) for part in told)
