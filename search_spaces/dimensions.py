"""The dimensions of a search: one trainer setting each, with its range and its default."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from search_spaces.errors import SpaceError

Value: TypeAlias = "bool | int | float | str"
"""What a setting can hold."""

DOTTED_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
"""A setting of what is trained: `rate`, or section and field, such as `optim.lr`."""

WIDEST = 1e300
"""Real numbers lie within this, so that the distance of any two is a number too."""

LARGEST = 2**53
"""Whole numbers up to this are the same in every store, also in those that keep them as float64."""


@dataclass(frozen=True)
class Condition:
    """The dimension `parent` must have one of these values."""

    parent: str
    values: tuple[Value, ...]

    def holds(self, value: Value) -> bool:
        """Whether a value of the parent is one of these."""
        return _identity(value) in map(_identity, self.values)

    @property
    def shown(self) -> str:
        """`model.kind is gru or mlp`."""
        return f"{self.parent} is {' or '.join(map(str, self.values))}"


@dataclass(frozen=True, kw_only=True)
class _Conditional:
    """when: a dimension exists where all of these hold; everywhere without any."""

    when: tuple[Condition, ...] = ()

    def exists_in(self, values: Mapping[str, Value]) -> bool:
        """Whether all conditions hold. values: by dimension; a parent without one does not exist itself."""
        return all(each.parent in values and each.holds(values[each.parent]) for each in self.when)

    @property
    def shown_when(self) -> str:
        """`model.kind is gru and optim.name is adamw`; empty without conditions."""
        return " and ".join(each.shown for each in self.when)


@dataclass(frozen=True, kw_only=True)
class FloatDimension(_Conditional):
    """A real number in [low, high].

    log: the logarithm is what is spread evenly; low must be above 0.
    step: distance of the allowed values, counted from low; None: every value.

    Raises:
        SpaceError: a range or default that contradicts itself.
    """

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    default: float

    def __post_init__(self) -> None:
        _check_name(self.name)
        for field in ("low", "high", "default"):
            _check_number(self.name, field, getattr(self, field))
        _check_range(self.name, self.low, self.high, self.default, self.log)
        if self.step is None:
            return
        _check_number(self.name, "step", self.step)
        if self.log:
            raise SpaceError(f"{self.name}: step and log exclude each other; drop one of them")
        _check_step(self.name, self.low, self.high, self.default, self.step)


@dataclass(frozen=True, kw_only=True)
class IntegerDimension(_Conditional):
    """A whole number low, low + step, ... up to high.

    log: the logarithm is what is spread evenly; low must be above 0 and step 1.

    Raises:
        SpaceError: a range or default that contradicts itself.
    """

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    default: int

    def __post_init__(self) -> None:
        _check_name(self.name)
        for field in ("low", "high", "default", "step"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int):
                raise SpaceError(f"{self.name}: {field} must be a whole number, not {value!r}")
            if abs(value) > LARGEST:
                raise SpaceError(f"{self.name}: {field} must lie within 2^53 of 0, up to where numbers are exact")
        _check_range(self.name, self.low, self.high, self.default, self.log)
        if self.log and self.step != 1:
            raise SpaceError(f"{self.name}: a log range of whole numbers has step 1, not {self.step}; drop one of them")
        _check_step(self.name, self.low, self.high, self.default, self.step)

    @property
    def values(self) -> range:
        """All values, ascending."""
        return range(self.low, self.high + 1, self.step)


@dataclass(frozen=True, kw_only=True)
class ChoiceDimension(_Conditional):
    """One of several values.

    ordered: neighbours are alike (widths, batch sizes), so that the search may reason along the order; numbers must
    then ascend. Without it, no choice is nearer to another than to a third.

    Raises:
        SpaceError: fewer than two choices, a repeated one, a default that is none of them.
    """

    name: str
    choices: tuple[Value, ...]
    ordered: bool = False
    default: Value

    def __post_init__(self) -> None:
        _check_name(self.name)
        for choice in self.choices:
            if not isinstance(choice, bool | int | float | str):
                raise SpaceError(f"{self.name}: a choice must be a number, a word or true/false, not {choice!r}")
        if len(self.choices) < 2:
            raise SpaceError(f"{self.name}: at least two choices are needed; a single value belongs under 'settings'")
        if len(set(map(_identity, self.choices))) < len(self.choices):
            raise SpaceError(f"{self.name}: the choices {list(self.choices)} repeat one another")
        if not any(_identity(choice) == _identity(self.default) for choice in self.choices):
            raise SpaceError(f"{self.name}: the default {self.default!r} is none of the choices {list(self.choices)}")
        numbers = [choice for choice in self.choices if isinstance(choice, int | float)]
        if self.ordered and len(numbers) == len(self.choices) and numbers != sorted(numbers):
            raise SpaceError(f"{self.name}: ordered numbers must ascend, not {list(self.choices)}")

    def index(self, value: Value) -> int:
        """Position of a choice. ValueError if value is none of them."""
        return [_identity(choice) for choice in self.choices].index(_identity(value))


Dimension: TypeAlias = FloatDimension | IntegerDimension | ChoiceDimension


def possible_values(dimension: Dimension) -> Sequence[Value]:
    """Every value that can be sampled, or the two ends where these are too many to name (real numbers)."""
    if isinstance(dimension, ChoiceDimension):
        return dimension.choices
    if isinstance(dimension, IntegerDimension):
        return dimension.values
    return (dimension.low, dimension.high)


def _identity(value: Value) -> tuple[bool, Value]:
    """True and 1 are different choices, 1 and 1.0 the same."""
    return (isinstance(value, bool), value)


def _check_name(name: str) -> None:
    if not DOTTED_NAME.fullmatch(name):
        raise SpaceError(f"'{name}' is not the name of a setting, such as 'rate' or 'optim.lr'")


def _check_number(name: str, field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == math.inf:
        raise SpaceError(f"{name}: {field} must be a finite number, not {value!r}")
    if abs(value) > WIDEST:
        raise SpaceError(f"{name}: {field} must lie within {WIDEST:g} of 0")


def _check_range(name: str, low: float, high: float, default: float, log: bool) -> None:
    if not isinstance(log, bool):
        raise SpaceError(f"{name}: log must be true or false, not {log!r}")
    if low >= high:
        raise SpaceError(f"{name}: low {low:g} must be below high {high:g}")
    if log and low <= 0:
        raise SpaceError(f"{name}: a log range needs low above 0, not {low:g}")
    if not low <= default <= high:
        raise SpaceError(f"{name}: the default {default:g} lies outside {low:g} .. {high:g}")


def _check_step(name: str, low: float, high: float, default: float, step: float) -> None:
    if step <= 0:
        raise SpaceError(f"{name}: step must be above 0, not {step:g}")
    for word, value in (("high", high), ("default", default)):
        steps = (value - low) / step
        if steps > LARGEST:
            raise SpaceError(f"{name}: from low to {word} there are more than 2^53 steps of {step:g}; make it larger")
        if not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise SpaceError(f"{name}: {word} {value:g} is no whole number of steps of {step:g} above low {low:g}")
