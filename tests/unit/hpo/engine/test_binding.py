"""Values reach the trainer's configuration as values; a space that turns nothing is refused."""

from __future__ import annotations

from typing import Any

import pytest

from hpo.domain.errors import UsageError
from hpo.engine.binding import bind, check_turns, settings_of
from search_spaces import (
    ChoiceDimension,
    Dimension,
    FloatDimension,
    IntegerDimension,
    Space,
    Tier,
    Value,
    catalog,
    load_space,
)
from trainer.config import TrainerConfig

RATE = FloatDimension(name="optim.lr", low=1e-4, high=1e-2, log=True, default=1e-3)
WIDTH = ChoiceDimension(name="model.hidden_size", choices=(16, 32, 64, 128), ordered=True, default=32)


def space(*dimensions: Dimension) -> Space:
    return Space("s", {}, (Tier("one", dimensions),))


def test_bind_puts_values_in_place_and_leaves_the_rest() -> None:
    base = TrainerConfig()
    bound = bind(base, {"optim.lr": 5e-4, "model.hidden_size": 64, "data.split.num_folds": 2})
    assert (bound.optim.lr, bound.model.hidden_size, bound.data.split.num_folds) == (5e-4, 64, 2)
    changed = {name for name, value in settings_of(bound).items() if settings_of(base)[name] != value}
    assert changed == {"optim.lr", "model.hidden_size", "data.split.num_folds"}
    assert base == TrainerConfig()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"optim.learning_rate": 1e-3}, r"Unknown trainer setting 'optim\.learning_rate'"),
        ({"model.hiden_size": 16}, r"Did you mean 'model\.hidden_size'\?"),
        ({"model": 3}, r"Unknown trainer setting 'model'"),
        ({"optim.lr.x": 3}, r"Unknown trainer setting 'optim\.lr\.x'"),
        ({"data.split": 3}, r"Unknown trainer setting 'data\.split'"),
        ({"optim.lr": -1.0}, r"optim\.lr: .*greater than 0.*-1\.0"),
        ({"model.kind": "atft_gat_fan", "model.hidden_size": 18}, r"num_heads=4 does not divide"),
    ],
)
def test_bind_refuses_what_the_trainer_does_not_have_or_take(values: dict[str, Value], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        bind(TrainerConfig(), values)


@pytest.mark.parametrize("name", catalog())
def test_every_dimension_of_the_catalog_turns_something(name: str) -> None:
    ours = load_space(name)
    check_turns(ours, bind(TrainerConfig(), ours.settings))


@pytest.mark.parametrize(
    ("dimension", "settings", "sentence"),
    [
        (FloatDimension(name="optim.rate", low=0, high=1, default=0), {}, r"Unknown trainer setting 'optim\.rate'"),
        (FloatDimension(name="model.dropout", low=0, high=1, default=0), {}, r"model\.dropout at 1: .*less than 1"),
        (FloatDimension(name="train.epochs", low=1, high=9, default=2), {}, r"train\.epochs at 3\.5.*integer"),
        (
            IntegerDimension(name="model.num_layers", low=1, high=3, default=2),
            {"model.kind": "linear"},
            "turns nothing",
        ),
        (
            ChoiceDimension(name="optim.schedule", choices=("cosine", "linear"), default="cosine"),
            {},
            r"optim\.schedule at 'linear'",
        ),
        (WIDTH, {"model.hidden_size": 96, "model.num_heads": 32}, "model.num_heads 32 does not divide"),
    ],
)
def test_a_dimension_that_cannot_turn_is_refused_by_name(
    dimension: Dimension, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        check_turns(space(dimension), bind(TrainerConfig(), settings))


def test_heads_matter_only_to_a_model_that_has_them() -> None:
    odd = ChoiceDimension(name="model.hidden_size", choices=(18, 30), default=18)
    check_turns(space(odd), bind(TrainerConfig(), {"model.kind": "mlp", "model.num_heads": 4}))


def test_a_dimension_without_effect_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = bind
    monkeypatch.setattr(
        "hpo.engine.binding.bind", lambda base, values: real(base, {k: 1e-3 for k in values if k == "optim.lr"})
    )
    with pytest.raises(UsageError, match=r"dimension optim\.lr changes nothing between 0\.0001 and 0\.01"):
        check_turns(space(RATE), TrainerConfig())
