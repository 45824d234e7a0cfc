"""Confidence intervals of mean daily scores: of one series, of a paired difference, of whichever trial was chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.report.statistics.blocks import (
    block_length,
    bootstrap_errors,
    critical_value,
    finite,
    resampled_days,
)

LEVEL = 0.95
"""Confidence level of every interval in a report."""

FEWEST_DAYS = 20
"""Below this many days no interval is given."""


@dataclass(frozen=True)
class Interval:
    """A mean over days with its confidence interval.

    standard_error: of the mean, dependence between days included. num_days: finite days used. block_length: expected
    length of the bootstrap's blocks, days.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    level: float
    num_days: int
    block_length: float

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        return self.high < 0


def mean_interval(series: NDArray[np.floating], horizon: int, level: float = LEVEL) -> Interval | None:
    """Interval of the mean of a daily series by the stationary bootstrap (closed form) with fixed-b critical values.

    Valid for a series that was not chosen by its own values on these days. series: [D], NaN days are left out;
    horizon: the longest label's days. None below `FEWEST_DAYS` finite days.
    """
    values = finite(series)
    if len(values) < FEWEST_DAYS:
        return None
    length = block_length(values, horizon)
    return _interval(values.mean(), bootstrap_errors(values, length), length, len(values), level)


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
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Interval of one column's mean that holds although the column was chosen for its mean on these very days.

    All columns' intervals together cover all true means with probability `level`, so the chosen one's does, however it
    was chosen: the critical value is the quantile of the largest studentised deviation over the columns under the
    stationary bootstrap (White 2000; Romano & Wolf 2005), which accounts for their correlation. series: [D, N]; days on
    which any column is NaN are left out. None below `FEWEST_DAYS` such days.
    """
    values = np.asarray(series, dtype=np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    num_days = len(values)
    if num_days < FEWEST_DAYS:
        return None
    length = block_length(values[:, chosen], horizon)
    errors = bootstrap_errors(values, length)
    means = values.mean(axis=0)
    deviations = resampled_days(num_days, length, num_resamples, seed) @ (values - means) / num_days
    varying = errors > 0
    largest = np.abs(deviations[:, varying] / errors[varying]).max(axis=1, initial=0.0)
    widening = max(1.0, float(np.quantile(largest, level)) / critical_value(level, 0.0, num_days))
    return _interval(means[chosen], errors[chosen], length, num_days, level, widening)


def _interval(
    estimate: np.floating | float,
    error: NDArray[np.float64] | float,
    length: float,
    num_days: int,
    level: float,
    widening: float = 1.0,
) -> Interval:
    reach = widening * critical_value(level, length, num_days) * float(error)
    mean = float(estimate)
    return Interval(mean, mean - reach, mean + reach, float(error), level, num_days, length)


def information_ratio(series: NDArray[np.floating]) -> float:
    """ICIR: mean over standard deviation of a daily series, not annualised; NaN without variation."""
    values = finite(series)
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean() / spread) if spread > 0 else math.nan
