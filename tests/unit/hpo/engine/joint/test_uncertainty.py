"""What is not known of the model's parameters makes predictions less sure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial
from scipy.special import digamma

from hpo.engine.joint.coordinates import Array, Coordinates
from hpo.engine.joint.fitting import Fitted, fit
from hpo.engine.joint.model import Evidence
from hpo.engine.joint.uncertainty import draws, predictions

AXES: dict[str, BaseDistribution] = {f"x{n}": FloatDistribution(0.0, 1.0) for n in range(3)}


def trials(number: int) -> list[FrozenTrial]:
    rng = np.random.default_rng(number)
    found = []
    for point in rng.random((number, len(AXES))):
        level = 0.05 - 0.1 * float(((point - 0.4) ** 2).sum()) + rng.normal(0.0, 0.003)
        curve = {epoch: level * (1 - 0.5**epoch) + rng.normal(0.0, 0.004) for epoch in range(1, 13)}
        score = float(np.mean([curve[epoch] for epoch in (10, 11, 12)]))
        params = dict(zip(AXES, map(float, point), strict=True))
        found.append(create_trial(params=params, distributions=AXES, value=score, intermediate_values=curve))
    return found


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = fit(trials(15), Coordinates.of(AXES), sign=1.0, thorough=True)
    assert found is not None
    return found


def test_draws_lie_around_the_best_fit_and_are_the_same_each_time(fitted: Fitted) -> None:
    vectors, weights = draws(fitted.evidence, fitted.vector)
    again, _ = draws(fitted.evidence, fitted.vector)
    np.testing.assert_array_equal(vectors, again)
    assert weights.sum() == pytest.approx(1.0)
    assert 1 / float((weights**2).sum()) > 10
    assert np.all(np.abs(weights @ vectors - fitted.vector) < 1.5 * fitted.evidence.prior.sd)


def test_draws_are_weighted_to_the_posterior_that_is_not_normal() -> None:
    """The logarithm of a gamma variable with shape 2: its mode is log 2, its mean digamma(2), which is less."""

    def loss(vector: Array) -> tuple[float, Array]:
        return float(np.sum(np.exp(vector) - 2.0 * vector)), np.exp(vector) - 2.0

    prior = SimpleNamespace(sd=np.ones(1) * 10, bounds=(np.full(1, -40.0), np.full(1, 40.0)))
    vectors, weights = draws(cast(Evidence, SimpleNamespace(loss=loss, prior=prior)), np.log(np.full(1, 2.0)))
    assert digamma(2) - 0.05 < float(weights @ vectors[:, 0]) < np.log(2) - 0.05


def test_no_draw_is_a_better_fit_by_far(fitted: Fitted) -> None:
    vectors, _ = draws(fitted.evidence, fitted.vector)
    best = fitted.evidence.loss(fitted.vector)[0]
    assert min(fitted.evidence.loss(vector)[0] for vector in vectors) > best - 0.5


def test_predictions_are_less_sure_than_those_of_the_best_fit(fitted: Fitted) -> None:
    points = fitted.points[:5]
    weights, means, covariances = predictions(fitted, points)
    contrast = np.array([1.0, -1.0, 0.0, 0.0, 0.0])
    gains = means @ contrast
    variance = float(weights @ (contrast @ covariances @ contrast + (gains - weights @ gains) ** 2))
    _, alone = fitted.posterior.joint(points)
    assert variance > 1.05 * float(contrast @ alone @ contrast)
    np.testing.assert_allclose(weights @ means, fitted.posterior.mean(points), atol=0.4)
