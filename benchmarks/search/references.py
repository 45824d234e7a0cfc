"""What the search is compared with: Optuna's own samplers in a plain study, without tiers, pruning or our encoding."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler

from benchmarks.search.campaigns import Result
from benchmarks.search.surfaces import EPOCHS, SCORE_EPOCHS, SPACE, Surface
from hpo.domain.campaign import derive_seed
from hpo.engine.parameters import distributions, to_params, to_values
from search_spaces import ChoiceDimension


@dataclass(frozen=True)
class Reference:
    """A way of using Optuna. ordered: ordered choices as integers instead of categories."""

    sampler: Callable[[int], BaseSampler]
    default_first: bool = False
    ordered: bool = False


REFERENCES: Mapping[str, Reference] = MappingProxyType(
    {
        "random": Reference(lambda seed: RandomSampler(seed=seed)),
        "tpe": Reference(lambda seed: TPESampler(seed=seed)),
        "tpe, default first": Reference(lambda seed: TPESampler(seed=seed), default_first=True),
        "cmaes": Reference(lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False), ordered=True),
    }
)


def run_reference(reference: Reference, num_trials: int, seed: int, surface: Surface) -> Result:
    """A study of this many whole trainings; the one with the highest score is chosen."""
    dimensions = tuple(
        replace(d, ordered=False) if isinstance(d, ChoiceDimension) and not reference.ordered else d
        for d in SPACE.dimensions
    )
    within = distributions(dimensions)
    study = optuna.create_study(direction="maximize", sampler=reference.sampler(seed))
    if reference.default_first:
        study.enqueue_trial(to_params(dimensions, SPACE.defaults()))
    for number in range(num_trials):
        trial = study.ask(within)
        curve = surface.curve(to_values(dimensions, trial.params), derive_seed(seed, number))
        for epoch, score in enumerate(curve, start=1):
            trial.report(score, epoch)
        study.tell(trial, statistics.fmean(curve[-SCORE_EPOCHS:]))
    values = to_values(dimensions, study.best_params)
    gain = surface.level(values) - surface.level(SPACE.defaults())
    return Result(surface.regret(values), num_trials * EPOCHS, values == SPACE.defaults(), 0.0, 0.0, gain)
