"""The one place where spaces, Optuna's distributions and the trainer's configuration are translated into each other.

A value travels as a value, never as text. An ordered choice is an integer to Optuna, the position among its choices,
so that samplers can reason along the order; its parameter is named so (`model.hidden_size[index]`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ValidationError

from hpo.errors import UsageError, nearest
from search_spaces import ChoiceDimension, Dimension, FloatDimension, IntegerDimension, Space, SpaceError, Value
from trainer.config import MODEL_KNOBS, TrainerConfig

INDEX_SUFFIX = "[index]"
"""Ends the name of a parameter that holds a position among ordered choices."""


def bind(base: TrainerConfig, values: Mapping[str, Value]) -> TrainerConfig:
    """base with every dotted setting of values in place, validated as a whole.

    Raises:
        UsageError: a setting the trainer does not have, or a value it refuses.
    """
    tree = base.model_dump()
    for name, value in values.items():
        _put(tree, name, value)
    try:
        return TrainerConfig.model_validate(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        given = f" (given {problem['input']!r})" if place in values else ""
        raise UsageError(f"{place}: {text}{given}." if place in values else f"{text}.") from None


def settings_of(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Dotted setting -> value of everything a configuration holds."""
    settings: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            settings.update(settings_of(value, f"{prefix}{name}."))
        else:
            settings[f"{prefix}{name}"] = value
    return settings


def parameter_name(dimension: Dimension) -> str:
    """The name of a dimension's Optuna parameter."""
    return f"{dimension.name}{INDEX_SUFFIX}" if _is_ordered(dimension) else dimension.name


def distributions(
    dimensions: Iterable[Dimension], around: Mapping[str, Value] | None = None, width: float = 1.0
) -> dict[str, BaseDistribution]:
    """Parameter name -> Optuna distribution of every dimension.

    around: dotted values of an incumbent; the ranges are then narrowed to width (0..1], a share of each full range,
    centred on it and clipped to the full range. Whole numbers and ordered choices keep at least one step to either
    side; unordered choices keep all, as none is nearer than another.
    """
    found: dict[str, BaseDistribution] = {}
    for dimension in dimensions:
        centre = None if around is None else around[dimension.name]
        found[parameter_name(dimension)] = _distribution(dimension, centre, width)
    return found


def to_values(dimensions: Iterable[Dimension], params: Mapping[str, Any]) -> dict[str, Value]:
    """Dotted setting -> value, from the parameters of an Optuna trial. KeyError if one is missing."""
    values: dict[str, Value] = {}
    for dimension in dimensions:
        value = params[parameter_name(dimension)]
        if isinstance(dimension, ChoiceDimension) and dimension.ordered:
            value = dimension.choices[value]
        values[dimension.name] = value
    return values


def to_params(dimensions: Iterable[Dimension], values: Mapping[str, Value]) -> dict[str, Any]:
    """The inverse of `to_values`: Optuna parameters from dotted settings. ValueError if one is none of its choices."""
    params: dict[str, Any] = {}
    for dimension in dimensions:
        value: Any = values[dimension.name]
        if isinstance(dimension, ChoiceDimension):
            index = dimension.index(value)
            value = index if dimension.ordered else dimension.choices[index]
        params[parameter_name(dimension)] = value
    return params


def check_turns(space: Space, base: TrainerConfig) -> None:
    """Refuse a space with a dimension that turns nothing, or that the trainer would refuse half-way through.

    base: the trainer's settings as the campaign holds them, the space's own settings included.

    Raises:
        UsageError: naming the dimension that does not exist, changes nothing, does not apply to the model, or makes
            the configuration invalid somewhere in its range.
    """
    try:
        space.check_heads(settings_of(base))
    except SpaceError as error:
        raise UsageError(f"space '{space.name}': {error}.") from None
    try:
        start = bind(base, space.defaults())
    except UsageError as error:
        raise UsageError(f"space '{space.name}', its defaults: {error}") from None
    knobs = MODEL_KNOBS[start.model.kind]
    for dimension in space.dimensions:
        section, _, field = dimension.name.partition(".")
        if section == "model" and field != "kind" and field not in knobs:
            raise UsageError(
                f"space '{space.name}': the dimension {dimension.name} turns nothing in the model "
                f"'{start.model.kind}', which reads {', '.join(sorted(knobs))}; remove it or choose another model."
            )
        probes = _probes(dimension)
        seen = []
        for value in probes:
            try:
                seen.append(bind(start, {dimension.name: value}))
            except UsageError as error:
                raise UsageError(f"space '{space.name}', dimension {dimension.name} at {value!r}: {error}") from None
        if any(config == other for i, config in enumerate(seen) for other in seen[:i]):
            raise UsageError(
                f"space '{space.name}': the dimension {dimension.name} changes nothing between {probes[0]!r} and "
                f"{probes[-1]!r}; remove it from the space."
            )


def _put(tree: dict[str, Any], name: str, value: Value) -> None:
    *sections, field = name.split(".")
    place: Any = tree
    for section in sections:
        place = place.get(section) if isinstance(place, dict) else None
    if not isinstance(place, dict) or field not in place or isinstance(place[field], dict):
        known = settings_of(TrainerConfig())
        raise UsageError(f"Unknown trainer setting '{name}'.{nearest(name, known)}")
    place[field] = value


def _is_ordered(dimension: Dimension) -> bool:
    return isinstance(dimension, ChoiceDimension) and dimension.ordered


def _distribution(dimension: Dimension, centre: Value | None, width: float) -> BaseDistribution:
    if isinstance(dimension, FloatDimension):
        low, high = _narrowed(dimension.low, dimension.high, dimension.log, centre, width)
        if dimension.step is None:
            return FloatDistribution(low, high, log=dimension.log)
        first, last = _steps_within(dimension.low, dimension.high, dimension.step, low, high, centre)
        grid = [dimension.low + n * dimension.step for n in (first, last)]
        return FloatDistribution(grid[0], min(grid[1], dimension.high), step=dimension.step)
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


def _probes(dimension: Dimension) -> Sequence[Value]:
    """Values at which the configuration must be valid and different: both ends and an uneven one between, or all
    choices."""
    if isinstance(dimension, ChoiceDimension):
        return dimension.choices
    if isinstance(dimension, IntegerDimension):
        return tuple(dict.fromkeys((dimension.low, dimension.values[len(dimension.values) // 2], dimension.high)))
    between = dimension.low + (dimension.high - dimension.low) / math.pi
    return (dimension.low, between, dimension.high)
