"""Intervals of daily series."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.report.statistics.intervals import mean_interval, paired_interval, simultaneous_interval

Trials = Callable[..., NDArray[np.float64]]


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


def test_simultaneous_interval_of_trials_that_are_much_alike_is_hardly_wider(trials_factory: Trials) -> None:
    widths = []
    for correlation in (0.0, 0.99):
        series = trials_factory(np.random.default_rng(9), 250, np.zeros(20), correlation)
        wide, plain = simultaneous_interval(series, 0, 1), mean_interval(series[:, 0], 1)
        assert wide is not None
        assert plain is not None
        widths.append((wide.high - wide.low) / (plain.high - plain.low))
    assert widths[0] > 1.4
    assert widths[1] < 1.2
