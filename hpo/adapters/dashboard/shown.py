"""A trial as people see it: the slot's number, the setting's own names, real values, choices as choices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.domain.campaign import Campaign, Outcome, TierPlan
from hpo.engine.objective import outcome_of
from hpo.engine.parameters import distributions
from hpo.engine.tiers import DUPLICATE_OF, RETRY_OF, SLOT, VALUES
from search_spaces import ChoiceDimension, Dimension, Space
from search_spaces.loading import parse_space

TIER, OPTUNA_TRIAL, RUN = "tier", "optuna_trial", "mlflow"
"""User attributes: the tier's name; where the search has it, `<study>#<trial>`; the address of its run."""

CONSTRAINTS = "constraints"
"""Beginning of the system attributes that say whether a configuration fits."""

_MACHINERY = {SLOT, VALUES, RETRY_OF, DUPLICATE_OF, "trial"}
"""User attributes that the search needs, or that the number says."""


def shown_trial(campaign: Campaign, tier: TierPlan, trial: FrozenTrial) -> FrozenTrial:
    """A trial of the tier's study as the campaign's study shows it. All dimensions that exist in it are its parameters,
    those too that its tier held. A pruned trial's value is its score, which Optuna takes to be its last epoch's."""
    kinds = _kinds(campaign)
    said = dict(trial.user_attrs)
    values = said.get(VALUES)
    settings = {} if values is None else _space_of(campaign).configuration(values)
    params = {name: _as_kept(kinds[name], value) for name, value in settings.items()}
    hidden = _MACHINERY | kinds.keys()  # positions were told by name; here the parameter itself is the value
    attributes = {name: value for name, value in said.items() if name not in hidden}
    is_failed = outcome_of(trial) is Outcome.FAILED  # also what did not fit, which samplers are told is pruned
    return FrozenTrial(
        number=said[SLOT],
        state=TrialState.FAIL if is_failed else trial.state,
        value=None,
        values=_pruned_score(campaign, trial) if trial.state is TrialState.PRUNED and not is_failed else trial.values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=params,
        distributions={name: kinds[name] for name in params},
        user_attrs={
            TIER: tier.name,
            OPTUNA_TRIAL: f"{tier.study_name(campaign.name)}#{trial.number}",
            **attributes,
        },
        system_attrs={key: value for key, value in trial.system_attrs.items() if key.startswith(CONSTRAINTS)},
        intermediate_values=trial.intermediate_values,
        trial_id=-1,
    )


def waiting_trial(campaign: Campaign, slot: int) -> FrozenTrial:
    """A slot that nobody began, although a later one was: it keeps the place."""
    return FrozenTrial(
        number=slot,
        state=TrialState.WAITING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={TIER: tier_of(campaign, slot).name},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


def _pruned_score(campaign: Campaign, trial: FrozenTrial) -> list[float] | None:
    objective = campaign.spec.objective
    told = trial.user_attrs.get(objective.scalar)
    if told is None:
        return None if trial.value is None else [trial.value]
    return [float(told) if objective.direction == "maximize" else -float(told)]


def tier_of(campaign: Campaign, slot: int) -> TierPlan:
    """The tier that a slot of the campaign belongs to."""
    last = 0
    for tier in campaign.spec.tiers:
        last += tier.num_slots
        if slot <= last:
            return tier
    raise ValueError(f"the campaign {campaign.name} has {last} slots, and none of the number {slot}")


def _as_kept(kind: BaseDistribution, value: Any) -> Any:
    """As Optuna gives it back: a real number is one, also where it was written as a whole one."""
    return kind.to_external_repr(kind.to_internal_repr(value))


def _kinds(campaign: Campaign) -> Mapping[str, BaseDistribution]:
    """Dimension -> its distribution over the full range."""
    return {dimension.name: _kind(dimension) for dimension in _space_of(campaign).dimensions}


def _space_of(campaign: Campaign) -> Space:
    stored = campaign.spec.config["space"]
    return _parsed(stored["yaml"], stored["name"])


@lru_cache(maxsize=8)
def _parsed(text: str, name: str) -> Space:
    return parse_space(text, name, f"the space '{name}'")


def _kind(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, ChoiceDimension):
        return CategoricalDistribution(dimension.choices)
    return distributions([dimension])[dimension.name]
