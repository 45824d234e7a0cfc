"""What a trial can be judged by: the one place that says what a metric is called and how it is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hpo.domain.errors import UsageError, nearest


@dataclass(frozen=True)
class Metric:
    """Declared by a trainable; everybody else asks.

    An epoch's scalar is `valid/<name>`, its series `<name>`. label: for people; empty: the name. direction: a metric
    that is minimised is recorded with its sign turned, so that a higher score is always better. overlap: neighbouring
    units that share information (labels over five days: 5). no_skill: the value of a model that knows nothing, None
    where there is no such value and only the default configuration can be compared with. horizon: how many units ahead
    the labels look, None for all of the trainable's horizons together, or where there are none. headline: whether
    comparisons and pictures show it beside the objective.
    """

    name: str
    label: str = ""
    direction: Literal["maximize", "minimize"] = "maximize"
    overlap: int = 1
    no_skill: float | None = None
    horizon: int | None = None
    headline: bool = True

    @property
    def shown(self) -> str:
        """The label as scores are shown under it."""
        label = self.label or self.name
        return label if self.direction == "maximize" else f"minus {label}"

    @property
    def scalar(self) -> str:
        """Its name among an epoch's metrics, with the sign it has by itself."""
        return f"valid/{self.name}"


def in_common(first: Sequence[Metric], second: Sequence[Metric]) -> list[Metric]:
    """Metrics that mean the same to two trainings; one over all horizons only where these are the same."""
    same_horizons = {metric.horizon for metric in first} == {metric.horizon for metric in second}
    return [metric for metric in first if metric in second and (same_horizons or metric.horizon is not None)]


def check_objective(objective: str, trainable: str, metrics: Sequence[Metric]) -> None:
    """Raise UsageError where the objective is none of the trainable's metrics."""
    names = [metric.name for metric in metrics]
    if objective not in names:
        raise UsageError(
            f"objective={objective}: '{trainable}' has no such metric, but {', '.join(names)}."
            f"{nearest(str(objective), names)}"
        )
