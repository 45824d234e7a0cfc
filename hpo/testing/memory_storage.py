"""Optuna's storage in memory as the engine uses it: the twin of `hpo.adapters.optuna.study_storage`."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from hpo.engine.study_cache import Given


class MemoryStorage(InMemoryStorage):
    """Optuna's own, and what `hpo.engine.study_cache.StudyCache` asks of the storage behind it."""

    def write_trial(self, trial_id: int, params: Given, user_attrs: Mapping[str, Any]) -> None:
        """See `hpo.engine.study_cache.Backend`."""
        with self._lock:
            self.check_trial_is_updatable(trial_id, self.get_trial(trial_id).state)
            for name, (value, distribution) in params.items():
                self.set_trial_param(trial_id, name, value, distribution)
            for name, attr in user_attrs.items():
                self.set_trial_user_attr(trial_id, name, attr)

    def set_trial_state_values(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None = None,
        user_attrs: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        """See `hpo.engine.study_cache.Backend`."""
        with self._lock:
            for name, attr in user_attrs.items():
                self.set_trial_user_attr(trial_id, name, attr)
            return super().set_trial_state_values(trial_id, state, values)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        return self.get_trial(self.create_new_trial(study_id, template_trial))

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return [
            trial
            for trial in self.get_all_trials(study_id, deepcopy=False, states=states)
            if trial._trial_id > trial_id_greater_than or trial._trial_id in included_trial_ids
        ]

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous: BaseDistribution | None,
    ) -> None:
        self.set_trial_param(trial_id, param_name, param_value_internal, distribution)
