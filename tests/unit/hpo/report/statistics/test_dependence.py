"""Dependence between days, against independent implementations and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.signal import lfilter

from hpo.report.statistics.dependence import critical_value, long_run_errors, newey_west_error, num_coefficients


def autoregressive(seed: int, num_days: int, persistence: float) -> NDArray[np.float64]:
    steps = np.random.default_rng(seed).standard_normal(num_days)
    series = np.zeros(num_days)
    for day in range(1, num_days):
        series[day] = persistence * series[day - 1] + steps[day]
    return series


# statsmodels 0.15.0, OLS on a constant, HAC with 9 and 19 lags.
REFERENCES = [
    (0, 250, 0.0, 0.06869815298494202, 0.05853928254620735),
    (1, 250, 0.5, 0.07381587813463572, 0.06723190194399029),
    (2, 500, 0.8, 0.1522572937117646, 0.16252319861578346),
    (3, 1000, 0.9, 0.1936431436864569, 0.23632602446737966),
    (4, 120, 0.3, 0.09172439318907816, 0.09102513353532671),
]


@pytest.mark.parametrize(("seed", "num_days", "persistence", "ten", "twenty"), REFERENCES)
def test_newey_west_agrees_with_statsmodels(
    seed: int, num_days: int, persistence: float, ten: float, twenty: float
) -> None:
    series = autoregressive(seed, num_days, persistence)
    assert newey_west_error(series, 10) == pytest.approx(ten, rel=1e-12)
    assert newey_west_error(series, 20) == pytest.approx(twenty, rel=1e-12)


@pytest.mark.parametrize(("num_days", "horizon", "number"), [(250, 1, 16), (250, 5, 16), (250, 20, 6), (60, 20, 2)])
def test_coefficients_are_as_many_as_the_days_and_the_overlap_allow(num_days: int, horizon: int, number: int) -> None:
    assert num_coefficients(num_days, horizon) == number


def test_error_is_the_mean_square_of_scipys_cosine_transform() -> None:
    series = np.column_stack([autoregressive(6, 200, 0.5), autoregressive(7, 200, 0.0)])
    number = num_coefficients(200, 5)
    transformed = dct(series, type=2, norm="ortho", axis=0)[1 : number + 1]
    by_scipy = np.sqrt((transformed**2).mean(axis=0) / 200)
    np.testing.assert_allclose(long_run_errors(series, 5), by_scipy, rtol=1e-12)
    np.testing.assert_allclose(long_run_errors(series[:, 0] + 7.0, 5), by_scipy[0], rtol=1e-9)


@pytest.mark.parametrize(("num_days", "horizon"), [(60, 1), (60, 20), (100, 5), (250, 20)])
def test_ratio_of_a_mean_without_signal_leaves_the_critical_value_in_one_of_twenty(num_days: int, horizon: int) -> None:
    steps = np.random.default_rng(num_days).standard_normal((num_days + horizon - 1, 8_000))
    series = np.lib.stride_tricks.sliding_window_view(steps, horizon, axis=0).mean(axis=-1)
    ratios = np.abs(series.mean(axis=0)) / long_run_errors(series, horizon)
    share = (ratios > critical_value(0.95, num_coefficients(num_days, horizon))).mean()
    assert 0.04 < share < 0.075


def test_error_counts_persistence_that_no_label_explains() -> None:
    steps = np.random.default_rng(3).standard_normal((450, 4_000))
    series = lfilter([1.0], [1.0, -0.5], steps, axis=0)[200:]
    ratios = np.abs(series.mean(axis=0)) / long_run_errors(series, 1)
    assert (ratios > critical_value(0.95, num_coefficients(250, 1))).mean() < 0.065


def test_missing_days_are_left_out() -> None:
    series = np.array([0.1, math.nan, 0.3, -0.1, math.nan, 0.2])
    kept = np.array([0.1, 0.3, -0.1, 0.2])
    assert newey_west_error(series, 1) == newey_west_error(kept, 1)
    assert math.isnan(newey_west_error(np.array([0.1, math.nan]), 1))


def test_error_of_a_constant_series_is_zero() -> None:
    assert long_run_errors(np.full(100, 0.03), 5) == pytest.approx(0.0, abs=1e-15)
