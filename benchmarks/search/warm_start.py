"""What an earlier search is worth to the joint sampler, and what one that misleads costs.

    python -m benchmarks.search.warm_start --campaigns 60

Surfaces of six dimensions, concave, with an optimum and weights of their own; curves of ten epochs with noise of epochs
and seeds. An earlier study of 15 trials on the same surface (`right`), on its negative (`wrong`) or on another surface
(`other`), then one of 20 trials. Regret of the best configuration tried, in 1e-3, after so many trials, with its
standard error.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from hpo.engine.joint import JointSampler

DIMENSIONS, EPOCHS, TRIALS, EARLIER = 6, 10, 20, 15
BEST, NOISE = 0.05, 0.003
SHOWN = (2, 5, 10, 20)

Surface = Callable[[Sequence[float]], float]


def surface(seed: int) -> Surface:
    """A score for every point of the unit cube, BEST at its optimum."""
    rng = np.random.default_rng(seed)
    optimum, weights = rng.uniform(0.1, 0.9, DIMENSIONS), rng.exponential(1.0, DIMENSIONS)
    return lambda point: BEST - 0.36 * float(weights / weights.sum() @ (np.array(point) - optimum) ** 2)


def search(
    score: Surface, num_trials: int, seed: int, earlier: Sequence[FrozenTrial] = ()
) -> tuple[list[FrozenTrial], NDArray[np.float64]]:
    """A study's trials, and the true scores of what they tried."""
    study = optuna.create_study(direction="maximize")
    rng, truths = np.random.default_rng(seed), []
    for number in range(num_trials):
        study.sampler = JointSampler(seed=1000 * seed + number, budget=num_trials, earlier=earlier)
        trial = study.ask()
        truth = score([trial.suggest_float(f"x{n}", 0.0, 1.0) for n in range(DIMENSIONS)])
        luck = rng.normal(0.0, NOISE)
        curve = [truth * (1 - np.exp(-epoch / 2)) + luck + rng.normal(0.0, NOISE) for epoch in range(1, EPOCHS + 1)]
        for epoch, value in enumerate(curve, 1):
            trial.report(float(value), epoch)
        study.tell(trial, float(np.mean(curve[-3:])))
        truths.append(truth)
    return study.trials, np.array(truths)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=60)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    regrets: dict[str, list[list[float]]] = {"none": [], "right": [], "wrong": [], "other": []}
    for seed in range(options.campaigns):
        score, another = surface(seed), surface(seed + 10_000)
        earlier = {
            "none": (),
            "right": search(score, EARLIER, seed + 20_000)[0],
            "wrong": search(lambda point, score=score: BEST - score(point), EARLIER, seed + 30_000)[0],  # type: ignore[misc]
            "other": search(another, EARLIER, seed + 40_000)[0],
        }
        for name, trials in earlier.items():
            _, truths = search(score, TRIALS, seed, trials)
            regrets[name].append([1e3 * (BEST - truths[:number].max()) for number in SHOWN])
    print("| earlier search | " + " | ".join(f"{number} trials" for number in SHOWN) + " |")
    print("| --- " * (len(SHOWN) + 1) + "|")
    for name, rows in regrets.items():
        means, errors = np.mean(rows, axis=0), np.std(rows, axis=0) / np.sqrt(len(rows))
        print(f"| {name} | " + " | ".join(f"{m:.1f} ± {e:.1f}" for m, e in zip(means, errors, strict=True)) + " |")


if __name__ == "__main__":
    main()
