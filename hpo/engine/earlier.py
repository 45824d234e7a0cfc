"""What a campaign remembers of an earlier one: plain JSON that is frozen with it, and trials for the joint sampler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.engine.joint import RECORD
from hpo.engine.parameters import to_params
from hpo.engine.tiers import COPIED_FROM, DUPLICATE_OF, RESULTS, VALUES
from search_spaces import Dimension

EARLIER = "earlier"
"""Where a campaign's frozen configuration holds it."""
MOST = 300
"""Trials that are remembered, the newest: as many as the model looks at."""


def memory_of(trials: Iterable[FrozenTrial]) -> list[dict[str, Any]]:
    """Finished trials of a campaign's studies, copies and duplicates apart: values, curve, state and score of each, and
    where the model stood, from which the next fit starts."""
    found = [
        {
            "values": dict(trial.user_attrs[VALUES]),
            "curve": sorted(trial.intermediate_values.items()),
            "state": trial.state.name,
            "score": trial.value,
            "fit": trial.system_attrs.get(RECORD),
        }
        for trial in trials
        if trial.state in RESULTS
        and trial.value is not None
        and VALUES in trial.user_attrs
        and not {COPIED_FROM, DUPLICATE_OF} & trial.user_attrs.keys()
    ]
    return found[-MOST:]


def remembered(
    memory: Sequence[Mapping[str, Any]], dimensions: Sequence[Dimension], within: Mapping[str, BaseDistribution]
) -> tuple[FrozenTrial, ...]:
    """Those trials under the parameters of a study, as far as they had them and lie in its ranges."""
    found = []
    for each in memory:
        params = _params(each["values"], dimensions, within)
        if params:
            found.append(
                create_trial(
                    state=TrialState[each["state"]],
                    value=each["score"],
                    params=params,
                    distributions={name: within[name] for name in params},
                    intermediate_values={int(epoch): score for epoch, score in each["curve"]},
                    system_attrs={} if each["fit"] is None else {RECORD: each["fit"]},
                )
            )
    return tuple(found)


def _params(
    values: Mapping[str, Any], dimensions: Sequence[Dimension], within: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for dimension in dimensions:
        parents = [each for each in dimension.when if each.parent in values]
        if dimension.name not in values or not all(each.holds(values[each.parent]) for each in parents):
            continue
        try:
            ((name, value),) = to_params([dimension], values).items()
            if within[name]._contains(within[name].to_internal_repr(value)):
                params[name] = value
        except (ValueError, TypeError):
            continue  # a choice that is none here
    return params
