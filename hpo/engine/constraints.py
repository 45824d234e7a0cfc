"""What a finished trial is worth by the space's constraints: measured, and by how much each is broken."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping, Sequence

import optuna

from hpo.domain.errors import UsageError, nearest
from hpo.domain.failures import INFEASIBLE
from hpo.domain.metric import Metric
from hpo.runs.entries import EpochRecord
from search_spaces import Constraint, Space

SIZE, SECONDS = "num_parameters", "seconds"
"""What every training has beside its metrics: weights that are learnt, and its time over all epochs."""


def check_constraints(space: Space, metrics: Sequence[Metric]) -> None:
    """Raise UsageError for a constraint on what is measured of no trial. A name with a slash, such as
    `system/memory_bytes`, is one of an epoch's own figures, of which only a training can tell."""
    known = [SIZE, SECONDS, *(metric.name for metric in metrics)]
    for constraint in space.constraints:
        if constraint.name not in known and "/" not in constraint.name:
            raise UsageError(
                f"space '{space.name}': the constraint '{constraint.name}' is on nothing that is measured; there are "
                f"{', '.join(known[:8])} and the other metrics.{nearest(constraint.name, known)}"
            )


def measured(
    constraint: Constraint,
    num_parameters: int | None,
    epochs: Sequence[EpochRecord],
    metrics: Sequence[Metric],
    score_epochs: int,
) -> float | None:
    """The constrained figure of a trial: a metric is the mean over the last score_epochs epochs, as the score is. None
    where the training did not report it."""
    if constraint.name == SIZE:
        return None if num_parameters is None else float(num_parameters)
    if constraint.name == SECONDS:
        return sum(epoch.seconds for epoch in epochs)
    metric = next((metric for metric in metrics if metric.name == constraint.name), None)
    name, sign = constraint.name, 1.0
    if metric is not None:
        name, sign = metric.scalar, -1.0 if metric.direction == "minimize" else 1.0  # recorded with its sign turned
    values = [epoch.metrics.get(name) for epoch in epochs[-score_epochs:]]
    known = [sign * value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def tell(trial: optuna.Trial, space: Space, figures: Mapping[str, float | None]) -> None:
    """Give Optuna's trial its violations, by which samplers that know of constraints keep away from the like. figures:
    by constraint."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Constraints have been set", UserWarning)  # by samplers that ignore them
        for constraint in space.constraints:
            value = figures.get(constraint.name)
            if value is not None and constraint.name not in trial.constraints:
                trial.set_constraint(constraint.name, constraint.violation(value))


def broken(space: Space, figures: Mapping[str, float | None]) -> str | None:
    """The reason of a trial whose figures break a constraint, None where they keep everything."""
    said = [
        f"{constraint.shown}, and it has {value:,.10g}"
        for constraint in space.constraints
        if (value := figures.get(constraint.name)) is not None and constraint.violation(value) > 0
    ]
    return f"{INFEASIBLE}: {'; '.join(said)}" if said else None
