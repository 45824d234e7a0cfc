"""The choice at the end keeps the default where nothing is proven, and says what a lead is worth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.engine.joint import choose
from hpo.engine.joint.coordinates import Coordinates
from hpo.engine.joint.fitting import fit
from hpo.engine.joint.uncertainty import predictions

SPACE: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in "abcd"}


def trials(
    level: Callable[[dict[str, float]], float], seed: int, num_trials: int = 20, scale: float = 1.0
) -> list[FrozenTrial]:
    """The default (.5 everywhere) and random configurations, with noisy curves and their last three epochs as score."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(num_trials):
        params = {name: 0.5 if number == 0 else float(rng.uniform()) for name in SPACE}
        luck = rng.normal(0, 0.003)
        curve = {
            epoch: scale * (level(params) * (1 - np.exp(-epoch / 2)) + luck + rng.normal(0, 0.004))
            for epoch in range(1, 13)
        }
        score = float(np.mean([curve[epoch] for epoch in (10, 11, 12)]))
        found.append(create_trial(value=score, params=params, distributions=SPACE, intermediate_values=curve))
    return found


def steep(params: dict[str, float]) -> float:
    return 0.06 - 0.1 * (params["a"] - 0.95) ** 2 - 0.06 * (params["b"] - 0.1) ** 2


def test_on_a_flat_surface_the_default_stays() -> None:
    choices = [choose(trials(lambda params: 0.03, seed), SPACE, 0) for seed in range(10)]
    kept = sum(choice is not None and choice.ranking[0][0] == 0 for choice in choices)
    assert kept >= 9


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-4])
def test_a_lead_that_is_proven_is_taken_and_estimated_in_units_of_the_score(scale: float) -> None:
    for seed in range(3):
        given = trials(steep, seed, scale=scale)
        choice = choose(given, SPACE, 0)
        assert choice is not None
        assert choice.lead is not None
        best = choice.ranking[0][0]
        assert choice.lead.is_proven
        assert best == choice.lead.challenger
        truth = scale * (steep(given[best].params) - steep(given[0].params))
        assert abs(choice.lead.gain - truth) < 4 * choice.lead.error
        assert choice.lead.gain > 0


def test_a_default_far_below_all_others_is_not_kept() -> None:
    """Where the others score nearly alike, scores that low are moved up for the model, which then sees no distance."""
    scores = [-119.9, -67.30, -67.31, -68.2, -67.35, -70.1, -67.32]
    rng = np.random.default_rng(0)
    given = [
        create_trial(
            value=score,
            params={name: 0.5 if number == 0 else float(rng.uniform()) for name in SPACE},
            distributions=SPACE,
            intermediate_values={epoch: score - 30.0 / epoch**2 + 30.0 / 64 for epoch in range(1, 9)},
        )
        for number, score in enumerate(scores)
    ]
    choice = choose(given, SPACE, 0)
    assert choice is not None
    assert choice.ranking[0][0] != 0
    assert choice.lead is not None
    assert choice.lead.gain == pytest.approx(52, abs=4)


def test_the_lead_on_a_default_that_diverges_is_the_whole_distance() -> None:
    def cliff(params: dict[str, float]) -> float:
        return -0.3 if params["a"] == 0.5 else steep(params)

    given = trials(cliff, 3)
    choice = choose(given, SPACE, 0)
    assert choice is not None
    assert choice.lead is not None
    truth = cliff(given[choice.lead.challenger].params) + 0.3
    assert choice.lead.gain == pytest.approx(truth, abs=0.02)


def test_the_error_of_a_lead_counts_what_is_not_known_of_the_parameters() -> None:
    given = trials(steep, 4)
    choice = choose(given, SPACE, 0)
    fitted = fit(given, Coordinates.of(SPACE), sign=1.0, thorough=True)
    assert choice is not None
    assert choice.lead is not None
    assert fitted is not None
    weights, means, covariances = predictions(fitted, fitted.points[[choice.lead.challenger, 0]])
    gains = means[:, 0] - means[:, 1]
    within = float(weights @ (covariances[:, 0, 0] + covariances[:, 1, 1] - 2 * covariances[:, 0, 1]))
    between = float(weights @ (gains - weights @ gains) ** 2)
    assert between > 0.03 * within
    assert choice.lead.error == pytest.approx(fitted.seen.scale * (within + between) ** 0.5, rel=0.01)


def test_a_lead_is_worth_less_the_more_challengers_there_are() -> None:
    def mild(params: dict[str, float]) -> float:
        return 0.06 - 0.03 * (params["a"] - 0.9) ** 2

    given = trials(mild, 8)
    among_many = choose(given, SPACE, 0)
    assert among_many is not None
    assert among_many.lead is not None
    for position, trial in enumerate(given):
        if position not in (0, among_many.lead.challenger):
            trial.state = TrialState.PRUNED
    alone = choose(given, SPACE, 0)
    assert alone is not None
    assert alone.lead is not None
    assert alone.lead.challenger == among_many.lead.challenger
    assert among_many.lead.probability < alone.lead.probability - 0.02


def test_only_complete_trials_are_chosen_and_pruned_ones_inform() -> None:
    given = trials(steep, 5)
    best = max(range(20), key=lambda n: steep(given[n].params))
    given[best].state = TrialState.PRUNED
    choice = choose(given, SPACE, 0)
    assert choice is not None
    assert best not in [position for position, _ in choice.ranking]
    assert len(choice.ranking) == 19


def test_without_a_default_the_highest_posterior_mean_is_chosen() -> None:
    given = trials(steep, 6)
    choice = choose(given, SPACE, None)
    assert choice is not None
    assert choice.lead is None
    means = [mean for _, mean in choice.ranking]
    assert means == sorted(means, reverse=True)


def test_nothing_complete_is_no_choice() -> None:
    given = trials(steep, 7, num_trials=2)
    for trial in given:
        trial.state = TrialState.FAIL
    assert choose(given, SPACE, 0) is None
    assert choose([], SPACE, None) is None


def test_without_curves_the_scores_alone_say_how_far_the_default_lies_below() -> None:
    """There is no epoch noise to measure then, and none is made up."""
    scores = [-0.5, 0.040, 0.041, 0.042, 0.043, 0.044, 0.045]
    found = [
        create_trial(value=score, params={"a": number / 10}, distributions={"a": FloatDistribution(0.0, 1.0)})
        for number, score in enumerate(scores)
    ]
    choice = choose(found, {"a": FloatDistribution(0.0, 1.0)}, default=0)
    assert choice is not None
    assert choice.lead is not None
    assert choice.lead.gain > 0.5
