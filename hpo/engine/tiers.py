"""The plan of a campaign's tiers and what is handed from one to the next: pure functions over finished trials.

A finished trial carries these user attributes: `slot`; `values`, all its dotted settings over every tier, less those
of dimensions that do not exist in it;
`num_parameters`; `trainer_seed`; and, if it was copied from an earlier tier, `copied_from` as `<study>#<trial>`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.domain.campaign import REFINEMENT, TierPlan
from hpo.domain.config import TierPolicy
from hpo.domain.errors import UsageError
from hpo.domain.failures import RETRIABLE
from hpo.engine.joint import RECORD
from hpo.engine.parameters import parameter_name, to_params
from search_spaces import ChoiceDimension, Dimension, Space, Value

SLOT, VALUES, NUM_PARAMETERS, COPIED_FROM = "slot", "values", "num_parameters", "copied_from"
"""Names of the user attributes that are read here."""

DUPLICATE_OF = "duplicate_of"
"""User attribute of a FAILED trial that was created by accident beside its slot's own: the number of that one."""

RETRY_OF = "retry_of"
"""User attribute of a trial that a slot was given after a failure: the number of the FAILED one, given up for it."""

KEPT = ("completed_rung_", RECORD)
"""Beginnings of the system attributes that a copy keeps: what Optuna's successive halving and hyperband compare by, and
what the joint sampler starts from."""

MEMORY = "memory"
"""The constraint of trials that were not started, as they would not have fitted; no other trial has it."""

RESULTS = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of trials that say something about their configuration's score."""


def plan_tiers(num_trials: int, tier_names: Sequence[str], policy: TierPolicy) -> tuple[TierPlan, ...]:
    """How a budget is spread: by the largest remainder, the refinement last.

    The first tier needs two slots, as its first trial is the default configuration; any other needs one. A budget
    too small for all leaves the later ones with none. A space with fewer tiers than the policy has shares uses the
    first ones; with more, the last share serves for the rest. Without a refinement_fraction there is no refinement.
    A budget that is raised later goes to the last tier.
    """
    shares = [*policy.shares, *[policy.shares[-1]] * len(tier_names)][: len(tier_names)]
    weights = [share / sum(shares) * (1 - policy.refinement_fraction) for share in shares]
    names = list(tier_names)
    if policy.refinement_fraction > 0:
        names.append(REFINEMENT)
        weights.append(policy.refinement_fraction)
    needs = [2, *[1] * (len(names) - 1)]
    slots = _largest_remainder(num_trials, weights) if num_trials >= sum(needs) else _first_come(num_trials, needs)
    while num_trials >= sum(needs) and any(slot < need for slot, need in zip(slots, needs, strict=True)):
        spare = [slot - need for slot, need in zip(slots, needs, strict=True)]
        slots[spare.index(max(spare))] -= 1
        slots[spare.index(min(spare))] += 1
    return tuple(TierPlan(n, name, count) for n, (name, count) in enumerate(zip(names, slots, strict=True), start=1))


def dimensions_of(space: Space, tier_name: str) -> tuple[Dimension, ...]:
    """What a tier tunes: its own dimensions, or all of them in the refinement."""
    return next((tier.dimensions for tier in space.tiers if tier.name == tier_name), space.dimensions)


def existing(dimensions: Sequence[Dimension], held: Mapping[str, Value]) -> tuple[Dimension, ...]:
    """Those of a tier's dimensions that can exist in it, while whatever it does not vary is held."""
    found: dict[str, Dimension] = {}
    for dimension in dimensions:
        fixed = [each for each in dimension.when if each.parent not in found]
        if all(each.parent in held and each.holds(held[each.parent]) for each in fixed):
            found[dimension.name] = dimension
    return tuple(found.values())


def check_strict(space: Space) -> None:
    """Refuse a space of which some tier would have nothing to tune while the choices of earlier ones are held.

    Raises:
        UsageError: naming the tier, and the choices under which that is so.
    """
    for tier in space.tiers:
        outside = {
            name: values
            for dimension in tier.dimensions
            for name, values in _parents_outside(space, tier.dimensions, dimension).items()
        }
        for values in itertools.product(*outside.values()):
            held = space.configuration(dict(zip(outside, values, strict=True)))
            if not existing(tier.dimensions, held):
                where = " and ".join(f"{name} is {held[name]}" for name in outside if name in held)
                raise UsageError(
                    f"space '{space.name}': with tiers.mode=strict the tier '{tier.name}' would have nothing to tune "
                    f"where {where}; give it a dimension that exists there, or choose the mode joint or cumulative."
                )


def _parents_outside(space: Space, own: Sequence[Dimension], dimension: Dimension) -> dict[str, tuple[Value, ...]]:
    """The choices of other tiers that a dimension's conditions name, with all their values."""
    choices = {each.name: each.choices for each in space.dimensions if isinstance(each, ChoiceDimension)}
    named = {name for branch in space.branches(dimension) for name in branch}
    return {name: choices[name] for name in named - {each.name for each in own}}


def incumbent_copy(
    trial: FrozenTrial, study_name: str, dimensions: Sequence[Dimension], within: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    """A finished trial as another tier's study is given it: the same result under that tier's parameters.

    study_name: where trial lies. dimensions, within: what the receiving study tunes, with its distributions. The copy
    is marked by `copied_from`, the place where it ran (a copy of a copy names the original), and does not count.

    Raises:
        ValueError: a value outside within.
    """
    params = _params_of(trial, dimensions)
    attributes = {name: value for name, value in trial.user_attrs.items() if name != RETRY_OF}
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=params,
        distributions={name: within[name] for name in params},
        user_attrs={**attributes, COPIED_FROM: source_of(trial, study_name)},
        system_attrs={key: value for key, value in trial.system_attrs.items() if key.startswith(KEPT)},
        constraints=trial.constraints or None,
        intermediate_values=trial.intermediate_values,
    )


