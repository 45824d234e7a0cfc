"""Binds sampled values to the trainable's settings, and refuses a space that it cannot take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from hpo.domain.errors import UsageError, nearest
from hpo.domain.settings import flatten
from hpo.domain.trainable import Trainable
from search_spaces import ChoiceDimension, Dimension, IntegerDimension, Space, Value

Settings = Mapping[str, Any]
"""A trainable's settings as plain JSON, complete."""


def complete(trainable: Trainable[Any], settings: Settings) -> dict[str, Any]:
    """settings over the trainable's defaults, validated as a whole.

    Raises:
        UsageError: a value that the trainable refuses.
    """
    try:
        return trainable.plain(trainable.parse(settings))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        named = place and not isinstance(problem["input"], Mapping)
        raise UsageError(f"{place}: {text} (given {problem['input']!r})." if named else f"{text}.") from None


def bind(trainable: Trainable[Any], base: Settings, values: Mapping[str, Value]) -> dict[str, Any]:
    """base with every dotted setting of values in place, validated as a whole.

    Raises:
        UsageError: a setting the trainable does not have, or a value it refuses.
    """
    tree = complete(trainable, base)
    for name in sorted(values, key=lambda name: name not in trainable.brings):
        _put(tree, name, values[name])
        if name in trainable.brings:
            tree = complete(trainable, tree)
    return complete(trainable, tree)


def derived(trainable: Trainable[Any], **sources: Value) -> dict[str, Value]:
    """Dotted setting -> value of the settings that follow the sources given: `seed`, `objective`."""
    return {name: sources[source] for name, source in trainable.follows.items() if source in sources}


def check_turns(trainable: Trainable[Any], space: Space, base: Settings) -> None:
    """Refuse a space with a dimension that has no effect, or that the trainable would refuse half-way through.

    base: the settings as the campaign holds them, the space's own included.

    Raises:
        UsageError: naming the dimension that does not exist, is shared by all trials, has no effect, or makes the
            settings invalid somewhere in its range.
    """
    try:
        start = bind(trainable, base, space.defaults())
        trainable.check_space(space, trainable.parse(start))
    except UsageError as error:
        raise UsageError(f"space '{space.name}', its defaults: {error}") from None
    for dimension in space.dimensions:
        _refuse_shared(trainable, space, dimension)
        seen = []
        for value in _probes(dimension):
            try:
                seen.append(bind(trainable, start, {dimension.name: value}))
            except UsageError as error:
                raise UsageError(f"space '{space.name}', dimension {dimension.name} at {value!r}: {error}") from None
        if any(config == other for i, config in enumerate(seen) for other in seen[:i]):
            raise UsageError(f"space '{space.name}': {_said(dimension)} changes nothing; remove it from the space.")
        if not _has_effect(trainable, space, dimension, start):
            raise UsageError(
                f"space '{space.name}': {_said(dimension)} has no effect, because nothing reads it with the other "
                "settings as they are; remove it from the space, or set what makes use of it."
            )


def _said(dimension: Dimension) -> str:
    first, *_, last = _probes(dimension)
    return f"the dimension {dimension.name} between {first!r} and {last!r}"


def _refuse_shared(trainable: Trainable[Any], space: Space, dimension: Dimension) -> None:
    for shared in trainable.shared:
        if dimension.name == shared or (shared.endswith(".") and dimension.name.startswith(shared)):
            raise UsageError(
                f"space '{space.name}': the dimension {dimension.name} cannot be searched, because all trials of a "
                "campaign must share it to be comparable; remove it from the space and set it for the campaign."
            )


def _has_effect(trainable: Trainable[Any], space: Space, dimension: Dimension, start: Settings) -> bool:
    """Whether the training differs somewhere along the dimension, with the other dimensions at their defaults or with
    one of them elsewhere in its range."""
    probes = _probes(dimension)
    for settings in _surroundings(trainable, space, dimension, start):
        read = []
        for value in probes:
            try:
                read.append(trainable.effective(trainable.parse(bind(trainable, settings, {dimension.name: value}))))
            except UsageError:
                break  # the two do not go together here
        if any(other != read[0] for other in read[1:]):
            return True
    return False


def _surroundings(trainable: Trainable[Any], space: Space, dimension: Dimension, start: Settings) -> Iterator[Settings]:
    yield start
    for other in space.dimensions:
        if other.name == dimension.name:
            continue
        for value in _probes(other):
            try:
                yield bind(trainable, start, {other.name: value})
            except UsageError:
                continue  # said where that dimension's own turn comes


def _put(tree: dict[str, Any], name: str, value: Value) -> None:
    *sections, field = name.split(".")
    place: Any = tree
    for section in sections:
        place = place.get(section) if isinstance(place, dict) else None
    if not isinstance(place, dict) or field not in place or isinstance(place[field], dict):
        raise UsageError(f"Unknown trainer setting '{name}'.{nearest(name, flatten(tree))}")
    place[field] = value


def _probes(dimension: Dimension) -> Sequence[Value]:
    """Values at which the settings must be valid and different: both ends and an uneven one between, or all
    choices."""
    if isinstance(dimension, ChoiceDimension):
        return dimension.choices
    if isinstance(dimension, IntegerDimension):
        return tuple(dict.fromkeys((dimension.low, dimension.values[len(dimension.values) // 2], dimension.high)))
    between = dimension.low + (dimension.high - dimension.low) / math.pi
    return (dimension.low, between, dimension.high)
