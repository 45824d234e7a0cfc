"""Dimensions refuse what contradicts itself, and say which rule was broken."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from search_spaces import ChoiceDimension, FloatDimension, IntegerDimension, SpaceError
from search_spaces.dimensions import possible_values

FLOAT = {"name": "optim.lr", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3}
INTEGER = {"name": "model.num_layers", "low": 1, "high": 7, "step": 2, "default": 3}
CHOICE = {"name": "model.hidden_size", "choices": (16, 32), "ordered": True, "default": 32}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"low": 1e-2}, "low 0.01 must be below high 0.01"),
        ({"low": 0.0}, "a log range needs low above 0"),
        ({"default": 0.1}, "the default 0.1 lies outside 0.0001 .. 0.01"),
        ({"low": "1e-4"}, "low must be a finite number, not '1e-4'"),
        ({"high": float("inf")}, "high must be a finite number"),
        ({"high": True}, "high must be a finite number, not True"),
        ({"step": 1e-3}, "step and log exclude each other"),
        ({"log": "yes"}, "log must be true or false"),
        ({"name": "Lr"}, "'Lr' is not the name of a setting"),
        ({"log": False, "step": 4e-3, "low": 0.0, "default": 0.0}, "high 0.01 is no whole number of steps"),
        ({"log": False, "step": -1.0}, "step must be above 0"),
    ],
)
def test_a_float_dimension_names_the_broken_rule(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(SpaceError, match=rule):
        FloatDimension(**{**FLOAT, **change})


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"low": 1.0}, "low must be a whole number, not 1.0"),
        ({"default": True}, "default must be a whole number, not True"),
        ({"default": 4}, "default 4 is no whole number of steps of 2 above low 1"),
        ({"high": 6}, "high 6 is no whole number of steps"),
        ({"step": 0}, "step must be above 0"),
        ({"log": True}, "a log range of whole numbers has step 1, not 2"),
    ],
)
def test_an_integer_dimension_names_the_broken_rule(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(SpaceError, match=rule):
        IntegerDimension(**{**INTEGER, **change})


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"choices": (32,)}, "at least two choices"),
        ({"choices": (32, 16)}, "ordered numbers must ascend"),
        ({"choices": (16, 32, 16)}, "repeat one another"),
        ({"default": 64}, "the default 64 is none of the choices"),
        ({"choices": (1, 2), "default": True}, "the default True is none of the choices"),
        ({"choices": (16, None)}, "a choice must be a number, a word or true/false"),
    ],
)
def test_a_choice_names_the_broken_rule(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(SpaceError, match=rule):
        ChoiceDimension(**{**CHOICE, **change})


def test_true_is_a_different_choice_from_one() -> None:
    dimension = ChoiceDimension(name="model.flag", choices=(1, True), default=True)
    assert dimension.index(True) == 1
    assert dimension.index(1) == 0


def test_words_may_stand_in_any_order() -> None:
    assert ChoiceDimension(name="optim.name", choices=("b", "a"), ordered=True, default="a").index("a") == 1


def test_possible_values_are_all_of_a_finite_dimension_and_the_ends_of_an_endless_one() -> None:
    assert list(possible_values(IntegerDimension(**INTEGER))) == [1, 3, 5, 7]
    assert list(possible_values(ChoiceDimension(**CHOICE))) == [16, 32]
    assert list(possible_values(FloatDimension(**FLOAT))) == [1e-4, 1e-2]


def test_dimensions_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FloatDimension(**FLOAT).low = 0.0  # type: ignore[misc]  # the point of the test
