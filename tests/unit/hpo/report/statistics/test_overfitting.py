"""The probability of overfitting, against a plain implementation."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from hpo.report.statistics.overfitting import backtest_overfitting

Trials = Callable[..., NDArray[np.float64]]


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
