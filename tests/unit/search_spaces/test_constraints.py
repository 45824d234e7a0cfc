"""Limits on what a trial is measured by, from YAML to a violation."""

from __future__ import annotations

import math

import pytest

from search_spaces import Constraint, SpaceError, dump_space, parse_space

SPACE = """
tiers:
  one:
    rate: {type: float, low: 0.0, high: 1.0, default: 0.5}
constraints:
  num_parameters: 200000
  long_short_sharpe_5d: {at_least: 0.5}
  system/memory_bytes: {at_least: 1, at_most: 1.0e+9}
"""


def test_a_space_says_what_a_trial_must_keep() -> None:
    space = parse_space(SPACE, "s", "a test")
    assert space.constraints == (
        Constraint("num_parameters", at_most=200000),
        Constraint("long_short_sharpe_5d", at_least=0.5),
        Constraint("system/memory_bytes", at_most=1e9, at_least=1),
    )
    assert parse_space(dump_space(space), "s", "a test") == space
    assert [each.shown for each in space.constraints] == [
        "num_parameters at most 200,000",
        "long_short_sharpe_5d at least 0.5",
        "system/memory_bytes at least 1 and at most 1,000,000,000",
    ]


def test_a_constraint_is_part_of_what_a_search_is() -> None:
    one, other = (parse_space(SPACE.replace("200000", number), "s", "a test") for number in ("200000", "300000"))
    assert one.fingerprint() != other.fingerprint()


def test_a_violation_is_a_share_of_the_limit() -> None:
    most, least, both = Constraint("x", at_most=200), Constraint("x", at_least=0.5), Constraint("x", 10, 5)
    assert most.violation(300) == 0.5
    assert most.violation(100) == -0.5
    assert least.violation(0.25) == 0.5
    assert Constraint("x", at_least=0.0).violation(-2.0) == 2.0
    assert [both.violation(value) for value in (5, 10, 20)] == [0.0, 0.0, 1.0]
    assert both.violation(2.5) == 0.5


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("num_parameters: {}", "num_parameters has no limit; give a number, or at_most or at_least"),
        ("num_parameters: many", "a limit must be a number, not 'many'"),
        ("num_parameters: true", "a limit must be a number, not True"),
        (f"num_parameters: {math.nan}", "a limit must be a number"),
        ("x: {at_least: 2, at_most: 1}", "at_least 2 is above at_most 1, so that nothing keeps both"),
        ("x: {most: 2}", "constraints: x: unknown key 'most'; known are at_least, at_most."),
        ("'a b': 3", "'a b' is not the name of something measured"),
        ("[1, 2]", "constraints must hold keys with values, not a list"),
    ],
)
def test_what_is_no_constraint_is_refused_in_a_sentence(body: str, said: str) -> None:
    head = SPACE.split("constraints:", maxsplit=1)[0]
    text = f"{head}constraints: {body}" if body.startswith("[") else f"{head}constraints:\n  {body}"
    with pytest.raises(SpaceError, match=said.replace("(", r"\(")):
        parse_space(text, "s", "a test")