def earlier_results(
    earlier: Iterable[tuple[str, FrozenTrial]],
    dimensions: Sequence[Dimension],
    within: Mapping[str, BaseDistribution],
    failures: bool = False,
) -> tuple[FrozenTrial, ...]:
    """What a tier knows before its first trial: every earlier trial that lies inside its ranges, each once, by slot.

    earlier: (study name, trial) over all tiers. Complete and pruned trials are copied, and those that were refused
    because they do not fit. failures: and those that failed
    through their configuration.
    """
    copies: dict[int, FrozenTrial] = {}
    for study_name, trial in earlier:
        is_scored = trial.state in RESULTS and (trial.value is not None or trial.constraints)
        is_failure = failures and trial.state is TrialState.FAIL and is_result(trial)
        if not (is_scored or is_failure) or {COPIED_FROM, DUPLICATE_OF} & trial.user_attrs.keys():
            continue
        if _lies_within(trial, dimensions, within):
            copies[trial.user_attrs[SLOT]] = incumbent_copy(trial, study_name, dimensions, within)
    return tuple(copies[slot] for slot in sorted(copies))


def source_of(trial: FrozenTrial, study_name: str) -> str:
    """`<study>#<trial>` where a trial of that study really ran."""
    return str(trial.user_attrs.get(COPIED_FROM, f"{study_name}#{trial.number}"))


def _lies_within(trial: FrozenTrial, dimensions: Sequence[Dimension], within: Mapping[str, BaseDistribution]) -> bool:
    params = _params_of(trial, dimensions).items()
    return all(within[name]._contains(within[name].to_internal_repr(value)) for name, value in params)


def _params_of(trial: FrozenTrial, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """A finished trial's parameters under these dimensions."""
    defaults = {dimension.name: dimension.default for dimension in dimensions if not dimension.when}
    return to_params(dimensions, {**defaults, **trial.user_attrs[VALUES]})


def is_result(trial: FrozenTrial) -> bool:
    """Whether a trial says, or will say, something about its configuration: failures through the code or the machine do
    not, and neither do duplicates."""
    if trial.state is TrialState.FAIL:
        reason = str(trial.user_attrs.get("reason") or RETRIABLE[0])
        return DUPLICATE_OF not in trial.user_attrs and reason.partition(":")[0] not in RETRIABLE
    return True


def is_unfit(trial: FrozenTrial) -> bool:
    """Whether a trial was not started, because it needs more memory than there is."""
    is_limited = MEMORY in (trial.constraints or {})  # by a metric of that name, too, once it was trained
    return trial.state is TrialState.PRUNED and is_limited and not trial.intermediate_values


def retried(trials: Iterable[FrozenTrial]) -> set[int]:
    """Numbers of a study's trials that failed and were given up for another of the same slot."""
    own = (trial.user_attrs for trial in trials if COPIED_FROM not in trial.user_attrs)
    return {attributes[RETRY_OF] for attributes in own if RETRY_OF in attributes}


def note(
    tier: TierPlan,
    dimensions: Sequence[Dimension],
    within: Mapping[str, BaseDistribution],
    held: Mapping[str, Value],
    objective: str,
) -> str:
    """Markdown for whoever opens the study in a dashboard without knowing the campaign.

    dimensions, within: what the tier tunes, with the distributions in force; held: what it holds.
    """
    lines = [f"# Tier {tier.number}: {tier.name}", "", f"Maximises {objective} on the validation data.", "", "Tunes"]
    lines += [f"- `{parameter_name(d)}`: {_range(d, within[parameter_name(d)])}{_where(d)}" for d in dimensions]
    tuned = {d.name for d in dimensions}
    held_lines = [f"- `{name}` = {value}" for name, value in sorted(held.items()) if name not in tuned]
    lines += ["", "Holds", *held_lines] if held_lines else []
    lines += [
        "",
        f"The best complete trial is handed to the next tier. A trial with `{COPIED_FROM}` ran in an earlier tier: it "
        "is here to be learned from, and counts against no budget. A pruned trial was clearly behind and was stopped.",
    ]
    return "\n".join(lines)


def _where(dimension: Dimension) -> str:
    return f", where {dimension.shown_when}" if dimension.when else ""


def _range(dimension: Dimension, distribution: Any) -> str:
    if isinstance(dimension, ChoiceDimension):
        if not dimension.ordered:
            return ", ".join(str(choice) for choice in dimension.choices)
        positions = range(distribution.low, distribution.high + 1)
        return "position of " + ", ".join(f"{n} = {dimension.choices[n]}" for n in positions)
    log = ", logarithmic" if distribution.log else ""
    return f"{distribution.low:g} to {distribution.high:g}{log}"


def _largest_remainder(total: int, weights: Sequence[float]) -> list[int]:
    quotas = [total * weight for weight in weights]
    slots = [math.floor(quota + 1e-9) for quota in quotas]
    by_remainder = sorted(range(len(slots)), key=lambda n: (slots[n] - quotas[n], n))
    for n in by_remainder[: total - sum(slots)]:
        slots[n] += 1
    return slots


def _first_come(total: int, needs: Sequence[int]) -> list[int]:
    """What each tier needs while it lasts."""
    slots = []
    for need in needs:
        slots.append(min(need, total))
        total -= slots[-1]
    return slots
