"""A trial as the campaign's study shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from hpo.adapters.dashboard.shown import shown_trial, tier_of, waiting_trial
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, TierPlan
from hpo.engine.strategies.samplers import tell_unfit

TIERS = (TierPlan(1, "first", 2), TierPlan(2, "second", 0), TierPlan(3, "refinement", 3))
SPACE = """
tiers:
  first:
    rate: {type: float, low: 0.0, high: 1.0, default: 0.5}
    width: {type: choice, choices: [16, 32, 64], ordered: true, default: 32}
  second:
    kind: {type: choice, choices: [a, 'yes', true, 1], default: a}
    depth: {type: integer, low: 1, high: 3, default: 2}
"""
VALUES = {"rate": 1, "width": 64, "kind": True, "depth": 3}


def campaign(direction: str = "maximize") -> Campaign:
    config = {
        "search": {"objective": "error"},
        "space": {"name": "small", "yaml": SPACE},
        "metrics": [{"name": "error", "direction": direction}],
    }
    return Campaign(1, CampaignSpec("night", config, {}, TIERS, seed=1), CampaignState.RUNNING)


def trial(state: TrialState = TrialState.COMPLETE, **more: Any) -> optuna.trial.FrozenTrial:
    told = {"slot": 4, "values": VALUES, "trial": "0004 first", "width": 64, "seconds": 1.5, **more.pop("told", {})}
    made = create_trial(state=state, user_attrs=told, **more)
    made.number = 7
    return made


def test_values_are_real_under_the_settings_own_names() -> None:
    seen = shown_trial(campaign(), TIERS[0], trial(value=0.1))
    assert seen.number == 4
    assert seen.params == VALUES
    assert seen.params["kind"] is True
    assert isinstance(seen.params["rate"], float)
    assert seen.distributions == {
        "rate": FloatDistribution(0.0, 1.0),
        "width": CategoricalDistribution((16, 32, 64)),
        "kind": CategoricalDistribution(("a", "yes", True, 1)),
        "depth": IntDistribution(1, 3),
    }
    assert seen.user_attrs == {"tier": "first", "optuna_trial": "night/1-first#7", "seconds": 1.5}


def test_a_setting_that_was_not_told_has_its_default() -> None:
    seen = shown_trial(campaign(), TIERS[0], trial(value=0.1, told={"values": {"rate": 0.25}}))
    assert seen.params == {"rate": 0.25, "width": 32, "kind": "a", "depth": 2}


def test_a_dimension_that_does_not_exist_in_a_trial_is_no_parameter_of_it() -> None:
    made = campaign()
    text = SPACE.replace("default: 2}", "default: 2, when: {kind: a}}")
    config = {**made.spec.config, "space": {"name": "small", "yaml": text}}
    without = replace(made, spec=replace(made.spec, config=config))
    told = {"values": {name: value for name, value in VALUES.items() if name != "depth"}}
    seen = shown_trial(without, TIERS[0], trial(value=0.1, told=told))
    assert seen.params.keys() == seen.distributions.keys() == {"rate", "width", "kind"}
    assert "depth" in shown_trial(without, TIERS[0], trial(value=0.1, told={"values": {"kind": "a"}})).params


def test_a_trial_without_its_configuration_yet_has_no_parameters() -> None:
    bare = create_trial(state=TrialState.RUNNING, user_attrs={"slot": 4})
    seen = shown_trial(campaign(), TIERS[0], bare)
    assert (seen.params, seen.distributions, seen.state, seen.values) == ({}, {}, TrialState.RUNNING, None)


@pytest.mark.parametrize(("direction", "score"), [("maximize", 0.2), ("minimize", -0.2)])
def test_a_pruned_trials_value_is_its_score(direction: str, score: float) -> None:
    """The metric is told with the sign that it has by itself."""
    pruned = trial(TrialState.PRUNED, value=0.3, intermediate_values={1: 0.1, 2: 0.3}, told={"valid/error": 0.2})
    assert shown_trial(campaign(direction), TIERS[0], pruned).value == score


def test_a_pruned_trial_that_was_told_no_metric_keeps_its_last_value() -> None:
    assert shown_trial(campaign(), TIERS[0], trial(TrialState.PRUNED, value=0.3)).value == 0.3
    assert shown_trial(campaign(), TIERS[0], trial(TrialState.PRUNED)).values is None


def test_what_did_not_fit_has_failed() -> None:
    study = optuna.create_study(direction="maximize")
    asked = study.ask()
    for name, value in (("slot", 4), ("values", VALUES)):
        asked.set_user_attr(name, value)
    tell_unfit(study, asked, 0.5)
    (unfit,) = study.trials
    assert unfit.state is TrialState.PRUNED
    seen = shown_trial(campaign(), TIERS[0], unfit)
    assert (seen.state, seen.values) == (TrialState.FAIL, None)
    assert seen.constraints == unfit.constraints != {}


def test_a_slot_belongs_to_the_tier_in_whose_share_it_lies() -> None:
    assert [tier_of(campaign(), slot).name for slot in (1, 2, 3, 5)] == ["first", "first", "refinement", "refinement"]
    with pytest.raises(ValueError, match="none of the number 6"):
        tier_of(campaign(), 6)
    assert waiting_trial(campaign(), 3).user_attrs == {"tier": "refinement"}
