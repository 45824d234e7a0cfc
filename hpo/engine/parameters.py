"""How the dimensions of a space look to Optuna: the one place where values become parameters and back.

A value travels as a value, never as text. An ordered choice is an integer to Optuna, the position among its choices,
so that samplers can reason along the order; its parameter is named so (`model.hidden_size[index]`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.engine.joint.coordinates import Conditions
from search_spaces import ChoiceDimension, Dimension, FloatDimension, IntegerDimension, Value

INDEX_SUFFIX = "[index]"
"""Ends the name of a parameter that holds a position among ordered choices."""


def parameter_name(dimension: Dimension) -> str:
    """The name of a dimension's Optuna parameter."""
    return f"{dimension.name}{INDEX_SUFFIX}" if _is_ordered(dimension) else dimension.name


def distributions(
    dimensions: Iterable[Dimension], around: Mapping[str, Value] | None = None, width: float = 1.0
) -> dict[str, BaseDistribution]:
    """Parameter name -> Optuna distribution of every dimension.

    around: dotted values of an incumbent; the ranges are then narrowed to width (0..1], a share of each full range,
    centred on it and clipped to the full range. Whole numbers and ordered choices keep at least one step to either
    side; unordered choices keep all, as none is nearer than another, and so does a dimension that the incumbent lacks.
    """
    found: dict[str, BaseDistribution] = {}
    for dimension in dimensions:
        centre = None if around is None else around.get(dimension.name)
        found[parameter_name(dimension)] = _distribution(dimension, centre, width)
    return found


def conditions(dimensions: Sequence[Dimension]) -> Conditions:
    """Where the parameters of conditional dimensions exist, as far as it depends on dimensions among these."""
    by_name = {dimension.name: dimension for dimension in dimensions}
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for dimension in dimensions:
        for condition in dimension.when:
            parent = by_name.get(condition.parent)
            if parent is not None:
                values = (to_params([parent], {parent.name: value}) for value in condition.values)
                allowed = tuple(params[parameter_name(parent)] for params in values)
                found.setdefault(parameter_name(dimension), {})[parameter_name(parent)] = allowed
    return found


def to_values(dimensions: Iterable[Dimension], params: Mapping[str, Any]) -> dict[str, Value]:
    """Dotted setting -> value, from the parameters of an Optuna trial. KeyError if one is missing that exists
    everywhere; of the conditional ones a trial has those that exist in it."""
    values: dict[str, Value] = {}
    for dimension in dimensions:
        if dimension.when and parameter_name(dimension) not in params:
            continue
        value = params[parameter_name(dimension)]
        if isinstance(dimension, ChoiceDimension) and dimension.ordered:
            value = dimension.choices[value]
        values[dimension.name] = value
    return values


def to_params(dimensions: Iterable[Dimension], values: Mapping[str, Value]) -> dict[str, Any]:
    """The inverse of `to_values`: Optuna parameters from dotted settings. ValueError if one is none of its choices."""
    params: dict[str, Any] = {}
    for dimension in dimensions:
        if dimension.when and dimension.name not in values:
            continue
        value: Any = values[dimension.name]
        if isinstance(dimension, ChoiceDimension):
            index = dimension.index(value)
            value = index if dimension.ordered else dimension.choices[index]
        params[parameter_name(dimension)] = value
    return params


def _is_ordered(dimension: Dimension) -> bool:
    return isinstance(dimension, ChoiceDimension) and dimension.ordered


def _distribution(dimension: Dimension, centre: Value | None, width: float) -> BaseDistribution:
    if isinstance(dimension, FloatDimension):
        low, high = _narrowed(dimension.low, dimension.high, dimension.log, centre, width)
        if dimension.step is None:
            return FloatDistribution(low, high, log=dimension.log)
        first, last = _steps_within(dimension.low, dimension.high, dimension.step, low, high, centre)
        low, high = (_grid_point(dimension.low, dimension.step, n) for n in (first, last))
        return FloatDistribution(low, high, step=dimension.step)
    if isinstance(dimension, IntegerDimension):
        low, high = _narrowed(dimension.low, dimension.high, dimension.log, centre, width)
        first, last = _steps_within(dimension.low, dimension.high, dimension.step, low, high, centre)
        start = dimension.low + first * dimension.step
        return IntDistribution(start, dimension.low + last * dimension.step, log=dimension.log, step=dimension.step)
    if not dimension.ordered:
        return CategoricalDistribution(dimension.choices)
    position = None if centre is None else dimension.index(centre)
    end = len(dimension.choices) - 1
    low, high = _narrowed(0, end, False, position, width)
    return IntDistribution(*_steps_within(0, end, 1, low, high, position))


def _narrowed(low: float, high: float, log: bool, centre: Any, width: float) -> tuple[float, float]:
    """The part of [low, high] within width / 2 of centre, as a share of the (logarithmic) range."""
    if centre is None or width >= 1:
        return low, high
    if log:
        start, end = _narrowed(math.log(low), math.log(high), False, math.log(centre), width)
        return max(low, math.exp(start)), min(high, math.exp(end))
    reach = width * (high - low) / 2
    return max(low, centre - reach), min(high, centre + reach)


def _steps_within(origin: float, end: float, step: float, low: float, high: float, centre: Any) -> tuple[int, int]:
    """First and last step n with origin + n * step in [low, high], widened to the neighbours of centre."""
    first, last = math.ceil((low - origin) / step - 1e-9), math.floor((high - origin) / step + 1e-9)
    if centre is not None:
        here = round((centre - origin) / step)
        first, last = min(first, here - 1), max(last, here + 1)
    return max(first, 0), min(last, round((end - origin) / step))


def _grid_point(low: float, step: float, n: int) -> float:
    """low + n * step in decimal, as it is written: 3 steps of 0.1 are 0.3, which is how Optuna counts them too."""
    return float(Decimal(str(low)) + n * Decimal(str(step)))
