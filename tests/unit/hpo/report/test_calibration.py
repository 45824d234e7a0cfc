"""The statistics on 200 simulated campaigns each: 20 trials' correlated daily RankIC with a known truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.report.statistics.deflation import deflated_score
from hpo.report.statistics.intervals import mean_interval, paired_interval, simultaneous_interval
from hpo.report.statistics.overfitting import backtest_overfitting

NUM_CAMPAIGNS, NUM_TRIALS, NUM_DAYS = 200, 20, 250
SPREAD = 0.1


@dataclass
class Tally:
    """Shares over the campaigns of one world; overfitting is NaN where the days are too few to halve."""

    overfitting: float
    false_alarms: float
    holdout_coverage: float
    gain_coverage: float
    naive_coverage: float
    adjusted_coverage: float


def simulate(
    trials: Callable[..., NDArray[np.float64]],
    gain: float,
    correlation: float,
    horizon: int,
    seed: int,
    num_days: int = NUM_DAYS,
) -> Tally:
    """Campaigns in which the last trial is truly better by gain and the others are worth nothing; the champion is the
    best on the validation days, and the holdout days are fresh."""
    rng = np.random.default_rng(seed)
    means = np.zeros(NUM_TRIALS)
    means[-1] = gain
    seen = []
    for _ in range(NUM_CAMPAIGNS):
        valid = trials(rng, num_days, means, correlation, horizon, SPREAD)
        held = trials(rng, num_days, means, correlation, horizon, SPREAD)
        champion = int(valid.mean(axis=0).argmax())
        default = 0 if champion else 1
        truth = means[champion]
        overfitting, deflated = backtest_overfitting(valid, horizon), deflated_score(valid, champion, horizon)
        holdout = mean_interval(held[:, champion], horizon)
        gained = paired_interval(held[:, champion], held[:, default], horizon)
        naive = mean_interval(valid[:, champion], horizon)
        adjusted = simultaneous_interval(valid, champion, horizon, num_draws=400)
        assert deflated
        assert holdout
        assert gained
        assert naive
        assert adjusted
        seen.append(
            (
                overfitting.probability if overfitting else np.nan,
                deflated.probability > 0.95,
                holdout.low <= truth <= holdout.high,
                gained.low <= truth - means[default] <= gained.high,
                naive.low <= truth <= naive.high,
                adjusted.low <= truth <= adjusted.high,
            )
        )
    return Tally(*np.array(seen, dtype=np.float64).mean(axis=0))


@pytest.mark.parametrize(("correlation", "horizon"), [(0.0, 1), (0.8, 1), (0.8, 5)])
def test_without_signal(trials_factory: Callable[..., NDArray[np.float64]], correlation: float, horizon: int) -> None:
    tally = simulate(trials_factory, 0.0, correlation, horizon, seed=11)
    assert 0.4 <= tally.overfitting <= 0.6
    assert tally.false_alarms <= 0.07
    assert 0.9 <= tally.holdout_coverage <= 0.98
    assert 0.9 <= tally.gain_coverage <= 0.98
    assert tally.adjusted_coverage >= 0.9
    if correlation == 0:
        assert tally.naive_coverage < 0.75  # why the adjusted interval is needed


@pytest.mark.parametrize("num_days", [60, 100, 250])
def test_long_labels_on_few_days(trials_factory: Callable[..., NDArray[np.float64]], num_days: int) -> None:
    """Of labels over 20 days a year holds twelve one after another, and a quarter holds three."""
    tally = simulate(trials_factory, 0.0, 0.8, 20, seed=14, num_days=num_days)
    assert tally.false_alarms <= 0.07
    assert tally.holdout_coverage >= 0.9
    assert tally.gain_coverage >= 0.9
    assert tally.adjusted_coverage >= 0.9
    if num_days == NUM_DAYS:
        assert 0.4 <= tally.overfitting <= 0.6


@pytest.mark.parametrize("horizon", [1, 5])
def test_with_one_truly_better_configuration(trials_factory: Callable[..., NDArray[np.float64]], horizon: int) -> None:
    gain = 0.03 * np.sqrt(horizon)
    tally = simulate(trials_factory, gain, 0.8, horizon, seed=13)
    assert tally.overfitting < 0.1
    assert tally.false_alarms > 0.9  # here an alarm is true
    assert 0.9 <= tally.holdout_coverage <= 0.98
    assert 0.9 <= tally.gain_coverage <= 0.98
    assert tally.adjusted_coverage >= 0.9
