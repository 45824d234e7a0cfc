"""The choice at the end: the best complete trial by posterior mean, or the default where it is not clearly beaten."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtr

from hpo.engine.joint.coordinates import Array, Conditions, Coordinates
from hpo.engine.joint.fitting import Fitted, fit
from hpo.engine.joint.observations import REACH, REACH_IN_NOISE, epoch_noise, is_feasible
from hpo.engine.joint.uncertainty import predictions

REQUIRED = 0.85
"""Probability with which a challenger must be better than the default, given how many challengers there are."""

MIN_CHALLENGERS = 3
"""Challengers whose scores say how far scores differ."""


@dataclass(frozen=True)
class Lead:
    """What the first of all challengers has over the default, in units of the score.

    challenger: its position among the trials that were given. gain, error: mean and standard deviation of the
    difference of their true scores; the model is averaged over what its parameters may be, and with one in which all
    configurations are equal. probability: that it is better, to the power of the square root of the number of
    challengers: the first of them is also the luckiest, and their predictions are alike.
    """

    challenger: int
    gain: float
    error: float
    probability: float

    @property
    def is_proven(self) -> bool:
        return self.probability >= REQUIRED


@dataclass(frozen=True)
class Choice:
    """What the model makes of a campaign's trials. Positions are those in the trials that were given.

    ranking: complete trials with the posterior mean of their scores, best first; the default stands in front where its
    challenger's lead is not proven. lead: of the first other trial over the default; None where the default is not
    complete, or has no challenger.
    """

    ranking: tuple[tuple[int, float], ...]
    lead: Lead | None


def choose(
    trials: Sequence[FrozenTrial],
    distributions: Mapping[str, BaseDistribution],
    default: int | None,
    conditions: Conditions | None = None,
) -> Choice | None:
    """The choice among the complete, feasible trials of a search that maximises; None where there is none.

    trials: finished, all with the parameters of distributions that exist in them; those that are not complete inform
    the model. default: position of the default configuration's trial. conditions: of parameters that do not exist in
    every trial.
    """
    complete = [
        position
        for position, trial in enumerate(trials)
        if trial.state is TrialState.COMPLETE and trial.value is not None and is_feasible(trial)
    ]
    fitted = fit(trials, Coordinates.of(distributions, conditions), sign=1.0, thorough=True)
    if not complete or fitted is None:
        return None
    weights, means, covariances = predictions(fitted, fitted.points[complete])
    expected = weights @ means * fitted.seen.scale + fitted.seen.centre
    mean = dict(zip(complete, (float(each) for each in expected), strict=True))
    order = sorted(complete, key=lambda position: (-mean[position], position))
    challengers = [position for position in order if position != default]
    lead = None
    if default in mean and challengers:
        lead = _plain_lead(trials, challengers, default)
        if lead is None:
            one, other = complete.index(challengers[0]), complete.index(default)
            contrast = np.zeros(len(complete))
            contrast[[one, other]] = 1.0, -1.0
            gains, variances = means @ contrast, np.maximum(contrast @ covariances @ contrast, 1e-12)
            lead = _lead(fitted, challengers[0], weights, gains, variances, len(challengers))
        if not lead.is_proven:
            order = [default, *challengers]
    return Choice(tuple((position, mean[position]) for position in order), lead)


def _lead(
    fitted: Fitted, challenger: int, weights: Array, gains: Array, variances: Array, num_challengers: int
) -> Lead:
    """weights, gains, variances: [draws], of the model's parameters."""
    flat = fitted.evidence.probability_of_flat()
    better = 0.5 * flat + (1.0 - flat) * float(weights @ ndtr(gains / np.sqrt(variances)))
    # Mean and variance of the mixture of the draws, and of that with a point at zero.
    gain = float(weights @ gains)
    variance = float(weights @ (variances + (gains - gain) ** 2))
    error = math.sqrt((1.0 - flat) * (variance + flat * gain**2))
    scale = fitted.seen.scale
    return Lead(challenger, (1.0 - flat) * gain * scale, error * scale, better ** math.sqrt(num_challengers))


def _plain_lead(trials: Sequence[FrozenTrial], challengers: Sequence[int], default: int) -> Lead | None:
    """The first challenger's lead by the scores alone, where the default lies far below all that the challengers'
    scores differ by. The model does not see such a distance, as it moves bad scores up: it would claim too little.
    None where it is not so far."""
    scores = [trials[position].value or 0.0 for position in challengers]
    spread = max(scores) - median(scores)
    spread = max(spread, REACH_IN_NOISE * (epoch_noise(trials) or 0.0))
    gain = scores[0] - (trials[default].value or 0.0)
    if len(scores) < MIN_CHALLENGERS or gain <= REACH * spread:
        return None
    error = math.sqrt(2.0) * spread
    better = NormalDist().cdf(gain / error) if error > 0 else 1.0
    return Lead(challengers[0], gain, error, better ** math.sqrt(len(challengers)))
