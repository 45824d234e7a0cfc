"""Samplers by name, Optuna's and our own, each with defaults that suit a search of tens of noisy trials.

A sampler is built anew for every slot, with a seed of its own, so that a search that was killed proposes what the
undisturbed one would have proposed. What a sampler must remember therefore lies in the storage:

- tpe, gp, random read the finished trials and need nothing else (gp refits its kernel from scratch);
- joint reads all trials, and keeps with each the fitted parameters that the next fit starts from;
- cmaes keeps its distribution, nsgaii and nsgaiii their generations, in attributes of trials and study;
- qmc counts its sequence in an attribute of the study, grid keeps each trial's cell, brute_force reads the trials.

grid shuffles its cells, and a scrambled qmc its sequence, by seed: these two are given the study's seed instead of
the slot's, or every slot would deal from another deck.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType, ModuleType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo.domain.config import SamplerConfig
from hpo.domain.errors import UsageError, nearest
from hpo.engine import joint
from hpo.engine.joint.coordinates import Conditions
from hpo.engine.tiers import MEMORY, is_result

NESTED = ("base_sampler", "independent_sampler")
"""Options that take another sampler: `{name: ..., options: {...}}`."""

MAX_CELLS = 100_000
"""Most values of a dimension, and cells of a grid, that a sampler which tries them all is given: it lists them."""

OBJECTS = ("Callable", "Crossover", "Mutation", "FrozenTrial")
"""An option whose type names one of these takes a Python object, which a configuration cannot hold."""


@dataclass(frozen=True)
class Row:
    """One sampler. cls: its class in home. defaults: our options where they differ from the class's.

    deck: draws from one shuffled deck, so that its seed is the study's. stops: asks the study to stop when it has
    tried everything, which only `Study.optimize` can do; the budget decides here.
    """

    cls: str
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    deck: bool = False
    stops: bool = False
    home: ModuleType = optuna.samplers


SAMPLERS: Mapping[str, Row] = MappingProxyType(
    {
        "joint": Row("JointSampler", {"is_result": is_result}, home=joint),
        # Ten start-up trials, Optuna's default, are half of a budget of twenty.
        "tpe": Row("TPESampler", {"n_startup_trials": 3}),
        "random": Row("RandomSampler"),
        # Its warnings concern the first trial after a change of ranges, which is none of the user's doing.
        "gp": Row("GPSampler", {"n_startup_trials": 3, "warn_independent_sampling": False}),
        "cmaes": Row("CmaEsSampler", {"n_startup_trials": 1, "warn_independent_sampling": False}),
        # A population of fifty, Optuna's default, would leave a tier's every trial random.
        "nsgaii": Row("NSGAIISampler", {"population_size": 6}),
        "nsgaiii": Row("NSGAIIISampler", {"population_size": 6}),
        "qmc": Row("QMCSampler", {"scramble": True, "warn_independent_sampling": False}, deck=True),
        "grid": Row("GridSampler", deck=True, stops=True),
        "brute_force": Row("BruteForceSampler", stops=True),
        "partial_fixed": Row("PartialFixedSampler", {"base_sampler": {"name": "tpe"}}),
    }
)


def build_sampler(
    config: SamplerConfig,
    *,
    seed: int,
    study_seed: int,
    distributions: Mapping[str, BaseDistribution],
    budget: int | None = None,
    earlier: Sequence[FrozenTrial] = (),
    conditions: Conditions | None = None,
) -> BaseSampler:
    """A fresh sampler for one slot.

    seed: the slot's; study_seed: the study's, for those that deal from one deck; distributions: what will be asked
    for, needed by grid and brute_force, which refuse a dimension without end; budget: trials that the study will have,
    where that is known; earlier: trials of an earlier search, for samplers that take a belief from them; conditions:
    where parameters exist that do not exist in every trial. A sampler is asked for nothing else, whatever it makes of
    them.

    Raises:
        UsageError: an unknown sampler or option, an option the class refuses, an endless dimension.
    """
    row = _row(config.name)
    cls = getattr(row.home, row.cls)
    known = inspect.signature(cls).parameters
    _check_options(config, known)
    options = {**row.defaults, **config.options}
    for name in NESTED:
        if name in options:
            nested = _nested(config.name, name, options[name])
            options[name] = build_sampler(
                nested,
                seed=seed,
                study_seed=study_seed,
                distributions=distributions,
                budget=budget,
                earlier=earlier,
                conditions=conditions,
            )
    if "seed" in known:
        options.setdefault("seed", study_seed if row.deck else seed)
    if "budget" in known:
        options.setdefault("budget", budget)
    if "earlier" in known:
        options["earlier"] = earlier
    if "conditions" in known:
        options["conditions"] = conditions
    if config.name == "grid" and conditions:
        raise UsageError(
            f"The sampler 'grid' deals out every value of {next(iter(conditions))}, also in trials where it does not "
            "exist; choose brute_force, which goes by conditions, or take the conditions out of the space."
        )
    if row.stops:
        _refuse_endless(config, distributions)
    if config.name == "grid":
        options["search_space"] = _grid(config.options.get("search_space", {}), distributions)
    try:
        sampler: BaseSampler = cls(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"sampler.options of '{config.name}': {error}.") from None
    return _NeverStopping(sampler) if row.stops else sampler


def check_sampler(config: SamplerConfig, distributions: Mapping[str, BaseDistribution]) -> None:
    """Raise UsageError now for what would make `build_sampler` fail in every slot."""
    build_sampler(config, seed=0, study_seed=0, distributions=distributions)


def tell_unfit(study: Study, trial: optuna.Trial, excess: float) -> None:
    """Tell Optuna of a trial that was not started because it needs more memory than there is.

    excess: by which share of it. The trial gets the constraint `memory` and ends PRUNED without an epoch: among trials
    without a score, TPE looks at these alone, and ranks them by how far they violate their constraints.
    """
    if not trial.constraints:
        trial.set_constraint(MEMORY, excess)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Constraints have been set", UserWarning)  # by samplers that ignore them
        study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)


class _NeverStopping(BaseSampler):
    """Another sampler without its wish to end the study, an error outside `Study.optimize`."""

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Nothing: grid and brute force use this hook for stopping alone."""


