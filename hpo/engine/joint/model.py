"""The joint model: an additive Gaussian process over configurations and blocks of epochs, fitted with exact gradients.

The score of configuration c in block b is

    y = mean + mean_b + growth_b * f(x_c) + shape(c, b) + seed_c + noise / sqrt(length)

with all terms Gaussian. f has the kernel sum_d v_d k_d + s * sum_{d<e} v_d v_e k_d k_e, where k_d is a squared
exponential along axis d, and zero where one of the two configurations has no such parameter: it then says nothing of
the other along d, alone or in a pair. shape fades from the first block to the last: curves differ in their speed.

With a belief m(x) from an earlier search, f also has the term a * m(x), where a is Gaussian around BELIEVED: a belief
that misleads is outvoted by what is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from hpo.engine.joint.coordinates import Array
from hpo.engine.joint.observations import LAST, Observations

MEAN_VARIANCE, BLOCK_MEAN_VARIANCE = 4.0, 1.0
"""Of what all configurations have in common, over all blocks and in each; wide, as nothing is known of it."""

FADING = np.array([0.75, 0.5, 0.25, 0.0])
"""How much of a curve's shape is left in each block."""

SHAPE_LENGTH = 0.6
SHAPE_WEIGHT = 4.0
"""Variance of a shape along all axes together, relative to its amplitude; the part of its own has .5."""

GROWTH_MEAN, GROWTH_SD = np.array([0.55, 0.80, 0.93]), np.array([0.15, 0.10, 0.05])

JITTER = 1e-6
FLAT = -6.0
"""Logarithm of what is left of the variance along the axes where all configurations count as equal."""

BELIEVED, BELIEVED_SD = 0.7, 0.5
"""Mean and standard deviation of the weight that an earlier search's posterior mean has in this one."""

Belief = Callable[[Array], Array]
"""[points, axes] -> [points], on the scale of observations."""

VARIANCES = 0.06, 0.5
"""Of an axis, before anything is seen: the lowest and the highest, on the scale of the observations."""

BOUND = 4.0
"""Parameters stay within this many prior standard deviations."""


@dataclass(frozen=True)
class Prior:
    """Normal priors of the logarithms of all parameters, followed by the growth of the earlier blocks."""

    mean: Array
    sd: Array

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest parameters that are considered."""
        return self.mean - BOUND * self.sd, self.mean + BOUND * self.sd

    @classmethod
    def of(cls, num_axes: int, most_at_once: int, heads: Sequence[int] = ()) -> Prior:
        """Wide in what differs between searches: variance along an axis, noise. most_at_once: axes that a
        configuration has, which share the variance; fewer than all where some exist under conditions. heads: axes on
        which that depends; another place there is another model, and differs by more."""
        low, high = VARIANCES
        variance = float(np.clip(1.1 / max(1, most_at_once), low, high))
        variances = [high if n in heads else variance for n in range(num_axes)]
        mean = np.log([*variances, *[0.5] * num_axes, 0.5, 0.3, 0.06, 0.11])
        sd = np.array([*[1.2] * num_axes, *[0.4] * num_axes, 1.0, 1.0, 0.7, 1.2])
        return cls(np.concatenate([mean, GROWTH_MEAN]), np.concatenate([sd, GROWTH_SD]))


@dataclass(frozen=True)
class Parameters:
    """The model's parameters: variance and length of each axis, of pairs, of shapes, of seeds, of one epoch."""

    variance: Array
    length: Array
    pairs: float
    shape: float
    seed: float
    noise: float
    growth: Array

    @classmethod
    def of(cls, vector: Array, num_axes: int) -> Parameters:
        """From the vector that is optimised."""
        logs = np.exp(vector[: 2 * num_axes + 4])
        pairs, shape, seed, noise = logs[2 * num_axes :]
        return cls(
            logs[:num_axes],
            logs[num_axes : 2 * num_axes],
            float(pairs),
            float(shape),
            float(seed),
            float(noise),
            np.append(vector[2 * num_axes + 4 :], 1.0),
        )


def distances(one: Array, other: Array, unordered: NDArray[np.bool_]) -> Array:
    """Squared distance along each axis, [axes, rows of one, rows of other]; infinite where one of them has no such
    parameter, so that neither says anything of the other along it."""
    apart = (one.T[:, :, None] - other.T[:, None, :]) ** 2
    apart[unordered] = np.where(np.isnan(apart[unordered]), np.nan, (apart[unordered] > 1e-12).astype(float))
    return np.array(np.nan_to_num(apart, nan=np.inf))


