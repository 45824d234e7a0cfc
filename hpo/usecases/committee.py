"""Which trials a committee is made of: rules that see validation days alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.domain.campaign import Outcome
from hpo.report.statistics.dependence import long_run_errors
from hpo.report.statistics.intervals import FEWEST_DAYS, LEVEL, mean_interval, paired_interval

CORRELATION = 0.8
"""Of the daily scores of two trials of one search. Measured: .94 on clear markets, .6 to .7 with trials that learnt
nothing among them."""

FEWEST = 4
"""Trials below which their own spread says nothing: all of them are members."""

INSTABILITY = 0.05
"""By how much of a day's standard deviation a trial's lead over the others changes from one year to the next, for which
validation has no evidence. With RankICs it is about .005."""


@dataclass(frozen=True)
class Candidate:
    """A trial as the rules see it. daily: the objective's validation series [V], the mean over the score's epochs."""

    slot: int
    outcome: Outcome
    score: float
    num_epochs: int
    daily: NDArray[np.floating]


def select(
    candidates: Sequence[Candidate], single: int, *, rule: str, size: int, horizon: int, num_epochs: int
) -> tuple[int, ...]:
    """The members' slots, ascending; the single champion is always one of them.

    candidates: all trials with a checkpoint. single: the champion's slot, among them. size: the most members; where
    more qualify, those with the best score stay. horizon: days over which the objective's labels overlap. num_epochs:
    of a full training.
    """
    champion = next(candidate for candidate in candidates if candidate.slot == single)
    others = [candidate for candidate in candidates if candidate.slot != single]
    found = [each for each in others if RULES[rule](each) and has_learnt(each, num_epochs)]
    level = 1 - (1 - LEVEL) / max(len(others), 1)
    kept = [each for each in found if not is_worse(each, champion, horizon, level)]
    kept.sort(key=lambda each: (-each.score, each.slot))
    members = [champion, *kept[: size - 1]]
    return tuple(sorted(each.slot for each in members[: num_members(members, horizon)]))


def has_learnt(candidate: Candidate, num_epochs: int) -> bool:
    """Whether the trial was trained for more than one epoch (where there were more to train) and has a score."""
    return candidate.num_epochs >= min(2, num_epochs) and bool(np.isfinite(candidate.score))


def is_worse(candidate: Candidate, champion: Candidate, horizon: int, level: float) -> bool:
    """Whether the validation days say that the candidate does not belong beside the champion: its score lies below the
    champion's on the same days, or below zero, with an interval of this level that leaves no doubt.

    On noisy markets this keeps almost every trial, and on clear ones the good ones: no number of members suits both.
    """
    if len(candidate.daily) != len(champion.daily):
        return True
    difference = paired_interval(candidate.daily, champion.daily, horizon, level)
    own = mean_interval(candidate.daily, horizon, level)
    if difference is None or own is None:
        return True
    return difference.below_zero or own.below_zero


def num_members(ordered: Sequence[Candidate], horizon: int) -> int:
    """How many of these, from the first on, are expected to score best together.

    The mean of K equally good scorers correlates with the outcome by c / sqrt(r + (1 - r) / K), where each has the
    correlation c and any two have r between them (Spearman 1913): further members take noise away, worse ones take
    skill away. How good each is are its validation days, shrunk to the mean of all by the share of their spread that
    noise explains (James & Stein 1961). Where days say little all are equal, and all are members; where they say much,
    the best few are. All where the mean is not above zero, as nothing can be expected then.
    """
    if len(ordered) < FEWEST:
        return len(ordered)
    daily = np.array([each.daily for each in ordered], dtype=np.float64)
    daily = daily[:, np.isfinite(daily).all(axis=0)]
    if daily.shape[1] < FEWEST_DAYS:
        return len(ordered)
    means = _shrunk(daily, horizon)
    number = np.arange(1, len(means) + 1)
    together = np.cumsum(means) / number / np.sqrt(CORRELATION + (1 - CORRELATION) / number)
    if not together.max() > 0:
        return len(ordered)
    return int(np.flatnonzero(together == together.max())[-1]) + 1


def _shrunk(daily: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """The trials' means over the days [T], shrunk to their mean. daily: [T, V], finite."""
    means: NDArray[np.float64] = daily.mean(axis=1)
    spread = float(means.var(ddof=1))
    if spread == 0.0:
        return means
    errors = long_run_errors((daily - daily.mean(axis=0)).T, horizon)  # what is common to all is no difference
    noise = float((errors**2).mean()) * len(means) / (len(means) - 1)
    instability = INSTABILITY * float(np.median(daily.std(axis=1)))
    share = max(0.0, 1.0 - (noise + instability**2) / spread)
    shrunk: NDArray[np.float64] = means.mean() + share * (means - means.mean())
    return shrunk


RULES: Mapping[str, Callable[[Candidate], bool]] = {
    "all": lambda candidate: candidate.outcome in (Outcome.COMPLETE, Outcome.PRUNED),
    "complete": lambda candidate: candidate.outcome is Outcome.COMPLETE,
    "single": lambda candidate: False,
}
"""Which trials may sit beside the single champion. `complete` with a small size is the best few."""
