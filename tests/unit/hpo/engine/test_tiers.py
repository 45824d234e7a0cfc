"""What the tiers plan, decide and hand over, from finished trials alone."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState
from support.finished import DROPOUT, SPACE, copied, trial

from hpo.domain.campaign import REFINEMENT
from hpo.domain.config import TierPolicy
from hpo.engine.parameters import distributions
from hpo.engine.tiers import earlier_results, incumbent_copy, plan_tiers

NAMES = ("capacity", "regularisation", "objective")


@pytest.mark.parametrize(
    ("budget", "slots"),
    [
        (1, [1, 0, 0, 0]),
        (2, [2, 0, 0, 0]),
        (3, [2, 1, 0, 0]),
        (4, [2, 1, 1, 0]),
        (5, [2, 1, 1, 1]),
        (8, [3, 2, 1, 2]),
        (20, [8, 4, 3, 5]),
        (60, [23, 13, 9, 15]),
    ],
)
def test_the_plan_spends_exactly_the_budget(budget: int, slots: list[int]) -> None:
    plan = plan_tiers(budget, NAMES, TierPolicy())
    assert [tier.num_slots for tier in plan] == slots
    assert [tier.name for tier in plan] == [*NAMES, REFINEMENT]
    assert [tier.number for tier in plan] == [1, 2, 3, 4]


@pytest.mark.parametrize("shares", [(0.5, 0.3, 0.2), (0.98, 0.01, 0.01), (1.0, 1.0, 50.0)])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.25, 0.95])
def test_no_tier_goes_empty_when_the_budget_allows(shares: tuple[float, ...], fraction: float) -> None:
    policy = TierPolicy(shares=shares, refinement_fraction=fraction)
    for budget in range(1, 60):
        slots = [tier.num_slots for tier in plan_tiers(budget, NAMES, policy)]
        assert sum(slots) == budget
        assert len(slots) == (4 if fraction else 3)
        if budget > len(slots):
            assert slots[0] >= 2
            assert min(slots) >= 1


def test_spaces_with_fewer_or_more_tiers_than_shares_are_planned_too() -> None:
    policy = TierPolicy(refinement_fraction=0.0)
    assert [tier.num_slots for tier in plan_tiers(8, ["a", "b"], policy)] == [5, 3]
    assert [tier.num_slots for tier in plan_tiers(12, ["a", "b", "c", "d"], policy)] == [5, 3, 2, 2]


def test_a_copy_keeps_the_result_and_names_where_it_ran() -> None:
    source = trial(2, 0.05, curve=(0.01, 0.05), optim_lr=5e-3)
    source.system_attrs = {"completed_rung_0": 0.01, "cma:generation": 3}
    copy = incumbent_copy(source, "c/1-capacity", (DROPOUT,), distributions((DROPOUT,)))
    assert copy.params == {"model.dropout": 0.1}
    assert (copy.value, copy.intermediate_values) == (0.05, {1: 0.01, 2: 0.05})
    assert copy.user_attrs == {**source.user_attrs, "copied_from": "c/1-capacity#1"}
    assert copy.system_attrs == {"completed_rung_0": 0.01}
    assert "copied_from" not in source.user_attrs
    again = incumbent_copy(copy, "c/2-regularisation", (DROPOUT,), distributions((DROPOUT,)))
    assert again.user_attrs["copied_from"] == "c/1-capacity#1"
    study = optuna.create_study(direction="maximize")
    study.add_trial(copy)
    assert study.best_trial.params == {"model.dropout": 0.1}


def test_a_copy_cannot_lie_outside_its_new_study() -> None:
    outside = trial(2, 0.05, model_dropout=0.4)
    with pytest.raises(ValueError, match="isn't contained"):
        incumbent_copy(outside, "c", (DROPOUT,), distributions((DROPOUT,), {"model.dropout": 0.1}, 0.2))


def test_the_refinement_starts_from_every_earlier_result_inside_its_ranges() -> None:
    within = distributions(SPACE.dimensions, SPACE.defaults(), 0.5)
    inside, pruned = trial(1, 0.05), trial(2, 0.02, TrialState.PRUNED, optim_lr=2e-3)
    earlier = [
        ("c/1-capacity", pruned),
        ("c/1-capacity", inside),
        ("c/1-capacity", trial(3, 0.05, optim_lr=9e-3)),
        ("c/1-capacity", trial(4, 0.05, model_hidden_size=128)),
        ("c/1-capacity", trial(5, None, TrialState.FAIL)),
        ("c/2-regularisation", copied(trial(1, 0.05, dimensions=(DROPOUT,)))),
        ("c/2-regularisation", trial(6, 0.06, dimensions=(DROPOUT,), model_dropout=0.2)),
    ]
    seeds = earlier_results(earlier, SPACE.dimensions, within)
    assert [seed.user_attrs["slot"] for seed in seeds] == [1, 2, 6]
    assert [seed.state for seed in seeds] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert [seed.user_attrs["copied_from"] for seed in seeds] == [
        "c/1-capacity#0",
        "c/1-capacity#1",
        "c/2-regularisation#5",
    ]
    assert all(seed.params.keys() == within.keys() for seed in seeds)
    assert seeds[2].params["model.dropout"] == 0.2
