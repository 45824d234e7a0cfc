"""The numbers behind a report: statistics applied to a campaign's evidence, once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.domain.campaign import Outcome
from hpo.domain.metric import Metric
from hpo.report.evidence import CampaignEvidence, TrialEvidence
from hpo.report.statistics.deflation import DeflatedScore, deflated_score
from hpo.report.statistics.intervals import LEVEL, Interval, mean_interval, paired_interval, simultaneous_interval
from hpo.report.statistics.overfitting import Overfitting, backtest_overfitting
from hpo.report.statistics.shrinkage import Shrinkage, shrinkage
from hpo.report.verdict import Finding, Rival, Verdict, judge

NUM_LEADERS = 10
"""Leaders whose holdout scores are compared with their validation scores."""


@dataclass(frozen=True)
class Leader:
    """One of the best trials by validation score, with its holdout mean."""

    slot: int
    validation: float
    holdout: float


@dataclass(frozen=True)
class Findings:
    """What the evidence says about the champion and about luck. Intervals are of mean daily `metric`.

    validation: on the days that chose the champion, as if it had been the only one: too good by construction.
    validation_adjusted: the same, adjusted for selection. holdout: of what is deployed, the committee where there
    is one. gain_*: the same minus default on the same days (on validation of the single champion). rivals: default,
    contenders and the single champion beside a committee, best first.
    ceiling, share_of_ceiling: mean holdout score of the planted market's own expectation, and the champion's share.
    """

    metric: Metric
    verdict: Verdict
    num_tried: int
    champion: TrialEvidence | None = None
    default: TrialEvidence | None = None
    validation: Interval | None = None
    validation_adjusted: Interval | None = None
    holdout: Interval | None = None
    default_holdout: Interval | None = None
    gain_validation: Interval | None = None
    gain_holdout: Interval | None = None
    deflated: DeflatedScore | None = None
    overfitting: Overfitting | None = None
    leaders: tuple[Leader, ...] = ()
    shrinkage: Shrinkage | None = None
    ceiling: float | None = None
    share_of_ceiling: float | None = None
    deployed: str = "the champion"
    rivals: tuple[Rival, ...] = ()


def analyse(evidence: CampaignEvidence) -> Findings:
    """All findings of a campaign; parts without evidence are None, and an unfinished campaign's verdict says so."""
    metric, horizon = evidence.objective.name, evidence.objective.overlap
    champion, default = evidence.champion, evidence.default
    tried = _with_series(evidence, champion, metric)
    if champion is None or metric not in champion.daily:
        shown = evidence.objective.shown
        sentence = f"no verdict yet: the search has no champion with a series of {shown}"
        if champion is not None and evidence.trials and not any(trial.daily for trial in evidence.trials):
            sentence = f"no verdict: {shown} is reported without a series, so there is no interval and no test of luck"
        # Without a series nothing speaks against the champion either.
        verdict = Verdict(Finding.UNFINISHED, sentence, "none", recommended=champion is not None)
        return Findings(evidence.objective, verdict, len(tried))
    series = _matrix(tried, metric)
    chosen = [trial.slot for trial in tried].index(champion.slot)
    has_zero = evidence.objective.no_skill is not None
    judged = (series, chosen) if has_zero else _over_default(tried, series, champion, default)
    deflated = None if judged is None else deflated_score(*judged, horizon)
    holdout, default_holdout, gain_holdout = _holdout_intervals(evidence, metric, horizon)
    gain_validation = _validation_gain(tried, series, champion, default, horizon)
    leaders = _leaders(evidence, metric)
    ceiling = _ceiling(evidence, metric)
    deployed = f"the committee of {len(evidence.members)} trials" if _committee(evidence) else "the champion"
    contenders = _contenders(evidence, metric, horizon)
    finished = [trial for trial in tried if trial.outcome is Outcome.COMPLETE]
    return Findings(
        metric=evidence.objective,
        verdict=_judged(
            evidence,
            metric=evidence.objective.shown,
            holdout=holdout,
            deflated=deflated,
            gain=gain_holdout if holdout else gain_validation,
            champion_is_default=default is not None and champion.slot == default.slot and not _committee(evidence),
            num_tried=len(tried),
            has_zero=has_zero,
            deployed=deployed,
            contenders=contenders,
        ),
        num_tried=len(tried),
        champion=champion,
        default=default,
        validation=mean_interval(champion.daily[metric], horizon),
        validation_adjusted=simultaneous_interval(series, chosen, horizon),
        holdout=holdout,
        default_holdout=default_holdout,
        gain_validation=gain_validation,
        gain_holdout=gain_holdout,
        deflated=deflated,
        overfitting=backtest_overfitting(_matrix(finished, metric), horizon) if finished else None,
        leaders=leaders,
        shrinkage=shrinkage([leader.validation for leader in leaders], [leader.holdout for leader in leaders]),
        ceiling=ceiling,
        share_of_ceiling=holdout.estimate / ceiling if holdout and ceiling else None,
        deployed=deployed,
        rivals=_best_first([*_own_rivals(evidence, metric, horizon), *contenders]),
    )


