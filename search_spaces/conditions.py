"""Which dimensions exist together: conditions checked, and the choices under which a dimension is there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from search_spaces.dimensions import ChoiceDimension, Condition, Dimension, Value
from search_spaces.errors import SpaceError, nearest


def check_conditions(tiers: Mapping[str, Sequence[Dimension]]) -> None:
    """Refuse conditions that cannot be asked when a dimension's turn comes: a condition names a choice further up.

    tiers: name -> dimensions, in order.

    Raises:
        SpaceError: naming the dimension and what is wrong with its condition.
    """
    tier_of = {each.name: tier for tier, dimensions in tiers.items() for each in dimensions}
    above: dict[str, Dimension] = {}
    for tier, dimensions in tiers.items():
        for dimension in dimensions:
            for condition in dimension.when:
                try:
                    _check(dimension, condition, above, tier_of)
                except SpaceError as error:
                    raise SpaceError(f"tiers.{tier}: {dimension.name}: when: {error}") from None
            above[dimension.name] = dimension
            if not branches(dimension, above):
                raise SpaceError(
                    f"tiers.{tier}: {dimension.name}: when: its conditions, and those of the dimensions that they "
                    "name, never hold together; drop one of them"
                )


def branches(dimension: Dimension, above: Mapping[str, Dimension]) -> tuple[dict[str, Value], ...]:
    """Every combination of choices under which a dimension exists: by name, values of the dimensions that its
    conditions name, directly or through one another. One without any for a dimension without conditions.

    above: dimensions by name, of which conditions name some.
    """
    allowed: dict[str, list[Value]] = {}
    waiting = list(dimension.when)
    while waiting:
        condition = waiting.pop()
        parent = above[condition.parent]
        assert isinstance(parent, ChoiceDimension), "checked with the space"
        known = allowed.get(parent.name, list(parent.choices))
        allowed[parent.name] = [value for value in known if condition.holds(value)]
        waiting += parent.when
    return tuple(dict(zip(allowed, values, strict=True)) for values in itertools.product(*allowed.values()))


def _check(
    dimension: Dimension, condition: Condition, above: Mapping[str, Dimension], tier_of: Mapping[str, str]
) -> None:
    name = condition.parent
    if name == dimension.name:
        raise SpaceError("a dimension cannot depend on itself")
    if name not in tier_of:
        raise SpaceError(f"there is no dimension '{name}' in this space.{nearest(name, tier_of)}")
    if name not in above:
        place = "below it in the same tier" if tier_of[name] == tier_of[dimension.name] else f"in '{tier_of[name]}'"
        raise SpaceError(
            f"'{name}' comes later, {place}; a condition names a dimension of an earlier tier or further up in the "
            "same one, so move one of the two"
        )
    parent = above[name]
    if not isinstance(parent, ChoiceDimension):
        raise SpaceError(f"'{name}' is a range; a condition names a dimension of the type choice")
    if not condition.values:
        raise SpaceError(f"'{name}' has no values; list those under which the dimension exists")
    for value in condition.values:
        if not any(Condition(name, (choice,)).holds(value) for choice in parent.choices):
            hint = nearest(str(value), map(str, parent.choices))
            raise SpaceError(f"{value!r} is none of the choices {list(parent.choices)} of '{name}'.{hint}")
