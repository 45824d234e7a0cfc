"""How far the model's own parameters are known: draws from their posterior around the best fit.

With twenty trials many parameters fit about as well. A prediction at the best ones alone looks surer than it is.
"""

from __future__ import annotations

import math

import numpy as np

from hpo.engine.joint.coordinates import Array
from hpo.engine.joint.fitting import Fitted
from hpo.engine.joint.model import Evidence, Posterior

NUM_DRAWS = 80
STEP = 1e-3
"""Of the finite differences, in logarithms of parameters."""


def predictions(fitted: Fitted, points: Array) -> tuple[Array, Array, Array]:
    """What each draw of the parameters predicts at the points, on the scale of the observations.

    Returns the draws' weights [draws], which sum to 1, means [draws, points], covariances [draws, points, points].
    """
    vectors, weights = draws(fitted.evidence, fitted.vector)
    seen = [Posterior(fitted.evidence, vector).joint(points) for vector in vectors]
    return weights, np.array([mean for mean, _ in seen]), np.array([covariance for _, covariance in seen])


def draws(evidence: Evidence, best: Array) -> tuple[Array, Array]:
    """Parameters [draws, parameters] and weights [draws]: importance sampling from the normal approximation at the
    best ones (Laplace's), in pairs that mirror each other, weights truncated (Ionides 2008). What lies beyond the
    parameters' bounds is moved onto them."""
    values, directions = np.linalg.eigh(_curvature(evidence, best))
    # Where the evidence is silent the prior's curvature is what remains.
    root = directions / np.sqrt(np.maximum(values, 1.0 / float(evidence.prior.sd.max()) ** 2))
    normal = np.random.default_rng(0).standard_normal((NUM_DRAWS // 2, len(best)))
    normal = np.vstack([normal, -normal])
    vectors = np.clip(best + normal @ root.T, *evidence.prior.bounds)
    losses = np.array([evidence.loss(vector)[0] for vector in vectors])
    logs = 0.5 * (normal**2).sum(axis=1) - losses
    weights = np.exp(logs - logs.max())
    weights = np.minimum(weights, math.sqrt(len(weights)) * weights.mean())
    kept = weights > 0
    return vectors[kept], weights[kept] / weights[kept].sum()


def _curvature(evidence: Evidence, best: Array) -> Array:
    """Second derivatives of the loss at the best parameters."""
    steps = STEP * np.eye(len(best))
    rows = [(evidence.loss(best + step)[1] - evidence.loss(best - step)[1]) / (2.0 * STEP) for step in steps]
    matrix = np.array(rows)
    return np.array((matrix + matrix.T) / 2.0)
