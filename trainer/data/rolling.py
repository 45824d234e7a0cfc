"""Causal moving statistics along the day axis of [D, S] arrays; a missing day (NaN) counts for nothing."""

from __future__ import annotations

import numpy as np

from trainer.data.market import Wide

# A window's statistic exists where at least this share of its days is observed.
MIN_SHARE = 0.6


def shift(values: Wide, days: int) -> Wide:
    """The value `days` calendar days earlier, NaN where there is none; negative `days` looks ahead."""
    moved = np.full_like(values, np.nan)
    if days >= 0:
        moved[days:] = values[: len(values) - days]
    else:
        moved[:days] = values[-days:]
    return moved


def moving_count(observed: np.typing.NDArray[np.bool_], window: int) -> np.typing.NDArray[np.int64]:
    """How many of the last `window` days, today included, are true."""
    total = np.cumsum(observed, axis=0, dtype=np.int64)
    total[window:] = total[window:] - total[:-window]
    return total


def moving_sum(values: Wide, window: int) -> Wide:
    """Sum of the observed values of the last `window` days, today included; NaN where too few are observed."""
    observed = np.isfinite(values)
    total = np.cumsum(np.where(observed, values, 0.0), axis=0)
    total[window:] = total[window:] - total[:-window]
    total[moving_count(observed, window) < MIN_SHARE * window] = np.nan
    return total


def moving_mean(values: Wide, window: int) -> Wide:
    """Mean of the observed values of the last `window` days; NaN where too few are observed."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Wide = moving_sum(values, window) / moving_count(np.isfinite(values), window)
    return mean


def moving_std(values: Wide, window: int) -> Wide:
    """Standard deviation of the observed values of the last `window` days; NaN where too few are observed."""
    mean = moving_mean(values, window)
    return np.sqrt(np.maximum(moving_mean(values**2, window) - mean**2, 0.0))


def moving_skew(values: Wide, window: int) -> Wide:
    """Skewness of the observed values of the last `window` days; NaN where too few are observed or none differ."""
    mean = moving_mean(values, window)
    second = moving_mean(values**2, window)
    variance = np.maximum(second - mean**2, 0.0)
    third = moving_mean(values**3, window) - 3 * mean * second + 2 * mean**3
    return third / np.where(variance > 0, variance, np.nan) ** 1.5


def moving_corr(left: Wide, right: Wide, window: int) -> Wide:
    """Correlation of two columns over the last `window` days; NaN where too few are observed or one is constant."""
    both = np.isfinite(left) & np.isfinite(right)
    left, right = np.where(both, left, np.nan), np.where(both, right, np.nan)
    covariance = moving_mean(left * right, window) - moving_mean(left, window) * moving_mean(right, window)
    scale = moving_std(left, window) * moving_std(right, window)
    return covariance / np.where(scale > 0, scale, np.nan)


def moving_max(values: Wide, window: int) -> Wide:
    """Largest observed value of the last `window` days; NaN where too few are observed."""
    observed = np.isfinite(values)
    largest = np.where(observed, values, -np.inf)
    span = 1
    while 2 * span <= window:  # a window of 2n days is two windows of n days
        largest = np.maximum(largest, _earlier(largest, span))
        span *= 2
    largest = np.maximum(largest, _earlier(largest, window - span))
    largest[moving_count(observed, window) < MIN_SHARE * window] = np.nan
    return largest


def _earlier(values: Wide, days: int) -> Wide:
    padded = np.full_like(values, -np.inf)
    padded[days:] = values[: len(values) - days]
    return padded
