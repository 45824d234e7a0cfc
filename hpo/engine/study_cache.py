"""Optuna's storage as one worker uses it: what is finished is read once, what belongs together is written at once."""

from __future__ import annotations

import copy
from bisect import insort
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol, cast

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

Given = Mapping[str, tuple[float, BaseDistribution]]
"""Parameter -> its value as Optuna stores it, and its distribution."""

_number = attrgetter("number")


def _rank(trial: FrozenTrial) -> tuple[float, int]:
    """Of equals the first, whichever this process heard of first."""
    return cast("float", trial.value), -trial.number


class Backend(Protocol):
    """What the storage behind the cache does beyond Optuna's interface."""

    def write_trial(self, trial_id: int, params: Given, user_attrs: Mapping[str, Any]) -> None:
        """Give a running trial parameters and user attributes in one transaction.
        Raises UpdateFinishedTrialError if it is not running."""
        ...

    def set_trial_state_values(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None,
        user_attrs: Mapping[str, Any],
    ) -> bool:
        """Optuna's, with user attributes in the same transaction."""
        ...


@dataclass(frozen=True)
class _Gathered:
    """What a trial was given and the store has not been told yet."""

    trial_id: int | None = None
    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)


class StudyCache(_CachedStorage):
    """Optuna's own cache of finished trials, and three things besides.

    Asking for the trials of some states costs no more than copying the answer, so that a verdict stays as quick in a
    study of ten thousand; the best trial is known without asking the database; and inside `together` what a trial is
    given is gathered. For one thread.
    """

    def __init__(self, backend: BaseStorage) -> None:
        super().__init__(cast("Any", backend))
        self._behind = cast("Backend", backend)
        self._ids: dict[str, int] = {}
        self._finished: dict[tuple[int, TrialState], list[FrozenTrial]] = {}
        self._highest: dict[int, FrozenTrial] = {}
        self._gathered = _Gathered()

    @contextmanager
    def together(self, trial_id: int) -> Iterator[None]:
        """The parameters and user attributes that the trial is given inside reach the store in one transaction: when
        it is told there, or at the end. After an error none of them does."""
        self._gathered = gathered = _Gathered(trial_id)
        try:
            yield
        finally:
            self._gathered = _Gathered()
        if gathered.params or gathered.user_attrs:
            self._behind.write_trial(trial_id, gathered.params, gathered.user_attrs)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        if trial_id == self._gathered.trial_id:
            self._gathered.params[param_name] = param_value_internal, distribution
        else:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id == self._gathered.trial_id:
            self._gathered.user_attrs[key] = value
        else:
            super().set_trial_user_attr(trial_id, key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if trial_id != self._gathered.trial_id:
            return super().set_trial_state_values(trial_id, state, values)
        done = self._behind.set_trial_state_values(trial_id, state, values, self._gathered.user_attrs)
        self._gathered.user_attrs.clear()
        return done

    def get_study_id_from_name(self, study_name: str) -> int:
        if study_name not in self._ids:
            self._ids[study_name] = super().get_study_id_from_name(study_name)
        return self._ids[study_name]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self._read_trials_from_remote_storage(study_id)
        study = self._studies[study_id]
        running = [study.trials[self._trial_id_to_study_id_and_number[key][1]] for key in study.unfinished_trial_ids]
        parts = [[trial for trial in running if states is None or trial.state in states]]
        parts += [self._finished.get((study_id, state), []) for state in FINISHED if states is None or state in states]
        found = [trial for part in parts for trial in part]
        if sum(map(bool, parts)) > 1 or parts[0]:
            found.sort(key=_number)
        return copy.deepcopy(found) if deepcopy else found

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        if self.get_study_directions(study_id) != [StudyDirection.MAXIMIZE]:
            return super().get_best_trial(study_id)
        self._read_trials_from_remote_storage(study_id)
        if study_id not in self._highest:
            raise ValueError("No trials are completed yet.")
        return self._highest[study_id]

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        known = self._studies[study_id].trials
        for trial in trials:
            if not trial.state.is_finished() or (trial.number in known and known[trial.number].state.is_finished()):
                continue
            insort(self._finished.setdefault((study_id, trial.state), []), trial, key=_number)
            if trial.state is TrialState.COMPLETE:
                self._highest[study_id] = max(self._highest.get(study_id, trial), trial, key=_rank)
        super()._add_trials_to_cache(study_id, trials)
