"""Runs the search on markets without any signal, and counts how often it says so.

    nice -n 15 python -m benchmarks.null --markets 200
    nice -n 15 python -m benchmarks.null --markets 4 --space quickstart --trials 6

Every market is another random walk, its file of another shape and form in turn. A campaign is the product's own path,
from the file to the verdict, with the stores in memory and the trainings in this process. `ridge` is a space of this
benchmark, one penalty; any other name is one of the catalog.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import statistics
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from benchmarks.null.campaigns import Outcome, run
from benchmarks.null.markets import FORMS, SHAPES


def line(number: int, shape: str, form: str, outcome: Outcome, seconds: float) -> str:
    """One market."""
    return (
        f"{number:4d}  {shape:20}  {form:8}  {outcome.finding:15}  validation {outcome.validation:+.4f}  "
        f"holdout {outcome.holdout:+.4f}  {seconds:5.1f} s"
    )


def summary(outcomes: list[Outcome]) -> str:
    """How often nothing was found, and where the scores lie."""
    counts = Counter(outcome.finding for outcome in outcomes)
    quiet = sum(outcome.is_nothing for outcome in outcomes)
    parts = [
        f"{quiet} of {len(outcomes)} deploy nothing ({', '.join(f'{n} {kind}' for kind, n in counts.most_common())})"
    ]
    for name in ("default", "validation", "holdout"):
        values = [getattr(outcome, name) for outcome in outcomes]
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        parts.append(f"{name} {statistics.fmean(values):+.4f} +- {error:.4f}")
    return "; ".join(parts)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markets", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first market")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--space", default="ridge")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    kinds = list(itertools.product(SHAPES, FORMS))
    outcomes = []
    for seed in range(options.first, options.first + options.markets):
        shape, form = kinds[seed % len(kinds)]
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(run(seed, shape, form, options.space, options.trials, Path(folder)))
        print(line(seed, shape, form, outcomes[-1], time.monotonic() - began), flush=True)
    print(summary(outcomes))


if __name__ == "__main__":
    main()
