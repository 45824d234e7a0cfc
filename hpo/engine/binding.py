"""Binds sampled values to the trainer's configuration, and refuses a space that it cannot take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from hpo.domain.errors import UsageError, nearest
from search_spaces import ChoiceDimension, Dimension, IntegerDimension, Space, SpaceError, Value
from trainer.config import MODEL_KNOBS, TrainerConfig, is_read

FIXED = ("data.", "model.window", "train.seed", "train.device", "train.threads", "train.monitor", "train.score_epochs")
"""Settings that all trials of a campaign share."""


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


def check_turns(space: Space, base: TrainerConfig) -> None:
    """Refuse a space with a dimension that turns nothing, or that the trainer would refuse half-way through.

    base: the trainer's settings as the campaign holds them, the space's own settings included.

    Raises:
        UsageError: naming the dimension that does not exist, changes nothing, does not apply to the model, or makes
            the configuration invalid somewhere in its range.
    """
    try:
        start = bind(base, space.defaults())
    except UsageError as error:
        raise UsageError(f"space '{space.name}', its defaults: {error}") from None
    knobs = MODEL_KNOBS[start.model.kind]
    if "num_heads" in knobs:
        try:
            space.check_heads(settings_of(base))
        except SpaceError as error:
            raise UsageError(f"space '{space.name}': {error}.") from None
    for dimension in space.dimensions:
        if not is_read(start.model.kind, dimension.name):
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


def _probes(dimension: Dimension) -> Sequence[Value]:
    """Values at which the configuration must be valid and different: both ends and an uneven one between, or all
    choices."""
    if isinstance(dimension, ChoiceDimension):
        return dimension.choices
    if isinstance(dimension, IntegerDimension):
        return tuple(dict.fromkeys((dimension.low, dimension.values[len(dimension.values) // 2], dimension.high)))
    between = dimension.low + (dimension.high - dimension.low) / math.pi
    return (dimension.low, between, dimension.high)
