"""What a finished tier decides, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState
from support.finished import DROPOUT, RATE, SPACE, WIDTH, copied, trial

from hpo.domain.campaign import REFINEMENT, TierPlan
from hpo.engine.decisions import decide, importances, score_noise
from hpo.engine.parameters import distributions
from hpo.engine.tiers import dimensions_of, note

PLAN = TierPlan(1, "capacity", 4)


def decided(*trials: FrozenTrial, plan: TierPlan = PLAN) -> dict[str, Any]:
    return decide(plan, plan.study_name("c"), trials, SPACE.defaults(), score_epochs=3)


def test_a_tier_tunes_its_own_dimensions_and_the_refinement_all() -> None:
    assert dimensions_of(SPACE, "regularisation") == (DROPOUT,)
    assert dimensions_of(SPACE, REFINEMENT) == (RATE, WIDTH, DROPOUT)


def test_the_best_complete_trial_wins_with_its_full_values() -> None:
    decision = decided(
        trial(1, 0.03),
        trial(2, 0.05, optim_lr=5e-3),
        trial(3, 0.04, optim_lr=2e-3),
        trial(4, 0.09, TrialState.PRUNED),
        trial(5, None, TrialState.FAIL),
    )
    assert decision["values"] == {"optim.lr": 5e-3, "model.hidden_size": 32, "model.dropout": 0.1}
    assert (decision["slot"], decision["score"], decision["trial_number"]) == (2, 0.05, 1)
    assert decision["source"] == "c/1-capacity#1"
    assert decision["runner_up"]["slot"] == 3
    assert decision["margin"] == pytest.approx(0.01)
    assert decision["num_trials"] == {"complete": 3, "pruned": 1, "failed": 1, "copied": 0}
    assert not decision["kept_incumbent"]
    assert json.loads(json.dumps(decision)) == decision


def test_a_tie_goes_to_the_smaller_model_and_then_to_the_earlier_slot() -> None:
    close = decided(trial(1, 0.05, parameters=900), trial(2, 0.04995, parameters=300), trial(3, 0.04, parameters=10))
    assert close["slot"] == 2
    assert "ties" in close["reason"]
    assert decided(trial(1, 0.05, parameters=900), trial(2, 0.0495, parameters=300))["slot"] == 1
    assert decided(trial(2, 0.05, parameters=300), trial(1, 0.05, parameters=300))["slot"] == 1
    assert decided(trial(2, 0.05), trial(1, 0.05))["slot"] == 1


def test_a_tier_that_does_not_beat_the_incumbent_keeps_it() -> None:
    decision = decided(copied(trial(1, 0.05, parameters=5)), trial(9, 0.049), trial(10, 0.05, parameters=7))
    assert decision["kept_incumbent"]
    assert (decision["slot"], decision["source"]) == (1, "c/1-capacity#0")
    assert decision["num_trials"] == {"complete": 2, "pruned": 0, "failed": 0, "copied": 1}
    assert not decided(copied(trial(1, 0.05)), trial(9, 0.051))["kept_incumbent"]


def test_failures_fall_back_to_the_incumbent_or_the_defaults_and_say_so() -> None:
    kept = decided(copied(trial(1, 0.05, optim_lr=2e-3)), trial(9, None, TrialState.FAIL))
    assert kept["values"]["optim.lr"] == 2e-3
    assert "1 trials: 0 complete, 0 pruned, 1 failed. None beat the incumbent" in kept["reason"]
    nothing = decided(trial(1, None, TrialState.FAIL))
    assert nothing["values"] == SPACE.defaults()
    assert [nothing[key] for key in ("score", "slot", "trial_number", "source", "margin")] == [None] * 5
    assert "the defaults stand" in nothing["reason"]
    idle = decided(copied(trial(1, 0.05)))
    assert "left no trial for the tier capacity" in idle["reason"]


def test_the_reason_weighs_the_margin_against_the_noise() -> None:
    jagged = tuple(0.04 + (-1) ** n * 0.004 for n in range(12))
    near = decided(trial(1, 0.050, curve=jagged), trial(2, 0.049, curve=jagged))
    far = decided(trial(1, 0.09, curve=jagged), trial(2, 0.01, curve=jagged))
    assert near["noise"] == pytest.approx((0.008**2 / 2 / 3) ** 0.5)
    assert "no more than the noise of epochs explains" in near["reason"]
    assert ", more than the noise of epochs explains" in far["reason"]


def test_noise_needs_a_few_epochs() -> None:
    assert score_noise([trial(1, 0.05, curve=(0.1, 0.2, 0.3))], score_epochs=3) is None
    assert score_noise([trial(1, 0.05, curve=(0.1,) * 8)], score_epochs=3) == 0.0


def test_importances_find_the_setting_that_matters() -> None:
    rates = [1e-4 * 10 ** (n / 6) for n in range(12)]
    trials = [
        trial(n + 1, rate, TrialState.PRUNED if n < 6 else TrialState.COMPLETE, optim_lr=rate, model_hidden_size=width)
        for n, (rate, width) in enumerate(zip(rates, (16, 32, 64, 128) * 3, strict=True))
    ]
    shares = importances(trials)
    assert list(shares) == ["optim.lr", "model.hidden_size"]
    assert shares["optim.lr"] > 0.6
    assert sum(shares.values()) == pytest.approx(1.0)
    assert importances(trials[:7]) == {}


def test_the_note_can_be_read_without_knowing_the_campaign() -> None:
    ranges: Mapping[str, Any] = distributions((RATE, WIDTH), SPACE.defaults(), 0.5)
    text = note(PLAN, (RATE, WIDTH), ranges, SPACE.defaults(), "RankIC, 5 days")
    assert "Maximises RankIC, 5 days on" in text
    assert "`model.hidden_size[index]`: position of 0 = 16, 1 = 32, 2 = 64" in text
    assert "`optim.lr`: 0.000316228 to 0.00316228, logarithmic" in text
    assert "- `model.dropout` = 0.1" in text
    assert "`optim.lr` =" not in text, "what is tuned is not held"
    assert "copied_from" in text