def configuration_kernel(apart: Array, parameters: Parameters) -> tuple[Array, Array]:
    """Covariance of f without its mean, and its part along each axis."""
    along = apart * (-0.5 / parameters.length[:, None, None] ** 2)
    np.exp(along, out=along)
    along *= parameters.variance[:, None, None]
    total = along.sum(axis=0)
    pairs = 0.5 * (total**2 - np.einsum("dij,dij->ij", along, along))
    return total + parameters.pairs * pairs, along


class Evidence:
    """The log posterior of the parameters given observations, and its gradient. belief: none by default."""

    def __init__(
        self,
        points: Array,
        unordered: NDArray[np.bool_],
        seen: Observations,
        prior: Prior,
        belief: Belief = lambda points: np.zeros(len(points)),
    ) -> None:
        self.points, self.unordered, self.seen, self.prior, self.belief = points, unordered, seen, prior, belief
        believed = belief(points)
        growth = np.append(GROWTH_MEAN, 1.0)
        self._believed = BELIEVED_SD**2 * np.outer(believed, believed)
        self.surprise = seen.score - BELIEVED * believed[seen.trial] * growth[seen.block]
        self.num_axes = points.shape[1]
        self._apart = distances(points, points, unordered)
        self._finite_apart = np.where(np.isinf(self._apart), 0.0, self._apart)
        smooth = np.exp(-0.5 * self._apart / SHAPE_LENGTH**2).sum(axis=0) * SHAPE_WEIGHT / max(1, self.num_axes)
        index = seen.trial
        self._same_trial = index[:, None] == index[None, :]
        self._same_block = seen.block[:, None] == seen.block[None, :]
        fading = FADING[seen.block]
        self._shape = (smooth + 0.5 * np.eye(len(points)))[np.ix_(index, index)] * np.outer(fading, fading)
        self._starts = np.searchsorted(index, np.arange(len(points)))

    def covariance(self, parameters: Parameters) -> tuple[Array, Array, Array]:
        """Of the observations [N, N]; of f between trials, its mean included; its parts along the axes."""
        kernel, along = configuration_kernel(self._apart, parameters)
        kernel = kernel + MEAN_VARIANCE + self._believed
        index, growth = self.seen.trial, parameters.growth[self.seen.block]
        full = kernel[np.ix_(index, index)] * np.outer(growth, growth)
        full += parameters.shape * self._shape + parameters.seed * self._same_trial
        full += BLOCK_MEAN_VARIANCE * self._same_block
        full[np.diag_indices_from(full)] += parameters.noise / self.seen.length + JITTER
        return full, kernel, along

    def loss(self, vector: Array) -> tuple[float, Array]:
        """Minus the log posterior up to a constant, and its gradient."""
        parameters = Parameters.of(vector, self.num_axes)
        full, kernel, along = self.covariance(parameters)
        away = (vector - self.prior.mean) / self.prior.sd
        try:
            lower = cholesky(full, lower=True, check_finite=False)
        except LinAlgError:
            return 1e10, away / self.prior.sd
        weights = cho_solve((lower, True), self.surprise, check_finite=False)
        loss = 0.5 * float(self.surprise @ weights) + float(np.log(np.diag(lower)).sum())
        half, _ = dpotri(lower, lower=1)
        inverse = half + np.tril(half, -1).T
        pull = 0.5 * (inverse - np.outer(weights, weights))
        gradient = self._gradient(pull, parameters, kernel, along)
        return loss + 0.5 * float(away @ away), gradient + away / self.prior.sd

    def _gradient(self, pull: Array, parameters: Parameters, kernel: Array, along: Array) -> Array:
        """pull: derivative of the loss by each covariance."""
        seen = self.seen
        growth = parameters.growth[seen.block]
        by_growth = pull * kernel[np.ix_(seen.trial, seen.trial)] @ growth
        grown = pull * np.outer(growth, growth)
        between = np.add.reduceat(np.add.reduceat(grown, self._starts, axis=0), self._starts, axis=1)
        total = along.sum(axis=0)
        # The derivative of the kernel by log v_d is along_d + pairs * along_d * (total - along_d), summed up in parts.
        flat = along.reshape(self.num_axes, -1)
        lone, paired = (between * (1.0 + parameters.pairs * total)).ravel(), between.ravel()
        squared = flat**2
        of_variances = flat @ lone - parameters.pairs * (squared @ paired)
        pairs = parameters.pairs * 0.5 * float(paired @ total.ravel() ** 2 - (squared @ paired).sum())
        apart = self._finite_apart.reshape(self.num_axes, -1)
        squared *= apart
        of_lengths = (flat * apart) @ lone - parameters.pairs * (squared @ paired)
        of_lengths /= parameters.length**2
        noise = parameters.noise * float((np.diag(pull) / seen.length).sum())
        scalars = [
            pairs,
            parameters.shape * float((pull * self._shape).sum()),
            parameters.seed * float(pull[self._same_trial].sum()),
            noise,
        ]
        of_growth = [2.0 * float(by_growth[seen.block == block].sum()) for block in range(LAST)]
        return np.array([*of_variances, *of_lengths, *scalars, *of_growth])

    def fit(self, start: Array | None, num_steps: int) -> Array:
        """The vector of the highest posterior that a quasi-Newton search from start (or the prior) finds in
        num_steps iterations."""
        low, high = self.prior.bounds
        begin = self.prior.mean if start is None else np.clip(start, low, high)
        if num_steps == 0:
            return np.array(begin)
        bounds = list(zip(low, high, strict=True))
        found = minimize(self.loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": num_steps})
        return np.array(found.x if np.all(np.isfinite(found.x)) else begin)

    def probability_of_flat(self, num_steps: int = 10) -> float:
        """Posterior probability that all configurations are equal, against the prior's typical surface, both equally
        likely before. What is not the surface (seeds, noise, shapes, growth) is fitted to each of the two."""
        surface = 2 * self.num_axes + 1
        losses = []
        for shift in (FLAT, 0.0):
            fixed = self.prior.mean[:surface] + np.where(np.arange(surface) < self.num_axes, shift, 0.0)

            def loss(free: Array, fixed: Array = fixed) -> tuple[float, Array]:
                value, gradient = self.loss(np.concatenate([fixed, free]))
                away = (fixed - self.prior.mean[:surface]) / self.prior.sd[:surface]
                return value - 0.5 * float(away @ away), gradient[surface:]

            free = self.prior.mean[surface:]
            losses.append(minimize(loss, free, jac=True, method="L-BFGS-B", options={"maxiter": num_steps}).fun)
        return float(1.0 / (1.0 + np.exp(np.clip(losses[0] - losses[1], -500.0, 500.0))))


class Posterior:
    """What the model believes of the true score in the last block, at any point, on the scale of the observations."""

    def __init__(self, evidence: Evidence, vector: Array) -> None:
        self._evidence = evidence
        self.parameters = Parameters.of(vector, evidence.num_axes)
        full, _, _ = evidence.covariance(self.parameters)
        self._lower = cholesky(full, lower=True, check_finite=False)
        self._weights = cho_solve((self._lower, True), evidence.surprise, check_finite=False)
        self._believed = evidence.belief(evidence.points)

    def mean(self, points: Array) -> Array:
        """[points]."""
        believed = self._evidence.belief(points)
        return np.array(self._cross(points, believed) @ self._weights + BELIEVED * believed)

    def joint(self, points: Array) -> tuple[Array, Array]:
        """Mean [points] and covariance [points, points]."""
        believed = self._evidence.belief(points)
        cross = self._cross(points, believed)
        half = solve_triangular(self._lower, cross.T, lower=True, check_finite=False)
        apart = distances(points, points, self._evidence.unordered)
        own, _ = configuration_kernel(apart, self.parameters)
        # In this order: without a belief the last bit, too, is as if there were no such term.
        own = own + MEAN_VARIANCE + BLOCK_MEAN_VARIANCE + BELIEVED_SD**2 * np.outer(believed, believed)
        return cross @ self._weights + BELIEVED * believed, own - half.T @ half

    def _cross(self, points: Array, believed: Array) -> Array:
        seen = self._evidence.seen
        apart = distances(points, self._evidence.points, self._evidence.unordered)
        kernel, _ = configuration_kernel(apart, self.parameters)
        kernel = kernel + MEAN_VARIANCE + BELIEVED_SD**2 * np.outer(believed, self._believed)
        between = kernel[:, seen.trial] * self.parameters.growth[seen.block]
        return np.array(between + BLOCK_MEAN_VARIANCE * (seen.block == LAST))
