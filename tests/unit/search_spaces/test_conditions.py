"""Dimensions that exist under some choices alone: read, checked, and left out where they do not exist."""

from __future__ import annotations

import pytest

from search_spaces import Condition, SpaceError, dump_space, parse_space

SPACE = """
tiers:
  one:
    kind: {type: choice, choices: [net, trees, none], default: net}
    depth: {type: integer, low: 1, high: 4, default: 2, when: {kind: [net, trees]}}
  two:
    graph: {type: choice, choices: [0, 4, 8], ordered: true, default: 0, when: {kind: net}}
    heads: {type: integer, low: 1, high: 4, default: 1, when: {graph: [4, 8]}}
    leaves: {type: integer, low: 4, high: 64, default: 31, when: {kind: trees}}
    rate: {type: float, low: 0.0, high: 1.0, default: 0.5}
"""
SPACE_OF = {dimension.name: dimension for dimension in parse_space(SPACE, "s", "a test").dimensions}


def test_a_configuration_has_what_exists_in_it() -> None:
    space = parse_space(SPACE, "s", "a test")
    assert space.defaults() == {"kind": "net", "depth": 2, "graph": 0, "rate": 0.5}
    assert space.configuration({"kind": "trees", "graph": 8, "heads": 3, "rate": 0.1}) == {
        "kind": "trees",
        "depth": 2,
        "leaves": 31,
        "rate": 0.1,
    }
    assert space.configuration({"graph": 8}) == {"kind": "net", "depth": 2, "graph": 8, "heads": 1, "rate": 0.5}
    assert space.configuration({"kind": "none", "graph": 8}) == {"kind": "none", "rate": 0.5}
    assert space.parents == ("kind", "graph")


def test_conditions_survive_the_way_through_yaml_and_are_part_of_what_a_search_is() -> None:
    space = parse_space(SPACE, "s", "a test")
    again = parse_space(dump_space(space), "s", "a test")
    assert again == space
    assert again.dimensions[1].when == (Condition("kind", ("net", "trees")),)
    assert again.dimensions[1].shown_when == "kind is net or trees"
    assert "when" not in dump_space(parse_space(SPACE.split("    depth", maxsplit=1)[0], "s", "a test"))
    other = parse_space(SPACE.replace("[net, trees]}", "[net]}"), "s", "a test")
    assert other.fingerprint() != space.fingerprint()


def test_the_branches_of_a_dimension_name_all_that_it_depends_on() -> None:
    space = parse_space(SPACE, "s", "a test")
    branches = {name: space.branches(dimension) for name, dimension in SPACE_OF.items()}
    assert branches["rate"] == ({},)
    assert branches["depth"] == ({"kind": "net"}, {"kind": "trees"})
    assert branches["heads"] == ({"graph": 4, "kind": "net"}, {"graph": 8, "kind": "net"})


def test_true_and_one_are_different_values_of_a_parent() -> None:
    text = """
tiers:
  one:
    kind: {type: choice, choices: [true, 1], default: 1}
    rate: {type: float, low: 0.0, high: 1.0, default: 0.5, when: {kind: true}}
"""
    assert "rate" not in parse_space(text, "s", "a test").defaults()


def conditional(condition: str, below: str = "") -> str:
    return f"""
tiers:
  one:
    kind: {{type: choice, choices: [net, trees], default: net}}
    width: {{type: integer, low: 1, high: 4, default: 2}}
    rate: {{type: float, low: 0.0, high: 1.0, default: 0.5, when: {condition}}}
    below: {{type: choice, choices: [a, b], default: a{below}}}
  two:
    later: {{type: choice, choices: [a, b], default: a, when: {{kind: net}}}}
    never: {{type: integer, low: 1, high: 4, default: 2, when: {{kind: trees, later: a}}}}
"""


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("{kin: net}", r"tiers.one: rate: when: there is no dimension 'kin' in this space. Did you mean 'kind'\?"),
        ("{later: a}", "'later' comes later, in 'two'; a condition names a dimension of an earlier tier"),
        ("{below: a}", "'below' comes later, below it in the same tier; a condition names"),
        ("{width: 2}", "'width' is a range; a condition names a dimension of the type choice"),
        ("{rate: 0.5}", "rate: when: a dimension cannot depend on itself"),
        ("{kind: tree}", r"'tree' is none of the choices \['net', 'trees'\] of 'kind'. Did you mean 'trees'\?"),
        ("{kind: []}", "'kind' has no values; list those under which the dimension exists"),
        ("{kind: [{a: 1}]}", "when: kind must be a value or a list of values, not {'a': 1}"),
        ("[kind]", "when must hold keys with values, not a list"),
        ("{kind: net}", "never: when: its conditions, and those of the dimensions that they name, never hold together"),
    ],
)
def test_a_condition_that_cannot_be_asked_is_refused_in_a_sentence(condition: str, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        parse_space(conditional(condition), "s", "a test")


def test_two_that_depend_on_each_other_are_refused() -> None:
    text = conditional("{below: a}", below=", when: {rate: 0.5}")
    with pytest.raises(SpaceError, match="rate: when: 'below' comes later"):
        parse_space(text, "s", "a test")
