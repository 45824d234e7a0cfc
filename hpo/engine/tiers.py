"""The plan of a campaign's tiers and what is handed from one to the next: pure functions over finished trials.

A finished trial carries these user attributes: `slot`; `values`, all its dotted settings over every tier;
`num_parameters`; `trainer_seed`; and, if it was copied from an earlier tier, `copied_from` as `<study>#<trial>`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.domain.campaign import REFINEMENT, TierPlan
from hpo.domain.config import TierPolicy
from hpo.engine.parameters import INDEX_SUFFIX, parameter_name, to_params
from search_spaces import ChoiceDimension, Dimension, Space, Value

SLOT, VALUES, NUM_PARAMETERS, COPIED_FROM = "slot", "values", "num_parameters", "copied_from"
"""Names of the user attributes that are read here."""

DUPLICATE_OF = "duplicate_of"
"""User attribute of a FAILED trial that was created by accident beside its slot's own: the number of that one."""

TIE = 1e-4
"""Scores this close are a tie: far less than a year of validation can tell apart."""

MIN_TRIALS_FOR_IMPORTANCE = 8
"""PED-ANOVA compares the best quarter with the rest; with fewer trials that quarter is one trial."""

RUNG = "completed_rung_"
"""Under such system attributes Optuna's successive halving and hyperband keep what a trial is compared by."""

