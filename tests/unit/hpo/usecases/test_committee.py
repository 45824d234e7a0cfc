"""Which trials a committee is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpo.domain.campaign import Outcome
from hpo.usecases.committee import RULES, Candidate, is_worse, num_members, select

DAYS = 120


def candidate(slot: int, mean: float, **more: Any) -> Candidate:
    """A trial whose days are its mean, the market's common noise and a little of its own."""
    common = np.random.default_rng(0).normal(0, 0.05, DAYS)
    own = np.random.default_rng(slot).normal(0, more.pop("noise", 0.02), DAYS)
    daily = mean + common - common.mean() + own - own.mean()
    fields = {"outcome": Outcome.COMPLETE, "score": mean, "num_epochs": 4, "daily": daily}
    return Candidate(**{"slot": slot, **fields, **more})


def chosen(candidates: list[Candidate], single: int = 1, **more: Any) -> tuple[int, ...]:
    return select(candidates, single, **{"rule": "all", "size": 20, "horizon": 1, "num_epochs": 4, **more})


def test_all_that_learnt_something_sit_in_it_pruned_ones_too() -> None:
    trials = [candidate(1, 0.02), candidate(2, 0.018), candidate(3, 0.017, outcome=Outcome.PRUNED, num_epochs=2)]

    assert chosen(trials) == (1, 2, 3)
    assert chosen(trials, rule="complete") == (1, 2)
    assert chosen(trials, rule="single") == (1,)


def test_failed_trials_and_those_stopped_after_one_epoch_do_not() -> None:
    trials = [
        candidate(1, 0.02),
        candidate(2, 0.02, outcome=Outcome.FAILED),
        candidate(3, 0.02, outcome=Outcome.PRUNED, num_epochs=1),
        candidate(4, 0.02, score=float("nan")),
    ]

    assert chosen(trials) == (1,)


def test_where_one_epoch_is_all_there_is_it_is_enough() -> None:
    assert chosen([candidate(1, 0.02, num_epochs=1), candidate(2, 0.02, num_epochs=1)], num_epochs=1) == (1, 2)


def test_what_is_clearly_worse_than_the_champion_stays_out() -> None:
    assert chosen([candidate(1, 0.20), candidate(2, 0.19, noise=0.1), candidate(3, 0.15)]) == (1, 2)


def test_the_same_gap_is_no_reason_where_days_are_noisy() -> None:
    assert chosen([candidate(1, 0.06, noise=0.4), candidate(2, 0.01, noise=0.4)]) == (1, 2)


def test_what_ranks_backwards_stays_out_though_the_champion_is_noise_too() -> None:
    assert chosen([candidate(1, -0.03, noise=0.4), candidate(2, -0.05, noise=0.01)]) == (1,)


def test_more_trials_need_more_doubt_to_leave_one_out() -> None:
    """A bar that ignores the number of trials leaves out one of twenty equal ones by chance alone."""
    equal = [candidate(slot, 0.02, noise=0.1) for slot in range(1, 3)]
    errors = [0.1 * np.sqrt(2 / DAYS) * factor for factor in (2.4,)]
    worse = candidate(3, 0.02 - errors[0], noise=0.1)

    assert 3 not in chosen([equal[0], worse])
    assert 3 in chosen([equal[0], *(candidate(slot, 0.02, noise=0.1) for slot in range(4, 44)), worse], size=50)


def spread(low: float, high: float, number: int, **more: Any) -> list[Candidate]:
    """Trials whose true means lie evenly between high, the first one's, and low."""
    return [candidate(slot, mean, **more) for slot, mean in enumerate(np.linspace(high, low, number), start=1)]


def test_of_trials_whose_differences_are_clear_only_the_best_few_sit_in_it() -> None:
    """The ninth and the tenth are not clearly worse than the champion each by itself; the spread of all says it."""
    trials = spread(0.14, 0.20, 12, noise=0.15)
    worse = [trial.slot for trial in trials if is_worse(trial, trials[0], 1, 1 - 0.05 / 11)]
    assert worse == [11, 12]
    assert chosen(trials) == tuple(range(1, 9))


def test_of_trials_whose_differences_may_be_noise_all_do() -> None:
    assert len(chosen(spread(0.028, 0.030, 12, noise=0.08))) == 12
    assert len(chosen(spread(-0.03, 0.02, 12, noise=0.5))) == 12


def test_differences_that_one_year_does_not_hand_on_to_the_next_do_not_count() -> None:
    """They are beyond the noise of the days, and below a twentieth of a day's standard deviation."""
    trials = [replace(trial, daily=trial.daily * 1.0) for trial in spread(0.029, 0.031, 12, noise=0.0005)]
    assert num_members(trials, 1) == 12
    assert num_members(spread(0.02, 0.04, 12, noise=0.0005), 1) < 12


def test_three_trials_say_nothing_of_how_far_trials_differ() -> None:
    assert num_members(spread(0.1, 0.3, 3), 1) == 3
    assert num_members(spread(0.1, 0.3, 4), 1) < 4


def test_where_nothing_ranks_better_than_chance_there_is_no_best() -> None:
    assert num_members(spread(-0.3, -0.1, 8), 1) == 8


def test_equal_trials_and_days_that_some_lack() -> None:
    same = [replace(candidate(1, 0.02), slot=slot) for slot in range(1, 7)]
    assert num_members(same, 1) == 6
    holes = spread(0.14, 0.20, 12, noise=0.15)
    for trial in holes[:3]:
        trial.daily[trial.slot] = np.nan
    assert num_members(holes, 1) < 12
    for trial in holes[:6]:
        trial.daily[trial.slot * 18 :][:18] = np.nan
    assert num_members(holes, 1) == 12  # too few days that all of them have


def test_the_champion_comes_first_whatever_its_score() -> None:
    trials = spread(0.14, 0.20, 12, noise=0.15)
    assert 12 in chosen(trials, single=12)
    assert len(chosen(trials, single=12)) < 12


def test_the_size_is_bounded_by_the_best_scores_and_the_champion_stays() -> None:
    trials = [candidate(slot, 0.02, score=0.02 + slot / 1000) for slot in range(1, 31)]

    assert chosen(trials, size=5) == (1, 27, 28, 29, 30)
    assert chosen(trials, size=1) == (1,)


def test_a_trial_on_other_days_cannot_be_compared_and_stays_out() -> None:
    assert chosen([candidate(1, 0.02), candidate(2, 0.02, daily=np.zeros(DAYS - 1))]) == (1,)


@pytest.mark.parametrize("rule", RULES)
def test_the_order_in_which_trials_are_given_changes_nothing(rule: str) -> None:
    trials = [candidate(slot, 0.02 - slot / 2000, score=0.02) for slot in range(1, 12)]

    assert chosen(trials, rule=rule, size=4) == chosen(trials[::-1], rule=rule, size=4)