def _judged(evidence: CampaignEvidence, **found: Any) -> Verdict:
    """`judge`'s verdict; nothing is recommended on the strength of what is not believed."""
    verdict = judge(**found)
    if not evidence.doubt:
        return verdict
    return replace(verdict, advice="deploy nothing before the score is explained", recommended=False)


def _with_series(evidence: CampaignEvidence, champion: TrialEvidence | None, metric: str) -> list[TrialEvidence]:
    """Trials that can be compared with the champion day by day, pruned ones included: they were tried too."""
    if champion is None or metric not in champion.daily:
        return [trial for trial in evidence.trials if metric in trial.daily]
    num_days = len(champion.daily[metric])
    return [trial for trial in evidence.trials if metric in trial.daily and len(trial.daily[metric]) == num_days]


def _matrix(trials: list[TrialEvidence], metric: str) -> NDArray[np.float64]:
    """[V, N]: one column per trial."""
    return np.column_stack([np.asarray(trial.daily[metric], dtype=np.float64) for trial in trials])


def _over_default(
    tried: list[TrialEvidence], series: NDArray[np.float64], champion: TrialEvidence, default: TrialEvidence | None
) -> tuple[NDArray[np.float64], int] | None:
    """The others' series as gains over the default's, and the champion's column among them: what stands for zero where
    a metric has no value of no skill. None where the champion has nothing to be compared with."""
    slots = [trial.slot for trial in tried]
    if default is None or default.slot not in slots or default.slot == champion.slot:
        return None
    base = slots.index(default.slot)
    others = [column for column in range(len(slots)) if column != base]
    return series[:, others] - series[:, [base]], others.index(slots.index(champion.slot))


def _validation_gain(
    tried: list[TrialEvidence],
    series: NDArray[np.float64],
    champion: TrialEvidence,
    default: TrialEvidence | None,
    horizon: int,
) -> Interval | None:
    """Champion minus default on the validation days, allowing for the champion having been chosen there."""
    gains = _over_default(tried, series, champion, default)
    return None if gains is None else simultaneous_interval(*gains, horizon)


def _holdout_intervals(
    evidence: CampaignEvidence, metric: str, horizon: int
) -> tuple[Interval | None, Interval | None, Interval | None]:
    """What is deployed, the default and their paired difference on the holdout."""
    daily = evidence.holdout.daily if evidence.holdout else {}
    deployed = (evidence.deployed or {}).get(metric)
    default = daily.get(evidence.default_slot or 0, {}).get(metric)
    is_default = evidence.champion_slot == evidence.default_slot and not _committee(evidence)
    return (
        None if deployed is None else mean_interval(deployed, horizon),
        None if default is None else mean_interval(default, horizon),
        None if deployed is None or default is None or is_default else paired_interval(deployed, default, horizon),
    )


def _committee(evidence: CampaignEvidence) -> bool:
    return len(evidence.members) > 1


def _own_rivals(evidence: CampaignEvidence, metric: str, horizon: int) -> list[Rival]:
    """The single champion, where a committee is deployed, and the default."""
    daily = evidence.holdout.daily if evidence.holdout else {}
    named = {"the default configuration": evidence.default_slot}
    if _committee(evidence):
        named["the single champion"] = evidence.champion_slot
    series = {name: daily.get(slot or 0, {}) for name, slot in named.items()}
    return [_rival(evidence, name, daily[metric], metric, horizon) for name, daily in series.items() if metric in daily]


def _contenders(evidence: CampaignEvidence, metric: str, horizon: int) -> list[Rival]:
    """Those trained without a search; the more of them, the wider their intervals."""
    found = {n: d[metric] for n, d in (evidence.holdout.contenders if evidence.holdout else {}).items() if metric in d}
    level = 1 - (1 - LEVEL) / max(len(found), 1)
    return [_rival(evidence, name, series, metric, horizon, level) for name, series in found.items()]


def _rival(
    evidence: CampaignEvidence,
    name: str,
    series: NDArray[np.float32],
    metric: str,
    horizon: int,
    level: float = LEVEL,
) -> Rival:
    deployed = (evidence.deployed or {}).get(metric)
    lead = None if deployed is None else paired_interval(series, deployed, horizon, level)
    return Rival(name, mean_interval(series, horizon, level), lead)


def _best_first(rivals: list[Rival]) -> tuple[Rival, ...]:
    return tuple(sorted(rivals, key=lambda rival: -rival.holdout.estimate if rival.holdout else np.inf))


def _leaders(evidence: CampaignEvidence, metric: str) -> tuple[Leader, ...]:
    """The best trials by validation score that were also scored on the holdout, best first."""
    daily = evidence.holdout.daily if evidence.holdout else {}
    return tuple(
        Leader(trial.slot, float(np.nanmean(trial.daily[metric])), float(np.nanmean(daily[trial.slot][metric])))
        for trial in evidence.completed()[:NUM_LEADERS]
        if metric in trial.daily and metric in daily.get(trial.slot, {})
    )


def _ceiling(evidence: CampaignEvidence, metric: str) -> float | None:
    """Mean daily score of the planted market's own expectation on the holdout."""
    ceiling = evidence.holdout.ceiling if evidence.holdout else None
    return float(np.nanmean(ceiling[metric])) if ceiling and metric in ceiling else None
