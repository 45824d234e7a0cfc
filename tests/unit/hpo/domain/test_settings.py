"""Settings as trees and as dotted names."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from hpo.domain.config import SearchConfig, WorkerConfig
from hpo.domain.errors import UsageError
from hpo.domain.settings import flatten, merge, nest, read, seconds_of, sections, without

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


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("8h", 28_800), (" 2d ", 172_800), ("0s", 0)]
)
def test_a_time_in_words(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-5m", "5 minutes", "1h30m", "PT1H", "5M"])
def test_what_is_written_otherwise(text: str) -> None:
    assert seconds_of(text) is None


@pytest.mark.parametrize("given", ["30m", "1800", 1800, "PT30M", timedelta(minutes=30)])
def test_settings_take_it_and_keep_it(given: object) -> None:
    worker = WorkerConfig.model_validate({"trial_timeout": given, "timeout": given, "lease": given})
    assert worker.trial_timeout == worker.timeout == worker.lease == timedelta(minutes=30)
    config = SearchConfig(worker=worker)
    assert SearchConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_time_that_cannot_be_meant_is_refused() -> None:
    for wrong in ("0s", "5 minutes", "9999d"):
        with pytest.raises(ValidationError):
            WorkerConfig.model_validate({"trial_timeout": wrong})
