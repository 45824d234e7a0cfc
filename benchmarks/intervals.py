"""How often the report's statistics find something in daily series without signal, whose labels overlap.

    python -m benchmarks.intervals
    python -m benchmarks.intervals --series 300

A series is the sum over its horizons of a moving average, as long as the horizon, of independent normal values: the
dependence that overlapping labels give. The first table asks `mean_interval` on one series, beside the mean and 1.96
errors of Newey & West (1987); the second asks `deflated_score` on the best of several series. Both should be wrong in
.05.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.report.statistics.deflation import deflated_score
from hpo.report.statistics.dependence import newey_west_error
from hpo.report.statistics.intervals import mean_interval

HORIZONS = ((5,), (20,), (1, 5, 10, 20))
DAYS = (60, 100, 190, 250, 380, 1000)
TRIALS, CORRELATIONS, SEARCH_DAYS = (6, 20), (0.3, 0.6, 0.9, 0.99), 100


def overlapping(rng: np.random.Generator, num_days: int, num_series: int, horizon: int) -> NDArray[np.float64]:
    """[num_days, num_series], unit variance, each day sharing horizon - 1 values with the next."""
    values = rng.standard_normal((num_days + horizon - 1, num_series))
    sums = np.vstack([np.zeros((1, num_series)), values.cumsum(axis=0)])
    averages: NDArray[np.float64] = (sums[horizon:] - sums[:-horizon]) / np.sqrt(horizon)
    return averages


def searched(
    rng: np.random.Generator, num_days: int, num_trials: int, correlation: float, horizons: Sequence[int]
) -> NDArray[np.float64]:
    """Daily series of trials that correlate, [num_days, num_trials]."""
    shared, own = np.sqrt(correlation), np.sqrt(1 - correlation)
    parts = [
        shared * overlapping(rng, num_days, 1, h) + own * overlapping(rng, num_days, num_trials, h) for h in horizons
    ]
    together: NDArray[np.float64] = np.sum(parts, axis=0)
    return together


@dataclass(frozen=True)
class Cell:
    """misses, reference_misses: shares of the series whose interval leaves zero out. width: mean width of the product's
    interval as a ratio to the reference's."""

    misses: float
    reference_misses: float
    width: float


def intervals(horizons: Sequence[int], num_days: int, num_series: int) -> Cell:
    """The product's interval beside Newey & West's."""
    longest = max(horizons)
    found = np.empty((num_series, 4))
    for number in range(num_series):
        rng = np.random.default_rng([number, num_days, *horizons])
        series = searched(rng, num_days, 1, 0.0, horizons)[:, 0]
        own = mean_interval(series, longest)
        assert own is not None, "there are enough days"
        reach = 1.96 * newey_west_error(series, longest)
        misses = own.above_zero or own.below_zero
        found[number] = misses, abs(series.mean()) > reach, own.high - own.low, 2 * reach
    missed, reference, width, reference_width = found.mean(axis=0)
    return Cell(missed, reference, width / reference_width)


def false_alarms(num_trials: int, correlation: float, num_searches: int) -> float:
    """Share of the searches whose best trial is called more than luck, RankIC over the last of HORIZONS."""
    number_false = 0
    for number in range(num_searches):
        rng = np.random.default_rng([number, num_trials, round(100 * correlation)])
        series = searched(rng, SEARCH_DAYS, num_trials, correlation, HORIZONS[-1])
        found = deflated_score(series, int(series.mean(axis=0).argmax()), max(HORIZONS[-1]))
        number_false += found is not None and found.probability >= 0.95
    return number_false / num_searches


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1500, help="series, and searches, a cell (default: 1500)")
    options = parser.parse_args()
    print("Intervals that miss zero; mean width as a ratio to Newey & West's.")
    print(f"{'horizons':<14}{'days':>5}{'product':>9}{'Newey & West':>14}{'width':>7}")
    for horizons in HORIZONS:
        for num_days in DAYS:
            cell = intervals(horizons, num_days, options.series)
            figures = f"{cell.misses:>9.3f}{cell.reference_misses:>14.3f}{cell.width:>7.2f}"
            print(f"{', '.join(map(str, horizons)):<14}{num_days:>5}{figures}", flush=True)
    print(f"\nBest trials called more than luck, {SEARCH_DAYS} days.")
    print(f"{'trials':<14}" + "".join(f"{f'correlation {c:g}':>20}" for c in CORRELATIONS))
    for num_trials in TRIALS:
        shares = [false_alarms(num_trials, correlation, options.series) for correlation in CORRELATIONS]
        print(f"{num_trials:<14}" + "".join(f"{share:>20.3f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
