"""Every sampler can be built by name, and proposes for any trial from a fresh instance."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState, create_trial

from hpo.domain.config import SamplerConfig
from hpo.domain.errors import UsageError
from hpo.engine.strategies.samplers import SAMPLERS, build_sampler

SPACE: Mapping[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0, step=0.25),
    "n[index]": IntDistribution(0, 2),
    "c": CategoricalDistribution(("a", "b")),
}
OPTIONS: Mapping[str, dict[str, Any]] = {"partial_fixed": {"fixed_params": {"c": "b"}}}


@pytest.fixture(autouse=True)
def _experimental_classes_are_meant_here() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def run_slot(study: optuna.Study, name: str, slot: int, seed: int = 7) -> dict[str, Any]:
    """One slot as a worker runs it: a fresh sampler, a trial opened by hand, its result told."""
    study.sampler = build_sampler(
        SamplerConfig(name=name, options=OPTIONS.get(name, {})), seed=seed + slot, study_seed=seed, distributions=SPACE
    )
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"slot": slot}))
    trial = optuna.Trial(study, study.get_trials()[-1]._trial_id)
    for parameter, distribution in SPACE.items():
        trial._suggest(parameter, distribution)
    study.tell(trial, trial.params["x"] - abs(trial.params["n[index]"] - 1))
    return dict(trial.params)


def test_a_grid_cannot_leave_a_dimension_out() -> None:
    conditions = {"x": {"c": ("a",)}}
    with pytest.raises(UsageError, match="'grid' deals out every value of x, also in trials where it does not exist"):
        build_sampler(SamplerConfig(name="grid"), seed=0, study_seed=0, distributions=SPACE, conditions=conditions)
    build_sampler(SamplerConfig(name="brute_force"), seed=0, study_seed=0, distributions=SPACE, conditions=conditions)


def campaign(name: str, trials: int) -> list[dict[str, Any]]:
    study = optuna.create_study(direction="maximize")
    return [run_slot(study, name, slot) for slot in range(1, trials + 1)]


def test_the_table_has_every_sampler_of_optuna() -> None:
    public = {name for name in optuna.samplers.__all__ if name.endswith("Sampler") and not name.startswith("Base")}
    assert {row.cls for row in SAMPLERS.values() if row.home is optuna.samplers} == public


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_proposes_for_every_trial_from_a_fresh_instance(name: str) -> None:
    params = campaign(name, 10)
    assert all(set(one) == set(SPACE) for one in params)
    assert len({str(one) for one in params}) > 3
    assert campaign(name, 10) == params, "the same seeds propose the same"


@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_the_exhaustive_ones_deal_from_one_deck_and_go_on_after_its_end(name: str) -> None:
    params = campaign(name, 32)
    assert len({str(one) for one in params[:30]}) == 30, "5 * 3 * 2 cells, each once"


def test_qmc_follows_one_sequence() -> None:
    params = campaign("qmc", 17)[1:]
    assert len({one["x"] for one in params}) == 5
    assert min(sum(one["c"] == c for one in params) for c in "ab") == 8


def test_partial_fixed_holds_what_it_is_told() -> None:
    assert {one["c"] for one in campaign("partial_fixed", 6)} == {"b"}


def test_seeds_are_taken_from_the_slot_and_decks_from_the_study() -> None:
    assert first_proposals("tpe", seed=1, study_seed=0) != first_proposals("tpe", seed=2, study_seed=0)
    assert first_proposals("tpe", seed=1, study_seed=0) == first_proposals("tpe", seed=1, study_seed=9)
    assert first_proposals("grid", seed=1, study_seed=5) == first_proposals("grid", seed=2, study_seed=5)
    assert first_proposals("grid", seed=1, study_seed=5) != first_proposals("grid", seed=1, study_seed=6)


def first_proposals(name: str, seed: int, study_seed: int) -> list[dict[str, Any]]:
    study = optuna.create_study()
    study.sampler = build_sampler(SamplerConfig(name=name), seed=seed, study_seed=study_seed, distributions=SPACE)
    return [dict(study.ask(dict(SPACE)).params) for _ in range(8)]


def test_grid_takes_named_values_of_an_endless_dimension_as_far_as_they_lie_in_range() -> None:
    endless = {"lr": FloatDistribution(1e-4, 1e-2, log=True)}
    config = SamplerConfig(name="grid", options={"search_space": {"lr": [1e-5, 1e-3, 1e-2], "elsewhere": [1]}})
    study = optuna.create_study()
    study.sampler = build_sampler(config, seed=0, study_seed=0, distributions=endless)
    assert {study.ask(endless).params["lr"] for _ in range(2)} == {1e-3, 1e-2}


def test_nested_samplers_are_given_by_name() -> None:
    config = SamplerConfig(name="cmaes", options={"independent_sampler": {"name": "qmc"}})
    sampler = build_sampler(config, seed=0, study_seed=0, distributions=SPACE)
    assert isinstance(sampler, optuna.samplers.CmaEsSampler)
    assert isinstance(sampler._independent_sampler, optuna.samplers.QMCSampler)


def test_our_defaults_and_the_users_options_reach_the_class() -> None:
    ours = build_sampler(SamplerConfig(name="tpe"), seed=0, study_seed=0, distributions=SPACE)
    theirs = build_sampler(
        SamplerConfig(name="tpe", options={"n_startup_trials": 9}), seed=0, study_seed=0, distributions=SPACE
    )
    assert isinstance(ours, optuna.samplers.TPESampler)
    assert isinstance(theirs, optuna.samplers.TPESampler)
    assert (ours._n_startup_trials, theirs._n_startup_trials) == (3, 9)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("tbe", {}, r"Unknown sampler 'tbe': .*Did you mean 'tpe'\?"),
        ("tpe", {"n_startup_trails": 3}, r"Unknown option 'n_startup_trails'.*Did you mean 'n_startup_trials'\?"),
        ("tpe", {"gamma": 3}, "takes a Python object"),
        ("nsgaii", {"population_size": 1}, "sampler.options of 'nsgaii'"),
        ("partial_fixed", {}, "sampler.options of 'partial_fixed': .*fixed_params"),
        ("cmaes", {"independent_sampler": "random"}, "is another sampler, written as"),
    ],
)
def test_what_is_wrong_is_said(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        build_sampler(SamplerConfig(name=name, options=options), seed=0, study_seed=0, distributions=SPACE)


@pytest.mark.parametrize(
    ("name", "remedy"), [("grid", r"search_space\.lr"), ("brute_force", "give the dimension a step")]
)
def test_an_endless_dimension_is_refused_with_its_remedy(name: str, remedy: str) -> None:
    endless = {"lr": FloatDistribution(1e-4, 1e-2, log=True)}
    with pytest.raises(UsageError, match=rf"lr has endlessly many; .*{remedy}"):
        build_sampler(SamplerConfig(name=name), seed=0, study_seed=0, distributions=endless)


def test_grid_values_that_all_lie_outside_are_refused() -> None:
    config = SamplerConfig(name="grid", options={"search_space": {"x": [7.0]}})
    with pytest.raises(UsageError, match=r"search_space\.x: none of \[7\.0\] lies in"):
        build_sampler(config, seed=0, study_seed=0, distributions=SPACE)


@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_more_values_than_can_be_listed_are_refused_at_once(name: str) -> None:
    wide = {"n": IntDistribution(1, 2**53)}
    with pytest.raises(UsageError, match=r"but n has more than 100,000; "):
        build_sampler(SamplerConfig(name=name), seed=1, study_seed=1, distributions=wide)


def test_a_grid_of_too_many_cells_is_refused_at_once() -> None:
    wide = {name: IntDistribution(1, 90_000) for name in ("n", "m")}
    with pytest.raises(UsageError, match=r"would have 8,100,000,000 cells, more than the 100,000"):
        build_sampler(SamplerConfig(name="grid"), seed=1, study_seed=1, distributions=wide)
