"""Values reach the trainer's configuration as values; a dimension that has no effect is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo.domain.errors import UsageError
from hpo.domain.settings import flatten
from hpo.engine import binding
from hpo.ranking.ranker import Ranker
from search_spaces import (
    ChoiceDimension,
    Condition,
    Dimension,
    FloatDimension,
    IntegerDimension,
    Space,
    Tier,
    Value,
    catalog,
    load_space,
)

RATE = FloatDimension(name="optim.lr", low=1e-4, high=1e-2, log=True, default=1e-3)
WIDTH = ChoiceDimension(name="model.hidden_size", choices=(16, 32, 64, 128), ordered=True, default=32)


RANKER = Ranker()


def bind(base: dict[str, Any], values: Mapping[str, Value]) -> dict[str, Any]:
    return binding.bind(RANKER, base, values)


def check_turns(space: Space, base: dict[str, Any]) -> None:
    binding.check_turns(RANKER, space, base)


def space(*dimensions: Dimension) -> Space:
    return Space("s", {}, (Tier("one", dimensions),))


def test_bind_puts_values_in_place_and_leaves_the_rest() -> None:
    base = binding.complete(RANKER, {})
    bound = flatten(bind(base, {"optim.lr": 5e-4, "model.hidden_size": 64, "data.split.num_folds": 2}))
    changed = {name: value for name, value in bound.items() if flatten(base)[name] != value}
    assert changed == {"optim.lr": 5e-4, "model.hidden_size": 64, "data.split.num_folds": 2}
    assert base == binding.complete(RANKER, {}), "the base is left as it was"


def test_a_model_of_ones_own_brings_settings_that_are_bound_and_checked_like_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3] / "support" / "own")
    bound = flatten(bind({}, {"model.own.width": 8, "model.kind": "lagged:Lagged"}))
    assert (bound["model.own.width"], bound["model.own.dropout"]) == (8, 0.1)
    base = {"model": {"kind": "lagged:Lagged"}}
    dimensions = [IntegerDimension(name="model.own.width", low=4, high=32, default=8)]
    check_turns(space(*dimensions), bind(base, {}))
    too_low = IntegerDimension(name="model.own.width", low=1, high=32, default=8)
    with pytest.raises(UsageError, match=r"dimension model\.own\.width at 1: .*greater than or equal to 2"):
        check_turns(space(too_low), bind(base, {}))
    with pytest.raises(UsageError, match=r"model\.hidden_size between 16 and 128 has no effect"):
        check_turns(space(WIDTH), bind(base, {}))


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
        bind({}, values)


@pytest.mark.parametrize("name", catalog())
def test_every_dimension_of_the_catalog_turns_something(name: str) -> None:
    ours = load_space(name)
    check_turns(ours, bind({}, ours.settings))


@pytest.mark.parametrize(
    ("dimension", "settings", "sentence"),
    [
        (FloatDimension(name="optim.rate", low=0, high=1, default=0), {}, r"Unknown trainer setting 'optim\.rate'"),
        (FloatDimension(name="model.dropout", low=0, high=1, default=0), {}, r"model\.dropout at 1: .*less than 1"),
        (FloatDimension(name="train.epochs", low=1, high=9, default=2), {}, r"train\.epochs at 3\.5.*integer"),
        (
            IntegerDimension(name="model.num_layers", low=1, high=3, default=2),
            {"model.kind": "linear"},
            "has no effect",
        ),
        (RATE, {"model.kind": "lightgbm"}, r"the dimension optim\.lr between .* has no effect"),
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
        check_turns(space(dimension), bind({}, settings))


def test_heads_matter_only_to_a_model_that_has_them() -> None:
    odd = ChoiceDimension(name="model.hidden_size", choices=(18, 30), default=18)
    check_turns(space(odd), bind({}, {"model.kind": "mlp", "model.num_heads": 4}))


@pytest.mark.parametrize(
    "name",
    [
        "data.min_price",
        "data.split.embargo_days",
        "model.window",
        "train.seed",
        "train.threads",
        "train.score_epochs",
    ],
)
def test_what_all_trials_share_cannot_be_searched(name: str) -> None:
    shared = IntegerDimension(name=name, low=5, high=9, default=7)
    with pytest.raises(UsageError, match=rf"dimension {name} cannot be searched, because all trials"):
        check_turns(space(shared), {})


PLATEAU = FloatDimension(name="optim.plateau_factor", low=0.1, high=0.9, default=0.5)
FINAL = FloatDimension(name="optim.final_lr_fraction", low=0.01, high=0.1, default=0.01)
AVERAGED = FloatDimension(name="train.swa_fraction", low=0.0, high=0.4, default=0.2)
SCHEDULE = ChoiceDimension(name="optim.schedule", choices=("cosine", "plateau"), default="cosine")


@pytest.mark.parametrize(
    ("dimension", "settings"),
    [(PLATEAU, {}), (FINAL, {"optim.schedule": "one_cycle"}), (AVERAGED, {"train.epochs": 3})],
    ids=["a factor of a schedule that is not used", "an end that is not reached", "an average that never begins"],
)
def test_a_dimension_that_nothing_reads_is_refused(dimension: Dimension, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"dimension {dimension.name} between .* has no effect"):
        check_turns(space(dimension), bind({}, settings))


KIND = ChoiceDimension(name="model.kind", choices=("gru", "lightgbm", "linear"), default="lightgbm")


def when(*kinds: str) -> tuple[Condition, ...]:
    return (Condition("model.kind", kinds),)


def test_a_conditional_dimension_is_checked_where_it_exists() -> None:
    rate = FloatDimension(name="optim.lr", low=1e-4, high=1e-2, log=True, default=1e-3, when=when("gru", "linear"))
    layers = IntegerDimension(name="model.num_layers", low=1, high=3, default=2, when=when("gru"))
    leaves = IntegerDimension(name="model.num_leaves", low=4, high=64, default=31, when=when("lightgbm"))
    check_turns(space(KIND, rate, layers, leaves), {})
    idle = replace(layers, when=when("gru", "linear"))
    with pytest.raises(
        UsageError, match=r"model\.num_layers between 1 and 3 has no effect where model\.kind is 'linear'"
    ):
        check_turns(space(KIND, rate, idle), {})
    wrong = replace(leaves, low=1, default=4)
    with pytest.raises(UsageError, match=r"num_leaves at 1 where model\.kind is 'lightgbm': .*greater than or equal"):
        check_turns(space(KIND, wrong), {})


def test_heads_must_divide_widths_where_a_model_with_heads_is_searched() -> None:
    kind = ChoiceDimension(name="model.kind", choices=("gru", "atft_gat_fan"), default="gru")
    heads = ChoiceDimension(name="model.num_heads", choices=(3, 4), default=4, when=when("atft_gat_fan"))
    with pytest.raises(UsageError, match="num_heads 3 does not divide"):
        check_turns(space(kind, heads), {})


@pytest.mark.parametrize(
    ("dimensions", "settings"),
    [
        ((PLATEAU,), {"optim.schedule": "plateau"}),
        ((PLATEAU, SCHEDULE), {}),
        ((AVERAGED,), {"train.epochs": 10}),
    ],
    ids=["it is used", "another dimension switches it on", "the average begins"],
)
def test_a_dimension_that_is_read_somewhere_is_taken(
    dimensions: tuple[Dimension, ...], settings: dict[str, Any]
) -> None:
    check_turns(space(*dimensions), bind({}, settings))
