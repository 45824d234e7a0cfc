"""Intervals, overfitting, deflation and shrinkage: published examples, independent implementations, properties."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from hpo.report.statistics.deflation import (
    deflated_ratio,
    deflated_score,
    effective_trials,
    expected_maximum,
    probabilistic_ratio,
)
from hpo.report.statistics.intervals import information_ratio, mean_interval, paired_interval, simultaneous_interval
from hpo.report.statistics.overfitting import backtest_overfitting
from hpo.report.statistics.shrinkage import shrinkage

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


def test_cscv_against_a_plain_implementation(trials_factory: Trials) -> None:
    series = trials_factory(np.random.default_rng(3), 96, np.linspace(0, 0.01, 6), 0.3)
    found = backtest_overfitting(series)
    assert found is not None
    blocks = np.split(series, 16)
    logits = []
    for chosen in combinations(range(16), 8):
        inside = np.concatenate([blocks[n] for n in chosen]).mean(axis=0)
        outside = np.concatenate([blocks[n] for n in range(16) if n not in chosen]).mean(axis=0)
        share = rankdata(outside)[inside.argmax()] / 7
        logits.append(math.log(share / (1 - share)))
    np.testing.assert_allclose(found.logits, logits, atol=1e-12)
    assert found.probability == pytest.approx(np.mean(np.array(logits) <= 0))


def test_cscv_blocks_are_longer_than_the_labels(trials_factory: Trials) -> None:
    series = trials_factory(np.random.default_rng(4), 250, np.zeros(8), 0.5)
    found = [backtest_overfitting(series, horizon) for horizon in (1, 10, 20)]
    assert [f.num_blocks if f else None for f in found] == [16, 16, 8]
    assert [f.num_days if f else None for f in found] == [240, 16 * (15 - 9), 8 * (31 - 19)]
    assert backtest_overfitting(series[:, :3]) is None
    assert backtest_overfitting(series[:110], 20) is None


def test_identical_trials_are_average_everywhere() -> None:
    series = np.repeat(np.random.default_rng(5).standard_normal((160, 1)), 5, axis=1)
    found = backtest_overfitting(series)
    assert found is not None
    assert np.abs(found.logits).max() < 1e-12


def test_paired_interval_is_sharper_than_either(trials_factory: Trials) -> None:
    series = trials_factory(np.random.default_rng(6), 250, np.array([0.03, 0.02]), 0.9)
    paired = paired_interval(series[:, 0], series[:, 1], 1)
    single = mean_interval(series[:, 0], 1)
    assert paired is not None
    assert single is not None
    assert paired.standard_error < 0.6 * single.standard_error
    assert paired.estimate == pytest.approx(series[:, 0].mean() - series[:, 1].mean())


def test_intervals_skip_missing_days_and_need_twenty() -> None:
    series = np.random.default_rng(7).standard_normal(40)
    holes = series.copy()
    holes[:15] = math.nan
    found, whole = mean_interval(holes, 1), mean_interval(series[15:], 1)
    assert found == whole
    assert found is not None
    assert found.num_days == 25
    assert mean_interval(holes[:34], 1) is None


def test_simultaneous_interval_is_wider_and_ignores_constant_columns(trials_factory: Trials) -> None:
    series = trials_factory(np.random.default_rng(8), 250, np.zeros(20), 0.3)
    series[:, 5] = 0.0
    chosen = int(series.mean(axis=0).argmax())
    wide, plain = simultaneous_interval(series, chosen, 1), mean_interval(series[:, chosen], 1)
    assert wide is not None
    assert plain is not None
    assert wide.high - wide.low > 1.3 * (plain.high - plain.low)
    assert wide.estimate == pytest.approx(plain.estimate, abs=1e-15)
    alone = simultaneous_interval(series[:, [chosen]], 0, 1)
    assert alone is not None
    assert alone.high - alone.low == pytest.approx(plain.high - plain.low, rel=0.05)


def test_information_ratio() -> None:
    assert information_ratio(np.array([0.01, 0.03])) == pytest.approx(0.02 / np.std([0.01, 0.03], ddof=1))
    assert math.isnan(information_ratio(np.array([0.02, 0.02])))
    assert math.isnan(information_ratio(np.array([0.02])))


def test_shrinkage() -> None:
    found = shrinkage([0.04, 0.03, 0.02], [0.01, 0.02, 0.03])
    assert found is not None
    assert found.kept == pytest.approx(2 / 3)
    assert found.rank_correlation == pytest.approx(-1)
    assert shrinkage([], []) is None
    flat = shrinkage([-0.01, -0.01, -0.01], [0.0, 0.1, 0.2])
    assert flat is not None
    assert math.isnan(flat.kept)
    assert math.isnan(flat.rank_correlation)
