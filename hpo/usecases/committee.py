"""Which trials a committee is made of: rules that see validation days alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.domain.campaign import Outcome
from hpo.report.statistics.intervals import LEVEL, mean_interval, paired_interval


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
    return tuple(sorted([single, *(each.slot for each in kept[: size - 1])]))


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


RULES: Mapping[str, Callable[[Candidate], bool]] = {
    "all": lambda candidate: candidate.outcome in (Outcome.COMPLETE, Outcome.PRUNED),
    "complete": lambda candidate: candidate.outcome is Outcome.COMPLETE,
    "single": lambda candidate: False,
}
"""Which trials may sit beside the single champion. `complete` with a small size is the best few."""
