"""How far the best of many is to be believed, against the papers' examples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.report.statistics.deflation import (
    deflated_ratio,
    deflated_score,
    effective_trials,
    expected_maximum,
    probabilistic_ratio,
)
from hpo.report.statistics.intervals import information_ratio

Trials = Callable[..., NDArray[np.float64]]


def test_deflated_ratio_of_the_papers_example() -> None:
    # Bailey & Lopez de Prado (2014), "A numerical example": 5 years of daily returns, annual Sharpe ratio 2.5, 100
    # trials whose annual ratios have variance 1/2, skewness -3, kurtosis 10: hurdle 0.1132 a day, DSR 0.9004; with 46
    # trials 0.9505.
    variance = 1 / (2 * 250)
    assert math.sqrt(variance) * expected_maximum(100) == pytest.approx(0.1132, abs=5e-5)
    arguments = {"ratio": 2.5 / math.sqrt(250), "num_days": 1250, "skewness": -3.0, "tailedness": 10.0}
    assert deflated_ratio(**arguments, trials_variance=variance, num_trials=100) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_ratio(**arguments, trials_variance=variance, num_trials=46) == pytest.approx(0.9505, abs=5e-5)


def test_probabilistic_ratio_of_the_papers_example() -> None:
    # Bailey & Lopez de Prado (2012): 24 monthly returns, ratio .458, skewness -2.448, kurtosis 10.164: .913 instead of
    # the .982 that a normal distribution would give.
    assert probabilistic_ratio(0.458, 0.0, 24, -2.448, 10.164) == pytest.approx(0.913, abs=1e-3)
    assert probabilistic_ratio(0.458, 0.0, 24, 0.0, 3.0) == pytest.approx(0.982, abs=1e-3)


def test_expected_maximum_is_that_of_normal_samples() -> None:
    draws = np.random.default_rng(0).standard_normal((20_000, 50)).max(axis=1)
    assert expected_maximum(50) == pytest.approx(draws.mean(), abs=0.03)
    assert expected_maximum(1) == 0.0


def test_effective_trials_counts_clusters() -> None:
    rng = np.random.default_rng(0)
    independent = rng.standard_normal((2_000, 30))
    clusters = np.repeat(rng.standard_normal((2_000, 5)), 6, axis=1) + 0.01 * independent

    def own(series: NDArray[np.float64]) -> NDArray[np.float64]:
        return series - series.mean(axis=1, keepdims=True)

    assert effective_trials(own(independent), 2_000) == pytest.approx(30, abs=1)
    assert effective_trials(own(clusters), 2_000) == pytest.approx(5, abs=0.5)


def test_effective_trials_does_not_take_chance_for_likeness() -> None:
    many = np.random.default_rng(0).standard_normal((250, 100))
    assert effective_trials(many - many.mean(axis=1, keepdims=True), 250) == pytest.approx(100, abs=2)


def test_effective_trials_of_what_cannot_be_correlated_are_all_there_are() -> None:
    alike = np.zeros((250, 4))
    assert effective_trials(alike, 250) == 4
    alike[:, 0] = np.random.default_rng(0).standard_normal(250)
    assert effective_trials(alike, 250) == 4
    copies = np.repeat(alike[:, :1], 4, axis=1)
    assert effective_trials(copies, 250) < 3
    assert effective_trials(copies, 2) == 4  # two days say nothing of likeness


def test_more_trials_deflate_more(trials_factory: Trials) -> None:
    series = trials_factory(np.random.default_rng(1), 250, np.zeros(200), 0.5)
    series[:, 0] += 0.015 - series[:, 0].mean()
    probabilities = []
    for number in (2, 20, 200):
        found = deflated_score(series[:, :number], 0, 1)
        assert found is not None
        probabilities.append(found.probability)
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[0] > 0.95 > probabilities[2]


def test_overlapping_labels_count_for_fewer_days(trials_factory: Trials) -> None:
    found = deflated_score(trials_factory(np.random.default_rng(2), 500, np.zeros(20), 0.5, horizon=10), 0, 10)
    assert found is not None
    assert found.num_days == 500
    assert 15 < found.effective_days < 110
    assert found.mean_correlation == pytest.approx(0.5, abs=0.15)


def test_information_ratio() -> None:
    assert information_ratio(np.array([0.01, 0.03])) == pytest.approx(0.02 / np.std([0.01, 0.03], ddof=1))
    assert math.isnan(information_ratio(np.array([0.02, 0.02])))
    assert math.isnan(information_ratio(np.array([0.02])))
