"""Optuna's pruners by name, each with defaults that suit a dozen noisy epochs.

All are told the validation score after every epoch, steps counting from 1, and maximise it.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner

from hpo.domain.config import PrunerConfig
from hpo.domain.errors import UsageError, nearest

NESTED = "wrapped_pruner"
"""The option that takes another pruner: `{name: ..., options: {...}}`."""


@dataclass(frozen=True)
class Row:
    """One pruner. cls: attribute of `optuna.pruners`. defaults: our options from the number of epochs.

    chosen: an experimental class that is our own default, so that its warning would tell the user nothing.
    """

    cls: str
    defaults: Callable[[int], Mapping[str, Any]] = lambda epochs: {}
    chosen: bool = False


def _third(epochs: int) -> int:
    return max(1, math.ceil(epochs / 3))


PRUNERS: Mapping[str, Row] = MappingProxyType(
    {
        # Compares with the best trial epoch by epoch. Early epochs say little, the test is repeated after every one,
        # and the best trial is partly lucky: Optuna's 2 steps and 0.1 end every second trial that is as good as the
        # best, these a third. Six epochs all behind are the least that can end a trial.
        "wilcoxon": Row(
            "WilcoxonPruner",
            lambda epochs: {"n_startup_steps": max(6, _third(epochs)), "p_threshold": 0.02},
            chosen=True,
        ),
        # Optuna's own warm-up is none: a single noisy epoch would end a trial.
        "median": Row("MedianPruner", lambda epochs: {"n_startup_trials": 3, "n_warmup_steps": _third(epochs)}),
        "percentile": Row(
            "PercentilePruner",
            lambda epochs: {"percentile": 25.0, "n_startup_trials": 3, "n_warmup_steps": _third(epochs)},
        ),
        # Known beforehand, so that pruning need not wait for the first complete trial.
        "hyperband": Row("HyperbandPruner", lambda epochs: {"min_resource": _third(epochs), "max_resource": epochs}),
        "successive_halving": Row(
            "SuccessiveHalvingPruner", lambda epochs: {"min_resource": _third(epochs), "reduction_factor": 3}
        ),
        # A RankIC this far below zero after the warm-up has learnt the opposite.
        "threshold": Row("ThresholdPruner", lambda epochs: {"lower": -0.05, "n_warmup_steps": _third(epochs)}),
        "patient": Row("PatientPruner", lambda epochs: {"wrapped_pruner": {"name": "median"}, "patience": 2}),
        "nop": Row("NopPruner"),
    }
)


def build_pruner(config: PrunerConfig, num_epochs: int) -> BasePruner:
    """The pruner of a study whose trials train for num_epochs.

    Raises:
        UsageError: an unknown pruner or option, or an option the class refuses.
    """
    if config.name not in PRUNERS:
        raise UsageError(
            f"Unknown pruner '{config.name}': there are {', '.join(PRUNERS)}.{nearest(config.name, PRUNERS)}"
        )
    row = PRUNERS[config.name]
    cls = getattr(optuna.pruners, row.cls)
    known = inspect.signature(cls).parameters
    for name in config.options:
        if name not in known:
            raise UsageError(
                f"Unknown option '{name}' of the pruner '{config.name}': it takes {', '.join(known) or 'none'}."
                f"{nearest(name, known)}"
            )
    options = {**row.defaults(num_epochs), **config.options}
    if options.get(NESTED) is not None:
        options[NESTED] = build_pruner(_nested(config.name, options[NESTED]), num_epochs)
    try:
        with warnings.catch_warnings():
            if row.chosen:
                warnings.simplefilter("ignore", ExperimentalWarning)
            pruner: BasePruner = cls(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"pruner.options of '{config.name}': {error}.") from None
    return pruner


def _nested(pruner: str, value: object) -> PrunerConfig:
    if not isinstance(value, Mapping) or not set(value) <= {"name", "options"}:
        raise UsageError(
            f"The option '{NESTED}' of the pruner '{pruner}' is another pruner, written as "
            "{name: median, options: {}}, not " + repr(value) + "."
        )
    return PrunerConfig.model_validate(dict(value))
