"""What a finished tier decides, from its trials alone, and why: pure functions."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.domain.campaign import TierPlan
from hpo.engine.joint import REQUIRED, Choice
from hpo.engine.joint.observations import is_feasible
from hpo.engine.parameters import INDEX_SUFFIX
from hpo.engine.tiers import (
    COPIED_FROM,
    DUPLICATE_OF,
    NUM_PARAMETERS,
    RESULTS,
    SLOT,
    VALUES,
    is_result,
    is_unfit,
    retried,
    source_of,
)
from search_spaces import Value

TIE = 1e-4
"""Scores this close are a tie: far less than a year of validation can tell apart."""

MIN_TRIALS_FOR_IMPORTANCE = 8
"""PED-ANOVA compares the best quarter with the rest; with fewer trials that quarter is one trial."""


def decide(
    plan: TierPlan,
    study_name: str,
    trials: Sequence[FrozenTrial],
    held: Mapping[str, Value],
    score_epochs: int,
    choice: Choice | None = None,
) -> dict[str, Any]:
    """What a finished tier hands on, as plain JSON.

    trials: all of the tier's study, the copied incumbent included; it competes with its own result, so that a tier
    that does not beat it keeps it. held: the values that stand where there is no complete trial, of this tier or any
    before: the defaults. score_epochs: epochs that are averaged into a score.
    choice: what the joint model makes of those trials that are results (`tiers.is_result`); None where it was not
    asked, or none is complete.

    With a choice, its first wins. Without, the best complete trial does; scores within TIE of it go to the model with
    fewer parameters, then to the lower slot.

    Returns:
        tier, tier_name; values: dotted setting -> value over all tiers so far; score; slot; trial_number in this
        study; source: `<study>#<trial>` where the trial ran (these four None without any complete trial);
        kept_incumbent; runner_up {slot, score, values} and margin, the distance of its score (with a choice, of its
        posterior mean), None if there is none; lead: of the best challenger over the default configuration, {slot,
        gain, error, probability, proven} (see `joint.choice.Lead`), None where the two were not compared; noise: the
        standard error of a score through the noise of epochs alone, None if unknown; importances: setting -> share,
        {} with fewer than MIN_TRIALS_FOR_IMPORTANCE; num_trials: state -> number, copies apart; reason: sentences.
    """
    results = [trial for trial in trials if is_result(trial)]
    ranked = _ranked(trials) if choice is None else [_Candidate.of(results[n], m) for n, m in choice.ranking]
    best = ranked[0] if ranked else None
    second = ranked[1] if len(ranked) > 1 else None
    noise = score_noise([candidate.trial for candidate in ranked], score_epochs)
    return {
        "tier": plan.number,
        "tier_name": plan.name,
        "values": dict(best.values if best else held),
        "score": best.score if best else None,
        "slot": best.slot if best else None,
        "trial_number": best.trial.number if best and best.trial.number >= 0 else None,
        "source": source_of(best.trial, study_name) if best else None,
        "kept_incumbent": best is None or best.is_copy,
        "runner_up": {"slot": second.slot, "score": second.score, "values": second.values} if second else None,
        "margin": best.merit - second.merit if best and second else None,
        "lead": _lead(results, choice),
        "noise": noise,
        "importances": importances(trials),
        "num_trials": _counts(trials),
        "reason": _reason(plan, ranked, noise, trials)
        if choice is None
        else _chosen(_tally(trials), ranked, results, choice),
    }


def importances(trials: Iterable[FrozenTrial]) -> dict[str, float]:
    """Setting -> its share of what separates the best quarter of trials from the rest, largest first, summing to 1.

    PED-ANOVA (Watanabe et al., IJCAI 2023) over complete and pruned trials, the latter with the score at which they
    were ended; {} with fewer than MIN_TRIALS_FOR_IMPORTANCE. A setting that not every trial has separates among those
    that have it, and counts by their share.
    """
    results = [
        create_trial(value=trial.value, params=trial.params, distributions=trial.distributions)
        for trial in trials
        if trial.state in RESULTS and trial.value is not None
    ]
    if len(results) < MIN_TRIALS_FOR_IMPORTANCE:
        return {}
    # Imported here: it brings scikit-learn along, half of what a worker would load before its first trial.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # that there is a study to compute with is nobody's news
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(results)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some regimes", UserWarning)  # a setting that a single trial has, or lacks
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
    """A complete trial as the decision ranks it. merit: what it is ranked by."""

    trial: FrozenTrial
    score: float
    merit: float
    slot: int
    values: Mapping[str, Value]

    @classmethod
    def of(cls, trial: FrozenTrial, merit: float | None = None) -> _Candidate:
        score = trial.value
        assert score is not None, "a complete trial has a score"
        attrs = trial.user_attrs
        return cls(trial, score, score if merit is None else merit, attrs[SLOT], dict(attrs[VALUES]))

    @property
    def is_copy(self) -> bool:
        return COPIED_FROM in self.trial.user_attrs


def _ranked(trials: Iterable[FrozenTrial]) -> list[_Candidate]:
    """Complete trials that keep the constraints, best first; those within TIE of the best by size and slot."""
    complete = (t for t in trials if t.state is TrialState.COMPLETE and t.value is not None)
    found = [_Candidate.of(trial) for trial in complete if is_feasible(trial)]
    found.sort(key=lambda c: (-c.score, c.slot))
    tied = [c for c in found if c.score >= found[0].score - TIE]
    tied.sort(key=lambda c: (c.trial.user_attrs.get(NUM_PARAMETERS, math.inf), -c.score, c.slot))
    return tied + found[len(tied) :]


def _counts(trials: Iterable[FrozenTrial]) -> dict[str, int]:
    trials = list(trials)
    given_up = retried(trials)
    counts = {"complete": 0, "pruned": 0, "failed": 0, "copied": 0}
    words = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    for trial in trials:
        word = "copied" if COPIED_FROM in trial.user_attrs else words.get(trial.state)
        if is_unfit(trial):
            word = "failed"
        if word is not None and DUPLICATE_OF not in trial.user_attrs and trial.number not in given_up:
            counts[word] += 1
    return counts


def _tally(trials: Iterable[FrozenTrial]) -> str:
    counts = _counts(trials)
    own = counts["complete"] + counts["pruned"] + counts["failed"]
    return f"{own} trials: {counts['complete']} complete, {counts['pruned']} pruned, {counts['failed']} failed."


def _lead(trials: Sequence[FrozenTrial], choice: Choice | None) -> dict[str, Any] | None:
    if choice is None or choice.lead is None:
        return None
    lead = choice.lead
    slot = trials[lead.challenger].user_attrs[SLOT]
    return {
        "slot": slot,
        "gain": lead.gain,
        "error": lead.error,
        "probability": lead.probability,
        "proven": lead.is_proven,
    }


def _chosen(tally: str, ranked: Sequence[_Candidate], results: Sequence[FrozenTrial], choice: Choice) -> str:
    best = ranked[0]
    measured = f"trial {best.slot}, which scored {best.score:.5f} and is expected at {best.merit:.5f}"
    lead = choice.lead
    if lead is None:
        return f"{tally} The best by the model of all epochs of all trials is {measured}."
    gain = f"{lead.gain:+.5f} ± {lead.error:.5f}"
    if lead.is_proven:
        return (
            f"{tally} The best by the model of all epochs of all trials is {measured}. It is better than the "
            f"default configuration by {gain}, with probability {lead.probability:.2f} after selection."
        )
    slot = results[lead.challenger].user_attrs[SLOT]
    return (
        f"{tally} The default configuration is kept: {measured}. The best challenger, trial {slot}, is better "
        f"by {gain}, with probability {lead.probability:.2f} after selection where {REQUIRED} are required."
    )


def _reason(plan: TierPlan, ranked: Sequence[_Candidate], noise: float | None, trials: Sequence[FrozenTrial]) -> str:
    tally = _tally(trials)
    own = not tally.startswith("0")
    if not own:
        tally = f"The budget left no trial for the tier {plan.name}."
    if not ranked:
        is_any = any(trial.state is TrialState.COMPLETE for trial in trials)
        nothing = "No complete trial keeps the constraints" if is_any else "No trial is complete"
        return f"{tally} {nothing}, so the defaults stand."
    best = ranked[0]
    shown = f"trial {best.slot} with {best.score:.5f}"
    verdict = f"The best is {shown}."
    if best.is_copy:
        verdict = f"None beat the incumbent, {shown}, which is kept." if own else f"The incumbent, {shown}, is kept."
    if len(ranked) == 1:
        return f"{tally} {verdict}"
    second = ranked[1]
    margin = best.score - second.score
    if margin < TIE:
        return f"{tally} {verdict} Trial {second.slot} ties with it; the smaller model, then the earlier trial, wins."
    distance = f"Trial {second.slot} follows {margin:.5f} behind"
    if noise is None:
        return f"{tally} {verdict} {distance}."
    sides = "more" if margin > 2 * math.sqrt(2) * noise else "no more"
    return f"{tally} {verdict} {distance}, {sides} than the noise of epochs explains (standard error {noise:.5f})."
