"""Dependence between days, against independent implementations and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.report.statistics.blocks import (
    autocovariances,
    block_length,
    bootstrap_errors,
    critical_value,
    newey_west_error,
    optimal_block_length,
    resampled_days,
)


def autoregressive(seed: int, num_days: int, persistence: float) -> NDArray[np.float64]:
    steps = np.random.default_rng(seed).standard_normal(num_days)
    series = np.zeros(num_days)
    for day in range(1, num_days):
        series[day] = persistence * series[day - 1] + steps[day]
    return series


# arch 8.0.0, optimal_block_length(...)["stationary"]; it begins its search for the last correlated lag one lag later
# than the paper's definition, hence the tolerance. statsmodels 0.15.0, OLS on a constant, HAC with 9 and 19 lags.
REFERENCES = [
    (0, 250, 0.0, 1.1788331728143797, 0.06869815298494202, 0.05853928254620735),
    (1, 250, 0.5, 3.8152209227530443, 0.07381587813463572, 0.06723190194399029),
    (2, 500, 0.8, 14.412561939972633, 0.1522572937117646, 0.16252319861578346),
    (3, 1000, 0.9, 33.95086762756507, 0.1936431436864569, 0.23632602446737966),
    (4, 120, 0.3, 1.9741966925967493, 0.09172439318907816, 0.09102513353532671),
]


@pytest.mark.parametrize(("seed", "num_days", "persistence", "length", "ten", "twenty"), REFERENCES)
def test_agrees_with_other_implementations(
    seed: int, num_days: int, persistence: float, length: float, ten: float, twenty: float
) -> None:
    series = autoregressive(seed, num_days, persistence)
    assert optimal_block_length(series) == pytest.approx(length, rel=0.15)
    assert newey_west_error(series, 10) == pytest.approx(ten, rel=1e-12)
    assert newey_west_error(series, 20) == pytest.approx(twenty, rel=1e-12)


def test_optimal_block_length_of_a_long_autoregression_nears_its_theory() -> None:
    persistence, num_days = 0.6, 50_000
    lengths = [optimal_block_length(autoregressive(seed, num_days, persistence)) for seed in range(5)]
    theory = (2 * persistence / (1 - persistence**2)) ** (2 / 3) * num_days ** (1 / 3)
    assert np.mean(lengths) == pytest.approx(theory, rel=0.1)


def test_autocovariances_by_their_definition() -> None:
    series = autoregressive(5, 60, 0.4)
    centred = series - series.mean()
    by_hand = [float((centred[lag:] * centred[: 60 - lag]).sum() / 60) for lag in range(11)]
    np.testing.assert_allclose(autocovariances(series, 10), by_hand, atol=1e-12)


@pytest.mark.parametrize("length", [1.0, 4.0, 25.0])
def test_closed_form_error_is_what_resampling_gives(length: float) -> None:
    series = np.column_stack([autoregressive(6, 200, 0.5), autoregressive(7, 200, 0.0)])
    means = resampled_days(200, length, 40_000, seed=1) @ series / 200
    np.testing.assert_allclose(bootstrap_errors(series, length), means.std(axis=0), rtol=0.02)


def test_resampled_days_keep_neighbours_together() -> None:
    counts = resampled_days(100, 20.0, 2_000, seed=0)
    assert (counts.sum(axis=1) == 100).all()
    drawn_singly = resampled_days(100, 1.0, 2_000, seed=0)

    def neighbours(days: NDArray[np.float64]) -> float:
        return float(np.corrcoef(days[:, 40], days[:, 41])[0, 1])

    assert neighbours(counts) > 0.8
    assert abs(neighbours(drawn_singly)) < 0.1


def test_block_length_covers_the_overlap_and_leaves_three_blocks() -> None:
    noise = np.random.default_rng(0).standard_normal(600)
    assert block_length(noise, 1) < 5
    assert block_length(noise, 20) == 60
    assert block_length(noise[:90], 20) == 30


def test_critical_value_is_wider_for_fewer_blocks() -> None:
    assert critical_value(0.95, 0.0, 250) == pytest.approx(1.95996, abs=1e-4)
    values = [critical_value(0.95, length, 250) for length in (5, 20, 60, 83)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1.96 * 1.6, rel=0.02)


def test_critical_value_was_fitted_to_white_noise() -> None:
    rng, num_days = np.random.default_rng(3), 300
    for length in (6.0, 30.0, 90.0):
        noise = rng.standard_normal((num_days, 20_000))
        ratios = np.abs(noise.mean(axis=0)) / bootstrap_errors(noise, length)
        assert np.quantile(ratios, 0.95) == pytest.approx(critical_value(0.95, length, num_days), rel=0.03)


def test_missing_days_are_left_out() -> None:
    series = np.array([0.1, math.nan, 0.3, -0.1, math.nan, 0.2])
    kept = np.array([0.1, 0.3, -0.1, 0.2])
    assert newey_west_error(series, 1) == newey_west_error(kept, 1)
    assert math.isnan(newey_west_error(np.array([0.1, math.nan]), 1))


def test_constant_series_has_blocks_of_one_day() -> None:
    assert optimal_block_length(np.full(100, 0.03)) == 1.0
