"""Reading spaces: the catalog, a file by path, and a sentence for everything that is wrong with one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from search_spaces import FloatDimension, SpaceError, catalog, load_space, parse_space

GOOD = """
settings: {train.epochs: 3}
tiers:
  one:
    optim.lr: {type: float, low: 1e-5, high: 1.0e-3, log: true, default: 1e-4}
    model.num_layers: {type: integer, low: 1, high: 3, default: 2}
    model.hidden_size: {type: choice, choices: [16, 32], ordered: true, default: 32}
"""


NETWORK = (
    ["capacity", "regularisation", "objective"],
    ["optim.lr", "train.batch_size", "model.hidden_size"],
)
TREES = (["capacity", "regularisation"], ["model.learning_rate", "model.num_leaves", "model.min_data_in_leaf"])
MIXED = (["kind", "capacity", "regularisation"], ["model.kind", "optim.lr", "model.learning_rate"])
TIERS = {"atft": NETWORK, "mixed": MIXED, "quickstart": NETWORK, "trees": TREES}
"""Tiers, and dimensions of the first one, of every space of the catalog."""


def test_every_space_of_the_catalog_loads_and_has_its_tiers() -> None:
    assert catalog() == tuple(TIERS)
    for name, (tiers, first) in TIERS.items():
        space = load_space(name)
        assert space.name == name
        assert [tier.name for tier in space.tiers] == tiers
        assert [d.name for d in space.tiers[0].dimensions] == first


def test_the_atft_space_has_the_published_ranges() -> None:
    rate, batch, width = load_space("atft").tiers[0].dimensions
    assert isinstance(rate, FloatDimension)
    assert (rate.low, rate.high, rate.log) == (1e-5, 1e-3, True)
    assert batch.choices == (1024, 2048, 4096)  # type: ignore[union-attr]  # a choice, as its file says
    assert width.choices == (128, 256, 512)  # type: ignore[union-attr]  # a choice, as its file says


def test_a_file_is_taken_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    space = load_space(str(file))
    assert space.name == "mine"
    assert space.settings == {"train.epochs": 3}
    assert space.defaults() == {"optim.lr": 1e-4, "model.num_layers": 2, "model.hidden_size": 32}
    assert load_space(file).fingerprint() == space.fingerprint()


def test_an_exponent_without_a_dot_is_a_number() -> None:
    rate = parse_space(GOOD, "n", "f").dimensions[0]
    assert isinstance(rate, FloatDimension)
    assert rate.low == 1e-5


def test_an_unknown_name_gets_the_nearest_one_and_the_way_to_a_file() -> None:
    with pytest.raises(SpaceError, match=r"Unknown space 'quikstart': .*\./quikstart\.yaml.*mean 'quickstart'\?"):
        load_space("quikstart")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"Cannot read the space file .*nowhere\.yaml: No such file"):
        load_space(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"settings: {model.kind: caf\xe9}")
    with pytest.raises(SpaceError, match="not UTF-8"):
        load_space(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("settings:", "setings:", r"unknown key 'setings'; .*Did you mean 'settings'\?"),
        ("tiers:", "tears:", r"unknown key 'tears'.*Did you mean 'tiers'\?"),
        ("high: 1.0e-3", "hihg: 1.0e-3", r"tiers\.one: optim\.lr: unknown key 'hihg'.*Did you mean 'high'\?"),
        ("type: float", "type: flaot", r"optim\.lr: type must be one of float, integer, choice.*mean 'float'\?"),
        ("type: float, ", "", r"optim\.lr: type must be one of"),
        (", default: 1e-4", "", r"tiers\.one: optim\.lr: the key 'default' is missing\.$"),
        ("low: 1e-5", "low: small", r"tiers\.one: optim\.lr: low must be a finite number, not 'small'\.$"),
        ("choices: [16, 32]", "choices: 16", r"model\.hidden_size: choices must be a list, not 16"),
        ("ordered: true", "ordered: 1", r"ordered must be true or false, not 1"),
        ("{train.epochs: 3}", "{train.epochs: [3]}", r"settings: train\.epochs must be a number, a word"),
        ("{train.epochs: 3}", "3", r"settings must hold keys with values, not a int"),
        ("settings: {train.epochs: 3}", "settings: {train.epochs: 3}\nsettings: {}", r"'settings' is given twice"),
        ("{train.epochs: 3}", "!!python/object/apply:os.getcwd []", r"this is not plain YAML: could not determine"),
        ("{train.epochs: 3}", "{train.epochs: 3", r"this is not plain YAML: .*line"),
        ("1e-4}", "1}", r"the default 1 lies outside 1e-05 \.\. 0\.001\.$"),
    ],
)
def test_errors_name_the_file_the_key_the_rule_and_the_nearest_word(old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(SpaceError, match=sentence) as caught:
        parse_space(GOOD.replace(old, new, 1), "mine", "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "tiers:", "tiers: {one: }", "tiers: {one: {optim.lr: 3}}", "- a"])
def test_an_empty_or_shapeless_file_is_refused(text: str) -> None:
    with pytest.raises(SpaceError, match=r"^f: "):
        parse_space(text, "n", "f")


def space_with(dimension: str, tier: str = "one") -> str:
    return f"tiers:\n  {tier}:\n    {dimension}\n"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)

HOSTILE = {
    "nested lists": ("tiers: " + "[" * 50_000, "nested deeper than 20 levels"),
    "nested mappings": ("tiers: " + "{a: " * 1_000 + "1" + "}" * 1_000, "nested deeper than 20 levels"),
    "a bomb of aliases": (BOMB + "tiers: *i", r"aliases are not taken \(line 2\); write the value"),
    "an alias of itself": ("tiers: &a {one: *a}", "aliases are not taken"),
    "a number too long": ("settings: {train.epochs: " + "1" * 5_000 + "}\ntiers: {}", "not plain YAML: Exceeds"),
    "a day that is none": ("settings: {train.epochs: 2020-13-45}\ntiers: {}", "not plain YAML: month must be"),
    "a list as a key": ("? [a]\n: 1\ntiers: {}", "not plain YAML"),
    "a class": ("tiers: !!python/object:os.system {}", "not plain YAML"),
    "many keys": ("settings: {" + ", ".join(f"a.k{n}: 1" for n in range(9_000)) + "}\ntiers: {}", "at least one tier"),
    "a wide range": (
        space_with("model.num_layers: {type: integer, low: 1, high: 100000000000000000000000, default: 2}"),
        r"model.num_layers: high must lie within 2\^53 of 0",
    ),
    "a wider range": (
        space_with(f"optim.lr: {{type: float, low: 1, high: 1{'0' * 400}, default: 2}}"),
        r"optim.lr: high must lie within 1e\+300 of 0",
    ),
    "a tiny step": (
        space_with("optim.lr: {type: float, low: 0, high: 1e100, step: 1e-300, default: 0}"),
        r"optim.lr: from low to high there are more than 2\^53 steps",
    ),
    "a name of 600 letters": (
        space_with("optim.lr: {type: float, low: 0, high: 1, default: 0}", tier="a" * 600),
        r"tier 'a{40}\.\.\.': a tier's name has at most 40 letters",
    ),
    "odd letters": (
        space_with("optim.lr: {type: float, low: 0, high: 1, default: 0}", tier='"../\\u0430\\n"'),
        r"tier '\.\./а\\n': a tier's name is a word of lower-case letters",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_refused_at_once(case: str) -> None:
    text, sentence = HOSTILE[case]
    with pytest.raises(SpaceError, match=sentence) as refusal:
        parse_space(text, "n", "mine.yaml")
    assert str(refusal.value).startswith("mine.yaml: ")
    assert len(str(refusal.value)) < 300


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD + "# much\n" * 2_000_000)
    with pytest.raises(SpaceError, match=r"mine\.yaml is larger than 200,000 bytes"):
        load_space(file)


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(SpaceError, match="is no ordinary file"):
            load_space(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.yaml"))
        with pytest.raises(SpaceError, match=r"Cannot read the space file .*socket\.yaml"):
            load_space(tmp_path / "socket.yaml")
    with pytest.raises(SpaceError, match=r"Cannot read|no ordinary file"):
        load_space(tmp_path)
