"""Where to look next: every axis moves at once, each by its own draw from the posterior, or all follow the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.engine.joint.coordinates import Array, Coordinates
from hpo.engine.joint.model import Posterior

EXPLOITING_SHARE = 0.3
"""The last part of a known budget, in which every second proposal is the best one by posterior mean."""

COOL = 0.5
"""How far draws lie from the posterior mean in that part, relative to its standard deviation."""

NEAR, SAME = 0.03, 1e-9
"""A point this close along every axis to one that was tried says nothing new; or is the same, but for rounding."""

MAX_DRAWS, HEATING = 8, 1.5
"""A draw that is near a running trial, or was tried, is repeated at most so often, each time so much further from the
mean."""

CLIMBED, DRAWN = "highest posterior mean", "posterior draw along every axis"
"""How a point was found."""

SWEEPS = 3
"""Rounds over all axes in which the posterior mean is climbed."""


@dataclass(frozen=True)
class Proposal:
    """A point, and in a few words how it was found."""

    point: Array
    how: str


def propose(
    posterior: Posterior,
    coordinates: Coordinates,
    tried: Array,
    usable: Sequence[int],
    running: Sequence[int],
    progress: float,
    turn: int,
    rng: np.random.Generator,
) -> Proposal:
    """The next point.

    tried: [n, axes], NaN where a parameter was absent. usable: rows that may be the base. running: rows
    of other workers, which are kept away from. progress: share of the
    budget that is used up. turn: number of the trial, by whose parity exploitation and draws alternate.
    """
    base = _filled(tried[usable[int(np.argmax(posterior.mean(tried[usable])))]], coordinates, rng)
    late = progress >= 1.0 - EXPLOITING_SHARE
    if late and turn % 2 == 1:
        best = climb(posterior, coordinates, base, rng)
        if len(running):
            best = _moved(best, coordinates, rng)
        if not _is_near(best, tried):
            return Proposal(best, CLIMBED)
    temperature = COOL if late else 1.0
    point = draw(posterior, coordinates, base, temperature, rng)
    for _ in range(MAX_DRAWS):
        if not _is_near(point, tried[running]) and not _is_near(point, tried, SAME):
            break
        temperature *= HEATING
        point = draw(posterior, coordinates, base, temperature, rng)
    return Proposal(point, DRAWN)


def draw(
    posterior: Posterior, coordinates: Coordinates, base: Array, temperature: float, rng: np.random.Generator
) -> Array:
    """The base with every coordinate replaced by the best of its axis in one joint draw (Thompson sampling)."""
    candidates, owners = _along_axes(coordinates, base, rng)
    mean, covariance = posterior.joint(candidates)
    sample = mean + temperature * _normal(covariance, rng)
    point = base.copy()
    for axis in range(len(base)):
        own = np.flatnonzero(owners == axis)
        point[axis] = candidates[own[int(np.argmax(sample[own]))], axis]
    return point


def climb(posterior: Posterior, coordinates: Coordinates, base: Array, rng: np.random.Generator) -> Array:
    """The point that moves along single axes reach from the base by rising posterior mean."""
    point, height = base.copy(), float(posterior.mean(base[None, :])[0])
    for _ in range(SWEEPS):
        before = height
        for axis, each in enumerate(coordinates.axes):
            places = each.points(rng)
            candidates = np.repeat(point[None, :], len(places), axis=0)
            candidates[:, axis] = places
            means = posterior.mean(candidates)
            best = int(np.argmax(means))
            if means[best] > height:
                point, height = candidates[best], float(means[best])
        if height == before:
            break
    return point


def _along_axes(coordinates: Coordinates, base: Array, rng: np.random.Generator) -> tuple[Array, NDArray[np.intp]]:
    """The base with one coordinate replaced, for every place on every axis; and which coordinate that is."""
    places = [axis.points(rng) for axis in coordinates.axes]
    owners = np.repeat(np.arange(len(places)), [len(each) for each in places])
    candidates = np.repeat(base[None, :], len(owners), axis=0)
    candidates[np.arange(len(owners)), owners] = np.concatenate(places)
    return candidates, owners


def _normal(covariance: Array, rng: np.random.Generator) -> Array:
    """A normal draw with this covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.array(vectors @ (np.sqrt(np.clip(values, 0.0, None)) * rng.standard_normal(len(values))))


def _filled(point: Array, coordinates: Coordinates, rng: np.random.Generator) -> Array:
    """With a random coordinate where the parameter was absent."""
    places = np.array([rng.choice(axis.points(rng)) for axis in coordinates.axes])
    return np.where(np.isnan(point), places, point)


def _moved(point: Array, coordinates: Coordinates, rng: np.random.Generator) -> Array:
    """A little off along the continuous axes, but for their ends. Workers that ask at the same moment do not see each
    other, and would climb to the same point."""
    inside = np.array([axis.levels is None for axis in coordinates.axes]) & (point > 0.0) & (point < 1.0)
    return np.where(inside, np.clip(point + rng.normal(0.0, NEAR / 3, len(point)), 0.0, 1.0), point)


def _is_near(point: Array, tried: Array, distance: float = NEAR) -> bool:
    apart = np.abs(tried - point)
    return bool((np.nan_to_num(apart, nan=1.0).max(axis=1) < distance).any())
