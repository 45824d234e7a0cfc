"""Dependence between days: long-run standard errors of means of daily series.

Labels over h days overlap, so that neighbouring days of RankIC share h - 1 of them: a standard error that takes the
days for independent is too small by up to the square root of h.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Series = NDArray[np.float64]


def num_coefficients(num_days: int, horizon: int) -> int:
    """How many cosine coefficients the long-run variance is taken from, which are also its degrees of freedom.

    0.41 D^(2/3), the rule of Lazarus, Lewis, Stock & Watson (2018) for series whose dependence is not known; at most
    one for every two labels that fit into the days one after another, because a wave that is shorter than that is
    flattened by the overlap; at least two.
    """
    return max(2, int(min(0.41 * num_days ** (2 / 3), num_days / (2 * horizon))))


def long_run_errors(series: Series, horizon: int) -> Series:
    """Standard errors of the means of dependent days by the equal-weighted cosine estimator.

    The mean square of the first `num_coefficients` cosine coefficients estimates the long-run variance (Lazarus, Lewis,
    Stock & Watson 2018). The mean itself does not enter, and the error has as many degrees of freedom as there are
    coefficients (`critical_value`). series: [D] or [D, N], finite. Returns [] or [N].
    """
    num_days = len(series)
    orders = np.arange(1, num_coefficients(num_days, horizon) + 1)
    waves = np.cos(np.pi * orders[:, None] * (np.arange(num_days) + 0.5) / num_days)
    coefficients = math.sqrt(2 / num_days) * waves @ (series - series.mean(axis=0))
    errors: Series = np.sqrt(np.mean(coefficients**2, axis=0) / num_days)
    return errors


def critical_value(level: float, degrees_of_freedom: int) -> float:
    """How many standard errors an interval of this level reaches to either side: the quantile of Student's t."""
    return float(student.ppf((1 + level) / 2, degrees_of_freedom))


def newey_west_error(series: NDArray[np.floating], horizon: int) -> float:
    """Standard error of the mean of a daily series whose labels overlap over `horizon` days.

    Newey & West (1987), Bartlett weights; as many lags as labels overlap (horizon - 1), and never fewer than the
    floor(4 (n/100)^(2/9)) of Newey & West (1994). series: [D], NaN days are left out. NaN below two days.
    """
    values = finite(series)
    n = len(values)
    if n < 2:
        return math.nan
    num_lags = min(n - 1, max(horizon - 1, int(4 * (n / 100) ** (2 / 9))))
    centred = values - values.mean()
    covariances = np.array([centred[lag:] @ centred[: n - lag] / n for lag in range(num_lags + 1)])
    weights = 1 - np.arange(1, num_lags + 1) / (num_lags + 1)
    return math.sqrt(max(covariances[0] + 2 * float(weights @ covariances[1:]), 0.0) / n)


def finite(series: NDArray[np.floating]) -> Series:
    """The finite days of a series, as float64."""
    values = np.asarray(series, dtype=np.float64)
    return values[np.isfinite(values)]
