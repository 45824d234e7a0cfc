"""How samplers search two kinds of models at once, each with dimensions of its own.

    python -m benchmarks.search.conditional --campaigns 60

Surfaces of a network with six dimensions and of trees with four, one more in common; each kind has an optimum and
weights of its own; the best score of one kind is .01 above the other's, or both are equal. Curves of ten epochs with
noise of epochs and seeds. The first trial is the network's default, and the one with the highest score is chosen.
Regret of the chosen configuration in 1e-3, with its standard error, and the share of trials that were spent on the
worse kind.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from hpo.domain.campaign import derive_seed
from hpo.engine.joint import JointSampler

KINDS = ("network", "trees")
OWN: Mapping[str, int] = {"network": 6, "trees": 4}
BEST, GAP, NOISE, EPOCHS = 0.05, 0.01, 0.003, 10
WEIGHTS = 0.05 * np.array([1.0, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2])
"""Loss at the distance of a whole range along each dimension, the common one last."""

CONDITIONS = {f"{kind}.{n}": {"kind": (kind,)} for kind in KINDS for n in range(OWN[kind])}

METHODS: Mapping[str, Callable[[int, int], BaseSampler]] = {
    "random": lambda seed, budget: RandomSampler(seed=seed),
    "tpe": lambda seed, budget: TPESampler(seed=seed),
    "tpe, groups": lambda seed, budget: TPESampler(seed=seed, multivariate=True, group=True),
    "joint without conditions": lambda seed, budget: JointSampler(seed, budget),
    "joint": lambda seed, budget: JointSampler(seed, budget, conditions=CONDITIONS),
}


@dataclass(frozen=True)
class Surface:
    """One truth. best: by kind; optimum: of each kind's own dimensions and the common one."""

    best: Mapping[str, float]
    optimum: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, seed: int, gap: float) -> Surface:
        rng = np.random.default_rng(seed)
        better = KINDS[int(rng.integers(2))]
        optimum = {kind: np.clip(0.5 + rng.normal(0.0, 0.3, OWN[kind] + 1), 0.0, 1.0) for kind in KINDS}
        return cls({kind: BEST if kind == better else BEST - gap for kind in KINDS}, optimum)

    def regret(self, params: Mapping[str, float | str]) -> float:
        kind = str(params["kind"])
        point = np.array([float(params[f"{kind}.{n}"]) for n in range(OWN[kind])] + [float(params["common"])])
        weights = np.append(WEIGHTS[: OWN[kind]], WEIGHTS[-1])
        return max(self.best.values()) - self.best[kind] + float(weights @ (point - self.optimum[kind]) ** 2)

    def curve(self, params: Mapping[str, float | str], seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        level = BEST - self.regret(params) + rng.normal(0.0, NOISE)
        return level * (1.0 - np.exp(-np.arange(1, EPOCHS + 1) / 3.0)) + rng.normal(0.0, NOISE, EPOCHS)


def search(surface: Surface, method: str, num_trials: int, seed: int) -> tuple[float, float]:
    """Regret of what is chosen, and the share of trials spent on the kind that is worse."""
    study = optuna.create_study(direction="maximize")
    names = [f"network.{n}" for n in range(OWN["network"])]
    study.enqueue_trial({"kind": "network", **dict.fromkeys([*names, "common"], 0.5)})
    for number in range(num_trials):
        study.sampler = METHODS[method](derive_seed(seed, number, "sampler"), num_trials)
        trial = study.ask()
        kind = trial.suggest_categorical("kind", KINDS)
        for name in (*(f"{kind}.{n}" for n in range(OWN[kind])), "common"):
            trial.suggest_float(name, 0.0, 1.0)
        curve = surface.curve(trial.params, derive_seed(seed, number, "trainer"))
        for epoch, score in enumerate(curve, start=1):
            trial.report(float(score), epoch)
        study.tell(trial, float(curve[-3:].mean()))
    worse = min(surface.best, key=surface.best.__getitem__)
    wasted = [trial.params["kind"] == worse for trial in study.trials]
    return surface.regret(study.best_params), float(np.mean(wasted))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=60)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", default=";".join(METHODS), help="separated by semicolons (default: all)")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    seeds = range(options.first_seed, options.first_seed + options.campaigns)
    print(f"| {options.trials} trials | regret, kinds alike | regret, one is .01 better | spent on the worse |")
    print("| --- | --- | --- | --- |")
    for method in options.methods.split(";"):
        cells = []
        for gap in (0.0, GAP):
            found = np.array([search(Surface.of(seed, gap), method, options.trials, seed) for seed in seeds])
            regrets = 1e3 * found[:, 0]
            cells.append(f"{regrets.mean():.1f} ± {regrets.std() / np.sqrt(len(regrets)):.1f}")
        print(f"| {method} | {' | '.join(cells)} | {100 * found[:, 1].mean():.0f} % |", flush=True)


if __name__ == "__main__":
    main()
