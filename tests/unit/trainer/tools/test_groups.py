"""Choices by name: those that come along, and the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces import load_space
from trainer.config import MODEL_KNOBS, TrainerConfig
from trainer.errors import InputError
from trainer.settings import flatten
from trainer.tools.composition import compose_config
from trainer.tools.groups import chosen, groups, named


@pytest.mark.parametrize(("preset", "space"), [("small", "quickstart"), ("production", "atft"), ("trees", "trees")])
def test_a_preset_is_the_first_trial_of_its_space(preset: str, space: str) -> None:
    found = load_space(space)
    first = {**found.settings, **{dimension.name: dimension.default for dimension in found.dimensions}}
    ours = flatten(compose_config([f"preset={preset}"]).model_dump(mode="json"))
    same = {
        name: value for name, value in flatten(TrainerConfig().model_dump(mode="json")).items() if name not in first
    }
    assert ours == {**same, **first}


@pytest.mark.parametrize("kind", MODEL_KNOBS)
def test_every_kind_of_model_is_a_choice(kind: str) -> None:
    assert compose_config([f"model={kind}"]).model.kind == kind


def test_the_users_own_choices_lie_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert groups() == ["model", "optim", "preset"]
    for name, text in {
        "data/mine": "source: planted:null",
        "preset/night": "train: {epochs: 9}",
        "model/gru": "dropout: 0.3",
    }.items():
        file = tmp_path / "conf" / "trainer" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    config = compose_config(["data=mine", "preset=[small,night]", "model=gru", "model.kind=gru"])
    assert (config.data.source, config.train.epochs, config.model.dropout) == ("planted:null", 9, 0.3)
    assert groups() == ["model", "optim", "preset", "data"]
    assert {"small", "night"} <= named("preset").keys()


def test_a_wrong_file_is_refused_by_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "conf" / "trainer" / "preset" / "night.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("train: {epoch: 9}")
    with pytest.raises(
        InputError, match=r"unknown setting 'train\.epoch' on a chosen group; did you mean 'train\.epochs'"
    ):
        compose_config(["preset=night"])
    file.write_text("- 1")
    with pytest.raises(InputError, match="must hold a mapping"):
        chosen("preset", ["night"])


def test_no_choice_leaves_its_folder() -> None:
    assert named("../trainer") == {}
    with pytest.raises(InputError, match="choose one of"):
        chosen("preset", ["../../etc/passwd"])
