"""From a name to a trainable, or a sentence that says what is wrong with the name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.domain.errors import UsageError
from hpo.trainable.loading import libraries, load_trainable
from hpo.trainable.own import FunctionTrainable

SOURCE = """
from dataclasses import dataclass

import numpy as np
from optuna import create_study

from hpo.trainable import OwnTrainable


@dataclass
class Settings:
    epochs: int = 1


def train(settings: Settings, trial) -> None:
    pass


class Unfinished(OwnTrainable[Settings]):
    schema = Settings


class Stranger:
    pass


number = 7
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loaded_by_name.py").write_text(SOURCE)
    (tmp_path / "broken_on_import.py").write_text("x = 1\n\nx / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_function_is_made_a_trainable_once_and_carries_its_name() -> None:
    made = load_trainable("loaded_by_name:train")
    assert isinstance(made, FunctionTrainable)
    assert made.name == "loaded_by_name:train"
    assert load_trainable("loaded_by_name:train") is made


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rankr", r"or one of ranker\. Did you mean 'ranker'\?"),
        ("loaded_by_name", "write the import path of your own as my_module:MyTrainable"),
        ("nowhere_at_all:train", "there is no module 'nowhere_at_all', neither installed nor in"),
        ("loaded_by_name:trian", "the module loaded_by_name has no 'trian'"),
        ("loaded_by_name:Unfinished", "the class Unfinished lacks the methods train"),
        ("loaded_by_name:Stranger", "the class Stranger is no trainable"),
        ("loaded_by_name:number", "a int is no trainable"),
        ("broken_on_import:train", r"ZeroDivisionError: division by zero \(.*broken_on_import\.py, line 3\)"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_a_sentence(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_trainable(name)


def test_the_libraries_that_a_module_names_are_known_and_it_is_not_one_of_them() -> None:
    load_trainable("loaded_by_name:train")
    named = libraries("loaded_by_name:train")
    assert {"numpy", "optuna.study.study"} <= set(named)
    assert "loaded_by_name" not in named, "a user's first lines may ask for a GPU, which does not survive a fork"
    assert "dataclasses" not in named, "the standard library is there anyway"
