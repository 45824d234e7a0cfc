"""Confidence intervals of mean daily scores: of one series, of a paired difference, of whichever trial was chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.report.statistics.dependence import Series, critical_value, finite, long_run_errors, num_coefficients

LEVEL = 0.95
"""Confidence level of every interval in a report."""

FEWEST_DAYS = 20
"""Below this many days no interval is given."""


@dataclass(frozen=True)
class Interval:
    """A mean over days with its confidence interval.

    standard_error: of the mean, dependence between days included. num_days: finite days used. degrees_of_freedom: of
    Student's t, whose quantile says how many standard errors an ordinary interval reaches.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    level: float
    num_days: int
    degrees_of_freedom: int

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        return self.high < 0


def mean_interval(series: NDArray[np.floating], horizon: int, level: float = LEVEL) -> Interval | None:
    """Interval of the mean of a daily series: Student's t with the long-run error of the cosine estimator.

    Valid for a series that was not chosen by its own values on these days. series: [D], NaN days are left out;
    horizon: the longest label's days. None below `FEWEST_DAYS` finite days.
    """
    values = finite(series)
    if len(values) < FEWEST_DAYS:
        return None
    return _interval(values.mean(), long_run_errors(values, horizon), len(values), horizon, level)


def paired_interval(
    first: NDArray[np.floating], second: NDArray[np.floating], horizon: int, level: float = LEVEL
) -> Interval | None:
    """Interval of mean(first - second) on the days both have. Two models' good and bad days are mostly the same ones,
    so this is two to three times as sharp as comparing two intervals. Both [D], the same days in the same order."""
    return mean_interval(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64), horizon, level)


def simultaneous_interval(
    series: NDArray[np.floating],
    chosen: int,
    horizon: int,
    level: float = LEVEL,
    num_draws: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Interval of one column's mean that holds although the column was chosen for its mean on these very days.

    All columns' intervals together cover all true means with probability `level`, so the chosen one's does, however it
    was chosen: the critical value is that of the largest |t| over the columns (Dunnett 1955; Romano & Wolf 2005), which
    accounts for their correlation. series: [D, N]; days on which any column is NaN are left out. None below
    `FEWEST_DAYS` such days.
    """
    values = np.asarray(series, dtype=np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    num_days = len(values)
    if num_days < FEWEST_DAYS:
        return None
    errors = long_run_errors(values, horizon)
    degrees = num_coefficients(num_days, horizon)
    largest = _largest_ratios(values[:, errors > 0], degrees, num_draws, seed)
    widening = max(1.0, float(np.quantile(largest, level)) / critical_value(level, degrees))
    return _interval(values[:, chosen].mean(), errors[chosen], num_days, horizon, level, widening)


def _largest_ratios(values: Series, degrees: int, num_draws: int, seed: int) -> Series:
    """Draws of the largest |t| over the columns where all true means are equal, [num_draws].

    t is a normal value over the root mean square of `degrees` further normal values, all of them correlated over the
    columns as the days of values [D, N] are: the labels' overlap gives every column the same dependence in time.
    """
    num_columns = values.shape[1]
    if num_columns == 0:
        return np.zeros(num_draws)
    rng = np.random.default_rng(seed)
    variances, directions = np.linalg.eigh(np.atleast_2d(np.corrcoef(values, rowvar=False)))
    root = (directions * np.sqrt(np.maximum(variances, 0.0))).T

    def draw() -> Series:
        drawn: Series = rng.standard_normal((num_draws, num_columns)) @ root
        return drawn

    squares = sum((draw() ** 2 for _ in range(degrees)), np.zeros((num_draws, num_columns)))
    largest: Series = (np.abs(draw()) / np.sqrt(squares / degrees)).max(axis=1)
    return largest


def _interval(
    estimate: np.floating, error: np.floating | Series, num_days: int, horizon: int, level: float, widening: float = 1.0
) -> Interval:
    degrees = num_coefficients(num_days, horizon)
    reach = widening * critical_value(level, degrees) * float(error)
    mean = float(estimate)
    return Interval(mean, mean - reach, mean + reach, float(error), level, num_days, degrees)


def information_ratio(series: NDArray[np.floating]) -> float:
    """ICIR: mean over standard deviation of a daily series, not annualised; NaN without variation."""
    values = finite(series)
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean() / spread) if spread > 0 else math.nan