RESULTS = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of trials that say something about their configuration."""


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


def decide(
    plan: TierPlan, study_name: str, trials: Sequence[FrozenTrial], held: Mapping[str, Value], score_epochs: int
) -> dict[str, Any]:
    """What a finished tier hands on, as plain JSON.

    trials: all of the tier's study, the copied incumbent included; it competes with its own result, so that a tier
    that does not beat it keeps it. held: the values that stand where there is no complete trial, of this tier or any
    before: the defaults. score_epochs: epochs that are averaged into a score.

    The best complete trial wins. Scores within TIE go to the model with fewer parameters, then to the lower slot.

    Returns:
        tier, tier_name; values: dotted setting -> value over all tiers so far; score; slot; trial_number in this
        study; source: `<study>#<trial>` where the trial ran (these four None without any complete trial);
        kept_incumbent; runner_up {slot, score, values} and margin, its distance, None if there is none; noise: the
        standard error of a score through the noise of epochs alone, None if unknown; importances: setting -> share,
        {} with fewer than MIN_TRIALS_FOR_IMPORTANCE; num_trials: state -> number, copies apart; reason: sentences.
    """
    ranked = _ranked(trials)
    best = ranked[0] if ranked else None
    second = ranked[1] if len(ranked) > 1 else None
    noise = score_noise([candidate.trial for candidate in ranked], score_epochs)
    return {
        "tier": plan.number,
        "tier_name": plan.name,
        "values": dict(best.values if best else held),
        "score": best.score if best else None,
        "slot": best.slot if best else None,
        "trial_number": best.trial.number if best else None,
        "source": _source(best.trial, study_name) if best else None,
        "kept_incumbent": best is None or best.is_copy,
        "runner_up": {"slot": second.slot, "score": second.score, "values": second.values} if second else None,
        "margin": best.score - second.score if best and second else None,
        "noise": noise,
        "importances": importances(trials),
        "num_trials": _counts(trials),
        "reason": _reason(plan, ranked, noise, trials),
    }


def incumbent_copy(
    trial: FrozenTrial, study_name: str, dimensions: Sequence[Dimension], within: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    """A finished trial as another tier's study is given it: the same result under that tier's parameters.

    study_name: where trial lies. dimensions, within: what the receiving study tunes, with its distributions. The copy
    is marked by `copied_from`, the place where it ran (a copy of a copy names the original), and does not count.

    Raises:
        ValueError: a value outside within.
    """
    values = trial.user_attrs[VALUES]
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=to_params(dimensions, {d.name: values.get(d.name, d.default) for d in dimensions}),
        distributions=dict(within),
        user_attrs={**trial.user_attrs, COPIED_FROM: _source(trial, study_name)},
        system_attrs={key: value for key, value in trial.system_attrs.items() if key.startswith(RUNG)},
        constraints=trial.constraints or None,
        intermediate_values=trial.intermediate_values,
    )


def refinement_seeds(
    earlier: Iterable[tuple[str, FrozenTrial]], space: Space, within: Mapping[str, BaseDistribution]
) -> tuple[FrozenTrial, ...]:
    """What the refinement knows before its first trial: every earlier trial that lies inside its ranges.

    earlier: (study name, trial) over all tiers. Complete and pruned trials are copied, each once, by slot, and those
    that were refused because they do not fit.
    """
    seeds: dict[int, FrozenTrial] = {}
    for study_name, trial in earlier:
        is_result = trial.state in RESULTS and (trial.value is not None or trial.constraints)
        if not is_result or COPIED_FROM in trial.user_attrs or not _lies_within(trial, space.dimensions, within):
            continue
        seeds[trial.user_attrs[SLOT]] = incumbent_copy(trial, study_name, space.dimensions, within)
    return tuple(seeds[slot] for slot in sorted(seeds))


def importances(trials: Iterable[FrozenTrial]) -> dict[str, float]:
    """Setting -> its share of what separates the best quarter of trials from the rest, largest first, summing to 1.

    PED-ANOVA (Watanabe et al., IJCAI 2023) over complete and pruned trials, the latter with the score at which they
    were ended; {} with fewer than MIN_TRIALS_FOR_IMPORTANCE.
    """
    results = [
        create_trial(value=trial.value, params=trial.params, distributions=trial.distributions)
        for trial in trials
        if trial.state in RESULTS and trial.value is not None
    ]
    if len(results) < MIN_TRIALS_FOR_IMPORTANCE:
        return {}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(results)
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=0.25))
    return {name.removesuffix(INDEX_SUFFIX): share for name, share in shares.items()}


def score_noise(trials: Iterable[FrozenTrial], score_epochs: int) -> float | None:
    """Standard error of a score through the noise of epochs alone (not of seeds or days), None with too few epochs.

    From the differences of neighbouring epochs in the second half of each curve, where little is left to learn: their
    root mean square is sqrt(2) times the noise of one epoch, and a score is a mean over score_epochs of them.
    """
    steps: list[float] = []
    for trial in trials:
        curve = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
        late = curve[len(curve) // 2 :]
        steps += [after - before for before, after in pairwise(late)]
    if len(steps) < 3:
        return None
    return math.sqrt(statistics.fmean(step * step for step in steps) / 2 / score_epochs)


@dataclass(frozen=True)
class _Candidate:
    """A complete trial as the decision ranks it."""

    trial: FrozenTrial
    score: float
    slot: int
    values: Mapping[str, Value]

    @property
    def is_copy(self) -> bool:
        return COPIED_FROM in self.trial.user_attrs


def _ranked(trials: Iterable[FrozenTrial]) -> list[_Candidate]:
    """Complete trials, best first; those within TIE of the best by size and slot."""
    found = [
        _Candidate(t, t.value, t.user_attrs[SLOT], dict(t.user_attrs[VALUES]))
        for t in trials
        if t.state is TrialState.COMPLETE and t.value is not None
    ]
    found.sort(key=lambda c: (-c.score, c.slot))
    tied = [c for c in found if c.score >= found[0].score - TIE]
    tied.sort(key=lambda c: (c.trial.user_attrs.get(NUM_PARAMETERS, math.inf), -c.score, c.slot))
    return tied + found[len(tied) :]


def _source(trial: FrozenTrial, study_name: str) -> str:
    return str(trial.user_attrs.get(COPIED_FROM, f"{study_name}#{trial.number}"))


def _lies_within(trial: FrozenTrial, dimensions: Sequence[Dimension], within: Mapping[str, BaseDistribution]) -> bool:
    values = trial.user_attrs[VALUES]
    params = to_params(dimensions, {d.name: values.get(d.name, d.default) for d in dimensions})
    return all(within[name]._contains(within[name].to_internal_repr(value)) for name, value in params.items())


def _counts(trials: Iterable[FrozenTrial]) -> dict[str, int]:
    counts = {"complete": 0, "pruned": 0, "failed": 0, "copied": 0}
    words = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    for trial in trials:
        word = "copied" if COPIED_FROM in trial.user_attrs else words.get(trial.state)
        if word == "pruned" and trial.constraints:  # it did not fit, and was never started
            word = "failed"
        if word is not None and DUPLICATE_OF not in trial.user_attrs:
            counts[word] += 1
    return counts


def _reason(plan: TierPlan, ranked: Sequence[_Candidate], noise: float | None, trials: Sequence[FrozenTrial]) -> str:
    counts = _counts(trials)
    own = counts["complete"] + counts["pruned"] + counts["failed"]
    tally = f"{own} trials: {counts['complete']} complete, {counts['pruned']} pruned, {counts['failed']} failed."
    if not own:
        tally = f"The budget left no trial for the tier {plan.name}."
    if not ranked:
        return f"{tally} No trial is complete, so the defaults stand."
    best = ranked[0]
    shown = f"slot {best.slot} with {best.score:.5f}"
    verdict = f"The best is {shown}."
    if best.is_copy:
        verdict = f"None beat the incumbent, {shown}, which is kept." if own else f"The incumbent, {shown}, is kept."
    if len(ranked) == 1:
        return f"{tally} {verdict}"
    second = ranked[1]
    margin = best.score - second.score
    if margin < TIE:
        return f"{tally} {verdict} Slot {second.slot} ties with it; the smaller model, then the earlier slot, wins."
    distance = f"Slot {second.slot} follows {margin:.5f} behind"
    if noise is None:
        return f"{tally} {verdict} {distance}."
    sides = "more" if margin > 2 * math.sqrt(2) * noise else "no more"
    return f"{tally} {verdict} {distance}, {sides} than the noise of epochs explains (standard error {noise:.5f})."


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
    lines = [f"# Tier {tier.number}: {tier.name}", "", f"Maximises `{objective}` on the validation days.", "", "Tunes"]
    lines += [f"- `{parameter_name(d)}`: {_range(d, within[parameter_name(d)])}" for d in dimensions]
    tuned = {d.name for d in dimensions}
    held_lines = [f"- `{name}` = {value}" for name, value in sorted(held.items()) if name not in tuned]
    lines += ["", "Holds", *held_lines] if held_lines else []
    lines += [
        "",
        "The best complete trial is handed to the next tier; scores within "
        f"{TIE:g} of it go to the model with fewer parameters. A trial with `{COPIED_FROM}` ran in an earlier tier: it "
        "is here to be beaten, and counts against no budget. A pruned trial was clearly behind and was stopped.",
    ]
    return "\n".join(lines)


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
