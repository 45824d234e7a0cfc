"""Reading spaces: the catalog, a file by path, and a sentence for everything that is wrong with one."""

from __future__ import annotations

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


def test_every_space_of_the_catalog_loads_and_has_the_three_tiers() -> None:
    assert catalog() == ("atft", "quickstart")
    for name in catalog():
        space = load_space(name)
        assert space.name == name
        assert [tier.name for tier in space.tiers] == ["capacity", "regularisation", "objective"]
        assert [d.name for d in space.tiers[0].dimensions] == ["optim.lr", "train.batch_size", "model.hidden_size"]


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
