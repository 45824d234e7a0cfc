"""Hydra as its users know it: plus signs, groups and sweeps, on top of the classes' defaults."""

from __future__ import annotations

import pytest

from trainer.config import TrainerConfig
from trainer.errors import InputError
from trainer.tools.composition import compose_config, sweep


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_plus_says_nothing_more_where_the_setting_is_there(plus: str) -> None:
    assert compose_config([f"{plus}model.dropout=0.4"]).model.dropout == 0.4


def test_a_plus_adds_no_setting() -> None:
    with pytest.raises(InputError, match=r"unknown setting 'model.dropot' on the command line; did you mean"):
        compose_config(["+model.dropot=0.4"])


def test_a_group_is_laid_over_the_defaults_and_below_single_settings() -> None:
    config = compose_config(["train.epochs=3", "preset=small"])
    assert (config.train.epochs, config.model.hidden_size) == (3, 16)
    assert compose_config(["model=gru"]) == TrainerConfig.model_validate({"model": {"kind": "gru"}})


@pytest.mark.parametrize("words", [["preset=small", "model=gru"], ["model=gru", "preset=small"]])
def test_a_kind_of_model_takes_from_a_preset_what_it_reads(words: list[str]) -> None:
    model = compose_config(words).model
    assert (model.kind, model.hidden_size, model.num_heads, model.window) == (
        "gru",
        16,
        TrainerConfig().model.num_heads,
        10,
    )


def test_a_section_can_still_be_given_whole() -> None:
    assert compose_config(["model={kind:gru,dropout:0.4}"]).model.dropout == 0.4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["preset=prodution"], "preset=prodution: choose one of .*; did you mean 'production'"),
        (["model=gruu"], r"write conf/trainer/model/gruu\.yaml; did you mean 'gru'"),
        (["modle=gru"], "unknown setting 'modle' .*did you mean 'model'"),
    ],
)
def test_a_choice_there_is_not_is_refused_with_a_suggestion(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        compose_config(words)


def test_a_sweep_is_every_combination_named_by_what_varies() -> None:
    found = sweep(["train.epochs=2", "+optim.lr=1e-3,3e-3", "train.seed=range(0,2)"])
    assert list(found) == [f"optim.lr={lr} train.seed={seed}" for lr in ("0.001", "0.003") for seed in (0, 1)]
    assert all(words[0] == "train.epochs=2" for words in found.values())
    assert list(sweep(["data.source=planted:clean?stocks=40&days=500,planted:null"])) == [
        "data.source=planted:clean?stocks=40&days=500",
        "data.source=planted:null",
    ]
    assert list(sweep(["model=gru,mlp"])) == ["model=gru", "model=mlp"]


@pytest.mark.parametrize("words", [["optim.lr=1"], [], ["optim.lr=glob(*)"], ["optim.lr=interval(0,1)"]])
def test_a_sweep_without_values_is_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"list the values of a setting|write them one by one"):
        sweep(words)
