"""What remains of a best score when the number of trials, and how alike they are, is taken into account."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import kurtosis, skew
from scipy.stats import t as student

from hpo.report.statistics.dependence import Series, long_run_errors, num_coefficients
from hpo.report.statistics.intervals import FEWEST_DAYS


def expected_maximum(num_trials: float) -> float:
    """Expected largest of num_trials independent standard normal values.

    Bailey & Lopez de Prado (2014), eq. 6: (1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e)), g the Euler-Mascheroni constant,
    Z the normal quantile. 0 up to one trial.
    """
    if num_trials <= 1:
        return 0.0
    gamma = float(np.euler_gamma)
    first, second = ndtri(1 - 1 / num_trials), ndtri(1 - 1 / (num_trials * math.e))
    return max(0.0, float((1 - gamma) * first + gamma * second))


def probabilistic_ratio(
    ratio: float,
    hurdle: float,
    num_days: float,
    skewness: float,
    tailedness: float,
    degrees_of_freedom: float = math.inf,
) -> float:
    """Probability that the true ratio of mean to standard deviation exceeds the hurdle.

    The probabilistic Sharpe ratio, Bailey & Lopez de Prado (2012). ratio, hurdle: per day. num_days:
    equivalent independent days. tailedness: kurtosis, 3 for a normal distribution. degrees_of_freedom: how well the
    equivalent days are known; infinite in the paper, whose days are independent.
    """
    spread = math.sqrt(max(1 - skewness * ratio + (tailedness - 1) / 4 * ratio**2, 1e-12))
    return float(student.cdf((ratio - hurdle) * math.sqrt(max(num_days - 1, 0.0)) / spread, degrees_of_freedom))


def deflated_ratio(
    ratio: float,
    num_days: float,
    skewness: float,
    tailedness: float,
    trials_variance: float,
    num_trials: float,
    degrees_of_freedom: float = math.inf,
) -> float:
    """The deflated Sharpe ratio, Bailey & Lopez de Prado (2014), eq. 9: the probability that the true ratio exceeds
    zero given that it is the best of num_trials whose estimated ratios scatter with trials_variance by luck."""
    hurdle = math.sqrt(trials_variance) * expected_maximum(num_trials)
    return probabilistic_ratio(ratio, hurdle, num_days, skewness, tailedness, degrees_of_freedom)


@dataclass(frozen=True)
class DeflatedScore:
    """The champion's ratio of mean to spread against what luck gives to the best of as many trials.

    probability: that its true mean is above zero, the search accounted for. hurdle: the ratio that the best of trials
    without any signal would be expected to show. effective_trials: how many independent trials they amount to.
    effective_days: independent days the dependent ones amount to. mean_correlation: of two trials' daily series.
    """

    probability: float
    ratio: float
    hurdle: float
    num_trials: int
    effective_trials: float
    mean_correlation: float
    num_days: int
    effective_days: float


def deflated_score(series: NDArray[np.floating], chosen: int, horizon: int) -> DeflatedScore | None:
    """The deflated ratio of the chosen column, its inputs taken from the trials' daily series.

    series: [D, N], one column per trial tried, the same days; days on which any is NaN are left out. Where this goes
    beyond the paper: (1) days are dependent (overlapping labels), so the number of days is divided by the inflation of
    the mean's variance, which is itself uncertain (Student's t); (2) the scatter of the trials' ratios is that of luck
    alone, taken from the noise of their series around the day's mean trial, so that real differences between
    configurations do not raise the hurdle; (3) the common part of the noise is thereby left out of the scatter, and the
    number of independent trials is counted in what is left (`effective_trials`). None below 20 days.
    """
    values = np.asarray(series, dtype=np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    num_days, num_trials = values.shape
    if num_days < FEWEST_DAYS or values[:, chosen].std() == 0:
        return None
    champion = values[:, chosen]
    spreads = values.std(axis=0, ddof=1)
    standard = values[:, spreads > 0] / spreads[spreads > 0]
    error = float(long_run_errors(champion / champion.std(ddof=1), horizon))
    effective_days = min(1 / error**2, float(num_days))
    scatter, independent = _luck(standard, horizon)
    ratio = float(champion.mean() / champion.std(ddof=1))
    return DeflatedScore(
        probability=deflated_ratio(
            ratio,
            effective_days,
            float(skew(champion)),
            float(kurtosis(champion, fisher=False)),
            scatter,
            independent,
            num_coefficients(num_days, horizon),
        ),
        ratio=ratio,
        hurdle=math.sqrt(scatter) * expected_maximum(independent),
        num_trials=num_trials,
        effective_trials=independent,
        mean_correlation=_mean_correlation(standard),
        num_days=num_days,
        effective_days=effective_days,
    )


def _luck(standard: Series, horizon: int) -> tuple[float, float]:
    """Variance by luck of the trials' ratios around their mean, and the number of independent trials.

    standard: [D, N], each column with unit variance.
    """
    num_days, num_trials = standard.shape
    if num_trials < 2:
        return 0.0, 1.0
    own = standard - standard.mean(axis=1, keepdims=True)
    errors = long_run_errors(own, horizon)
    scatter = float((errors**2).mean()) * num_trials / (num_trials - 1)
    variances = own.var(axis=0, ddof=1)
    days = float(np.median(variances / np.maximum(errors**2, 1e-300))) if (variances > 0).any() else 0.0
    return scatter, effective_trials(own, min(days, float(num_days)))


def effective_trials(own: Series, independent_days: float) -> float:
    """How many independent trials the columns of own amount to: 1 + the participation ratio N^2 / sum(r_ij^2) of their
    correlations, from which the squares that chance alone gives (1 / days each) are taken out.

    own: [D, N], each day's mean over the columns removed (which is why one is added). Between 1 and N.
    """
    varying = own[:, own.std(axis=0) > 1e-12]
    num_trials = varying.shape[1]
    if num_trials < 2 or independent_days <= 2:
        return float(max(own.shape[1], 1))
    squares = np.corrcoef(varying, rowvar=False) ** 2
    pairs = num_trials * (num_trials - 1)
    beside_chance = (squares.sum() - num_trials - pairs / independent_days) / (1 - 1 / independent_days)
    ratio = num_trials**2 / (num_trials + max(beside_chance, 0.0))
    return float(min(1 + ratio, own.shape[1]))


def _mean_correlation(standard: Series) -> float:
    """Mean correlation of two different columns; 1 for a single one."""
    num_trials = standard.shape[1]
    if num_trials < 2:
        return 1.0
    correlations = np.corrcoef(standard, rowvar=False)
    return float((correlations.sum() - num_trials) / (num_trials * (num_trials - 1)))