def _row(name: str) -> Row:
    if name not in SAMPLERS:
        raise UsageError(f"Unknown sampler '{name}': there are {', '.join(SAMPLERS)}.{nearest(name, SAMPLERS)}")
    return SAMPLERS[name]


def _check_options(config: SamplerConfig, known: Mapping[str, inspect.Parameter]) -> None:
    for name in config.options:
        if name not in known:
            raise UsageError(
                f"Unknown option '{name}' of the sampler '{config.name}': it takes {', '.join(known)}."
                f"{nearest(name, known)}"
            )
        if any(word in str(known[name].annotation) for word in OBJECTS):
            raise UsageError(
                f"The option '{name}' of the sampler '{config.name}' takes a Python object and cannot be set in a "
                "configuration; leave it out."
            )


def _nested(sampler: str, option: str, value: object) -> SamplerConfig:
    if not isinstance(value, Mapping) or not set(value) <= {"name", "options"}:
        raise UsageError(
            f"The option '{option}' of the sampler '{sampler}' is another sampler, written as "
            "{name: random, options: {}}, not " + repr(value) + "."
        )
    return SamplerConfig.model_validate(dict(value))


def _refuse_endless(config: SamplerConfig, distributions: Mapping[str, BaseDistribution]) -> None:
    named = config.options.get("search_space", {})
    for name, distribution in distributions.items():
        if name in named or isinstance(distribution, CategoricalDistribution):
            continue
        endless = isinstance(distribution, FloatDistribution) and distribution.step is None
        if endless or _num_steps(distribution) > MAX_CELLS:
            remedy = (
                f"list its values in sampler.options.search_space.{name}"
                if config.name == "grid"
                else f"give the dimension a {'' if endless else 'larger '}step, or choose another sampler"
            )
            number = "endlessly many" if endless else f"more than {MAX_CELLS:,}"
            raise UsageError(f"The sampler '{config.name}' tries every value, but {name} has {number}; {remedy}.")


def _grid(named: Mapping[str, Sequence[Any]], distributions: Mapping[str, BaseDistribution]) -> dict[str, list[Any]]:
    """Parameter -> its values: those named by the user as far as they lie in range, else all there are."""
    grid: dict[str, list[Any]] = {}
    for name, distribution in distributions.items():
        wanted = named.get(name)
        values = _all_values(distribution) if wanted is None else list(wanted)
        inside = [value for value in values if distribution._contains(distribution.to_internal_repr(value))]
        if not inside:
            raise UsageError(f"sampler.options.search_space.{name}: none of {values} lies in {distribution}.")
        grid[name] = inside
    cells = math.prod(len(values) for values in grid.values())
    if cells > MAX_CELLS:
        raise UsageError(
            f"The sampler 'grid' would have {cells:,} cells, more than the {MAX_CELLS:,} it may have; list fewer "
            "values in sampler.options.search_space, or choose another sampler."
        )
    return grid


def _num_steps(distribution: Any) -> float:
    return float((distribution.high - distribution.low) / distribution.step)


def _all_values(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    assert distribution.step is not None
    low, high, step = (Decimal(str(value)) for value in (distribution.low, distribution.high, distribution.step))
    return [float(low + n * step) for n in range(int((high - low) / step) + 1)]
