"""Values become Optuna parameters and back without loss; refinement narrows around the incumbent."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.engine.parameters import distributions, parameter_name, to_params, to_values
from search_spaces import ChoiceDimension, Dimension, FloatDimension, IntegerDimension, Value

RATE = FloatDimension(name="optim.lr", low=1e-4, high=1e-2, log=True, default=1e-3)
DROPOUT = FloatDimension(name="model.dropout", low=0.0, high=0.4, step=0.1, default=0.1)
LAYERS = IntegerDimension(name="model.num_layers", low=1, high=9, step=2, default=3)
WIDTH = ChoiceDimension(name="model.hidden_size", choices=(16, 32, 64, 128), ordered=True, default=32)
SCHEDULE = ChoiceDimension(name="optim.schedule", choices=("cosine", "constant"), default="cosine")
ALL: tuple[Dimension, ...] = (RATE, DROPOUT, LAYERS, WIDTH, SCHEDULE)
DEFAULTS: dict[str, Value] = {d.name: d.default for d in ALL}


def test_distributions_keep_scale_step_and_order() -> None:
    assert distributions(ALL) == {
        "optim.lr": FloatDistribution(1e-4, 1e-2, log=True),
        "model.dropout": FloatDistribution(0.0, 0.4, step=0.1),
        "model.num_layers": IntDistribution(1, 9, step=2),
        "model.hidden_size[index]": IntDistribution(0, 3),
        "optim.schedule": CategoricalDistribution(("cosine", "constant")),
    }


def test_params_and_values_are_inverse() -> None:
    params = {
        "optim.lr": 2e-3,
        "model.dropout": 0.2,
        "model.num_layers": 5,
        "model.hidden_size[index]": 2,
        "optim.schedule": "constant",
    }
    values = to_values(ALL, params)
    assert values["model.hidden_size"] == 64
    assert values["optim.schedule"] == "constant"
    assert to_params(ALL, values) == params
    with pytest.raises(ValueError, match="not in list"):
        to_params(ALL, {**values, "model.hidden_size": 65})


def test_refinement_narrows_around_the_incumbent_on_the_scale_that_is_searched() -> None:
    narrow = distributions(ALL, around=DEFAULTS, width=0.5)
    rate = narrow["optim.lr"]
    assert isinstance(rate, FloatDistribution)
    assert rate.low == pytest.approx(10**-3.5)
    assert rate.high == pytest.approx(10**-2.5)
    assert narrow["model.dropout"] == FloatDistribution(0.0, 0.2, step=0.1)
    assert narrow["model.num_layers"] == IntDistribution(1, 5, step=2)
    assert narrow["model.hidden_size[index]"] == IntDistribution(0, 2)
    assert narrow["optim.schedule"] == CategoricalDistribution(("cosine", "constant"))


def test_refinement_is_clipped_to_the_full_range_and_always_contains_the_incumbent() -> None:
    ends: dict[str, Value] = {**DEFAULTS, "optim.lr": 1e-2, "model.dropout": 0.4, "model.num_layers": 9}
    ends["model.hidden_size"] = 128
    for width in (0.01, 0.3, 1.0):
        narrow = distributions(ALL, around=ends, width=width)
        params = to_params(ALL, ends)
        for name, full in distributions(ALL).items():
            assert narrow[name]._contains(narrow[name].to_internal_repr(params[name])), name
            if not isinstance(full, CategoricalDistribution):
                assert full.low <= narrow[name].low <= narrow[name].high <= full.high  # type: ignore[attr-defined]


def test_the_smallest_refinement_keeps_a_step_to_either_side() -> None:
    narrow = distributions(ALL, around=DEFAULTS, width=0.001)
    assert narrow["model.num_layers"] == IntDistribution(1, 5, step=2)
    assert narrow["model.hidden_size[index]"] == IntDistribution(0, 2)
    assert narrow["model.dropout"] == FloatDistribution(0.0, 0.2, step=0.1)


def test_full_width_is_the_full_range() -> None:
    assert distributions(ALL, around=DEFAULTS, width=1.0) == distributions(ALL)


def test_parameter_names_say_what_they_hold() -> None:
    assert [parameter_name(d) for d in (RATE, WIDTH, SCHEDULE)] == [
        "optim.lr",
        "model.hidden_size[index]",
        "optim.schedule",
    ]
