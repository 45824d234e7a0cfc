"""Settings as trees and as dotted names."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.domain.errors import UsageError
from hpo.domain.settings import flatten, merge, nest, read, sections, without

TREE = {"optim": {"lr": 1e-3, "name": "adamw"}, "seed": 3, "data": {"split": {"folds": 1}}}
FLAT = {"optim.lr": 1e-3, "optim.name": "adamw", "seed": 3, "data.split.folds": 1}


def test_a_tree_and_its_dotted_names_are_the_same_settings() -> None:
    assert flatten(TREE) == FLAT
    assert nest(FLAT) == TREE
    assert sections(TREE) == ["optim", "data", "data.split"]


def test_what_is_merged_over_wins_and_the_rest_stays() -> None:
    assert merge(TREE, {"optim": {"lr": 0.1}, "new": 1}) == {
        "optim": {"lr": 0.1, "name": "adamw"},
        "seed": 3,
        "data": {"split": {"folds": 1}},
        "new": 1,
    }
    assert TREE["optim"] == {"lr": 1e-3, "name": "adamw"}, "what was given is left alone"


def test_a_setting_is_left_out_wherever_it_stands() -> None:
    assert without(TREE, "data.split.folds") == {**TREE, "data": {"split": {}}}
    assert without(TREE, "nowhere.at.all") == TREE


def test_a_file_of_settings_is_read_plainly(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("optim: {lr: 0.001}\n")
    assert read(file) == {"optim": {"lr": 1e-3}}
    file.write_text("- a list\n")
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        read(file)
