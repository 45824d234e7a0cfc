"""The unit cube the joint model thinks in: Optuna's parameters as coordinates on [0, 1], and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

Array = NDArray[np.float64]

MAX_LEVELS = 24
"""An axis with more values than this is treated as continuous, and rounded."""

MAX_HEAD = 1000
"""The same for an axis that others depend on."""

GRID = 11
"""Points at which a continuous axis is looked at."""

GRID_JITTER = 0.05
"""Standard deviation by which these points are moved, so that no value is out of reach."""


Conditions = Mapping[str, Mapping[str, Sequence[Any]]]
"""Parameter -> parameter -> values: the first exists in a trial where each of the others has one of these."""


@dataclass(frozen=True)
class Axis:
    """One parameter. levels: its possible coordinates, None where it is continuous; unordered: no level is nearer to
    another than to a third, and a coordinate is a position divided by their number."""

    name: str
    distribution: BaseDistribution
    levels: Array | None
    unordered: bool

    def encode(self, value: Any) -> float:
        """The coordinate of a value, clipped to [0, 1]; NaN for one that is none of the choices."""
        if self.unordered:
            try:
                return self.distribution.to_internal_repr(value) / _num_choices(self.distribution)
            except ValueError:
                return math.nan
        low, high = self._span
        return min(1.0, max(0.0, (_scaled(self.distribution, value) - low) / (high - low)))

    def decode(self, coordinate: float) -> Any:
        """The nearest value that the distribution allows."""
        if self.unordered:
            num_choices = _num_choices(self.distribution)
            return self.distribution.to_external_repr(min(num_choices - 1, int(coordinate * num_choices + 1e-9)))
        low, high = _ends(self.distribution)
        start, end = self._span
        here = start + coordinate * (end - start)
        value = math.exp(here) if _is_log(self.distribution) else here
        step = _step(self.distribution)
        if step is not None:
            value = low + step * round((value - low) / step)
        value = min(high, max(low, value))
        return round(value) if isinstance(self.distribution, IntDistribution) else float(value)

    @cached_property
    def _span(self) -> tuple[float, float]:
        """Both ends, on the scale that is searched."""
        low, high = _ends(self.distribution)
        return _scaled(self.distribution, low), _scaled(self.distribution, high)

    def points(self, rng: np.random.Generator) -> Array:
        """Coordinates to look at along this axis."""
        if self.levels is not None:
            return self.levels
        grid = np.linspace(0.0, 1.0, GRID) + rng.normal(0.0, GRID_JITTER, GRID)
        return np.array(np.clip(grid, 0.0, 1.0))


@dataclass(frozen=True)
class Coordinates:
    """All axes, in the order of their names. conditions: where axes exist, by name; a point is NaN along those that do
    not exist in it."""

    axes: tuple[Axis, ...]
    conditions: Conditions = field(default_factory=dict)

    @classmethod
    def of(cls, distributions: Mapping[str, BaseDistribution], conditions: Conditions | None = None) -> Coordinates:
        """Axes of all parameters that have more than one value. What conditions say of other parameters is passed
        over. ValueError where one depends on a parameter that has no single values."""
        names = [name for name in sorted(distributions) if not distributions[name].single()]
        known = {
            name: {parent: values for parent, values in parents.items() if parent in names}
            for name, parents in (conditions or {}).items()
            if name in names
        }
        found = {name: parents for name, parents in known.items() if parents}
        heads = {parent for parents in found.values() for parent in parents}
        axes = tuple(_axis(name, distributions[name], MAX_HEAD if name in heads else MAX_LEVELS) for name in names)
        for axis in axes:
            if axis.name in heads and axis.levels is None:
                raise ValueError(
                    f"Others exist under values of '{axis.name}', which must be a choice of at most {MAX_HEAD}."
                )
        return cls(axes, found)

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """Axes on whose place it depends whether others exist, each after those that it depends on itself."""
        waiting = sorted({self._position[parent] for parents in self.conditions.values() for parent in parents})
        found: list[int] = []
        while waiting:
            ready = [n for n in waiting if not set(self._parents(n)) & set(waiting)] or waiting
            found += ready
            waiting = [n for n in waiting if n not in ready]
        return tuple(found)

    def completed(self, point: Array, filling: Array) -> Array:
        """The point with the filling's coordinate along axes that exist in it and have none, and NaN along those that
        do not exist."""
        whole = np.where(np.isnan(point), filling, point)
        tails = (n for n in range(len(self.axes)) if n not in self.heads)
        for n in (*self.heads, *tails) if self.conditions else ():
            if not all(self._is_among(whole, parent, values) for parent, values in self._parents(n).items()):
                whole[n] = np.nan
        return whole

    def _is_among(self, point: Array, n: int, values: Sequence[Any]) -> bool:
        return not np.isnan(point[n]) and self.axes[n].decode(float(point[n])) in values

    def _parents(self, n: int) -> dict[int, Sequence[Any]]:
        parents = self.conditions.get(self.axes[n].name, {})
        return {self._position[parent]: values for parent, values in parents.items()}

    @cached_property
    def _position(self) -> Mapping[str, int]:
        return {axis.name: n for n, axis in enumerate(self.axes)}

    @property
    def unordered(self) -> NDArray[np.bool_]:
        return np.array([axis.unordered for axis in self.axes], dtype=bool)

    def encode(self, params: Mapping[str, Any]) -> Array:
        """[axes]; NaN for a parameter that is not there, as under a condition that does not hold."""
        return np.array([axis.encode(params[axis.name]) if axis.name in params else math.nan for axis in self.axes])

    def encode_all(self, trials: Iterable[FrozenTrial]) -> Array:
        """[trials, axes]."""
        rows = [self.encode(trial.params) for trial in trials]
        return np.array(rows).reshape(len(rows), len(self.axes))

    def decode(self, point: Array) -> dict[str, Any]:
        """Parameter -> value of a point; none where it is NaN."""
        return {
            axis.name: axis.decode(float(here))
            for axis, here in zip(self.axes, point, strict=True)
            if not math.isnan(here)
        }


def _axis(name: str, distribution: BaseDistribution, max_levels: int) -> Axis:
    if isinstance(distribution, CategoricalDistribution):
        num_choices = _num_choices(distribution)
        return Axis(name, distribution, np.arange(num_choices) / num_choices, unordered=True)
    axis = Axis(name, distribution, None, unordered=False)
    low, high = _ends(distribution)
    step = _step(distribution)
    if step is None or (high - low) / step + 1 > max_levels:
        return axis
    values = [low + step * n for n in range(round((high - low) / step) + 1)]
    return Axis(name, distribution, np.array([axis.encode(value) for value in values]), unordered=False)


def _num_choices(distribution: BaseDistribution) -> int:
    assert isinstance(distribution, CategoricalDistribution)
    return len(distribution.choices)


def _ends(distribution: BaseDistribution) -> tuple[float, float]:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low, distribution.high


def _step(distribution: BaseDistribution) -> float | None:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.step


def _is_log(distribution: BaseDistribution) -> bool:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.log


def _scaled(distribution: BaseDistribution, value: float) -> float:
    return math.log(value) if _is_log(distribution) else float(value)
