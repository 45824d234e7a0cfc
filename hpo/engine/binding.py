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
        for branch in space.branches(dimension):
            _check_turn(trainable, space, dimension, branch, start)


def _check_turn(
    trainable: Trainable[Any], space: Space, dimension: Dimension, branch: Mapping[str, Value], start: Settings
) -> None:
    """One dimension under one combination of the choices that its conditions name."""
    where = "".join(f" where {name} is {value!r}" for name, value in branch.items())
    here, seen = space.configuration(branch), []
    for value in _probes(dimension):
        try:
            seen.append(bind(trainable, start, {**here, dimension.name: value}))
        except UsageError as error:
            raise UsageError(f"space '{space.name}', dimension {dimension.name} at {value!r}{where}: {error}") from None
    first, *_, last = _probes(dimension)
    said = f"the dimension {dimension.name} between {first!r} and {last!r}"
    if any(config == other for i, config in enumerate(seen) for other in seen[:i]):
        raise UsageError(f"space '{space.name}': {said} changes nothing{where}; remove it from the space.")
    if not _has_effect(trainable, space, dimension, branch, start):
        remedy = "take that out of its condition" if branch else "remove it from the space"
        raise UsageError(
            f"space '{space.name}': {said} has no effect{where}, because nothing reads it with the other settings as "
            f"they are; {remedy}, or set what makes use of it."
        )


def _refuse_shared(trainable: Trainable[Any], space: Space, dimension: Dimension) -> None:
    for shared in trainable.shared:
        if dimension.name == shared or (shared.endswith(".") and dimension.name.startswith(shared)):
            raise UsageError(
                f"space '{space.name}': the dimension {dimension.name} cannot be searched, because all trials of a "
                "campaign must share it to be comparable; remove it from the space and set it for the campaign."
            )


def _has_effect(
    trainable: Trainable[Any], space: Space, dimension: Dimension, branch: Mapping[str, Value], start: Settings
) -> bool:
    """Whether the training differs somewhere along the dimension, with the other dimensions at their defaults or with
    one of them elsewhere in its range, but for those of the branch."""
    probes = _probes(dimension)
    for settings in _surroundings(trainable, space, dimension, branch, start):
        read = []
        for value in probes:
            try:
                read.append(trainable.effective(trainable.parse(bind(trainable, settings, {dimension.name: value}))))
            except UsageError:
                break  # the two do not go together here
        if any(other != read[0] for other in read[1:]):
            return True
    return False


def _surroundings(
    trainable: Trainable[Any], space: Space, dimension: Dimension, branch: Mapping[str, Value], start: Settings
) -> Iterator[Settings]:
    here = space.configuration(branch)
    yield bind(trainable, start, here)
    for other in space.dimensions:
        if other.name == dimension.name or other.name in branch or not other.exists_in(here):
            continue
        for value in _probes(other):
            try:
                yield bind(trainable, start, space.configuration({**here, other.name: value}))
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
