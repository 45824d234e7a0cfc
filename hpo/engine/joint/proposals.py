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

COMPARED, COMPARED_FROM = 2, 1 / 3
"""Trials that every place of an axis on which others depend has before the places are compared; and the share of the
budget after which they are in any case."""

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
    bases = _bases(posterior, coordinates, tried, usable, progress, rng)
    late = progress >= 1.0 - EXPLOITING_SHARE
    if late and turn % 2 == 1:
        best = climb(posterior, coordinates, bases, rng)
        if len(running):
            best = _moved(best, coordinates, rng)
        if not _is_near(best, tried):
            return Proposal(best, CLIMBED)
    temperature = COOL if late else 1.0
    point = draw(posterior, coordinates, bases, temperature, rng)
    for _ in range(MAX_DRAWS):
        if not _is_near(point, tried[running]) and not _is_near(point, tried, SAME):
            break
        temperature *= HEATING
        point = draw(posterior, coordinates, bases, temperature, rng)
    return Proposal(point, DRAWN)


def draw(
    posterior: Posterior, coordinates: Coordinates, bases: Sequence[Array], temperature: float, rng: np.random.Generator
) -> Array:
    """A base with every coordinate replaced by the best of its axis in one joint draw (Thompson sampling); of the
    points that several bases lead to, the best in another draw."""
    points = [_drawn(posterior, coordinates, base, temperature, rng) for base in bases]
    if len(points) == 1:
        return points[0]
    mean, covariance = posterior.joint(np.array(points))
    return points[int(np.argmax(mean + temperature * _normal(covariance, rng)))]


def _drawn(
    posterior: Posterior, coordinates: Coordinates, base: Array, temperature: float, rng: np.random.Generator
) -> Array:
    candidates, owners = _along_axes(coordinates, base, rng)
    point = base.copy()
    if len(candidates):
        mean, covariance = posterior.joint(candidates)
        sample = mean + temperature * _normal(covariance, rng)
        for axis in np.unique(owners):
            own = np.flatnonzero(owners == axis)
            point[axis] = candidates[own[int(np.argmax(sample[own]))], axis]
    return point


def climb(posterior: Posterior, coordinates: Coordinates, bases: Sequence[Array], rng: np.random.Generator) -> Array:
    """The point that moves along single axes reach from the bases by rising posterior mean, from the one that leads
    highest."""
    tops = [_climbed(posterior, coordinates, base, rng) for base in bases]
    return max(tops, key=lambda top: top[0])[1]


def _climbed(
    posterior: Posterior, coordinates: Coordinates, base: Array, rng: np.random.Generator
) -> tuple[float, Array]:
    """The height that is reached, and where."""
    point, height = base.copy(), float(posterior.mean(base[None, :])[0])
    for _ in range(SWEEPS):
        before = height
        for axis in _free(coordinates, base):
            places = coordinates.axes[axis].points(rng)
            candidates = np.repeat(point[None, :], len(places), axis=0)
            candidates[:, axis] = places
            means = posterior.mean(candidates)
            best = int(np.argmax(means))
            if means[best] > height:
                point, height = candidates[best], float(means[best])
        if height == before:
            break
    return height, point


def _bases(
    posterior: Posterior,
    coordinates: Coordinates,
    tried: Array,
    usable: Sequence[int],
    progress: float,
    rng: np.random.Generator,
) -> list[Array]:
    """Where the next point may start from: the best by posterior mean of what was tried and, for every other place of
    an axis that others depend on, the best with that one. What was never tried is at random. At first, as long
    as a place was tried less than COMPARED times, only the least tried ones."""
    ranked = tried[usable][np.argsort(-posterior.mean(tried[usable]), kind="stable")]
    bases, counts = [_filled(ranked[0], coordinates, rng)], [len(tried)]
    for head in coordinates.heads:
        levels = coordinates.axes[head].levels
        assert levels is not None, "checked with the conditions"
        if np.isnan(bases[0][head]):
            continue
        counts[0] = min(counts[0], _num_at(tried, head, bases[0][head]))
        for level in levels[np.abs(levels - bases[0][head]) > SAME]:
            same = ranked[np.abs(ranked[:, head] - level) < SAME]
            start = (same if len(same) else bases)[0].copy()
            start[head] = level
            bases.append(_filled(start, coordinates, rng))
            counts.append(_num_at(tried, head, level))
    fewest = min(counts)
    if fewest >= COMPARED or progress >= COMPARED_FROM:
        return bases
    return [base for base, count in zip(bases, counts, strict=True) if count == fewest]


def _num_at(tried: Array, axis: int, place: float) -> int:
    return int((np.abs(tried[:, axis] - place) < SAME).sum())


def _free(coordinates: Coordinates, base: Array) -> list[int]:
    """Axes along which a base is varied: those that exist in it, less those on which that depends."""
    return [n for n in range(len(base)) if not np.isnan(base[n]) and n not in coordinates.heads]


def _along_axes(coordinates: Coordinates, base: Array, rng: np.random.Generator) -> tuple[Array, NDArray[np.intp]]:
    """The base with one coordinate replaced, for every place on every free axis; and which coordinate that is."""
    free = _free(coordinates, base)
    places = [coordinates.axes[axis].points(rng) for axis in free]
    owners = np.repeat(np.array(free, dtype=np.intp), [len(each) for each in places])
    candidates = np.repeat(base[None, :], len(owners), axis=0)
    candidates[np.arange(len(owners)), owners] = np.concatenate([np.empty(0), *places])
    return candidates, owners


def _normal(covariance: Array, rng: np.random.Generator) -> Array:
    """A normal draw with this covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.array(vectors @ (np.sqrt(np.clip(values, 0.0, None)) * rng.standard_normal(len(values))))


def _filled(point: Array, coordinates: Coordinates, rng: np.random.Generator) -> Array:
    """With a random coordinate where the parameter was absent, and exists."""
    places = np.array([rng.choice(axis.points(rng)) for axis in coordinates.axes])
    return coordinates.completed(point, places)


def _moved(point: Array, coordinates: Coordinates, rng: np.random.Generator) -> Array:
    """A little off along the continuous axes, but for their ends. Workers that ask at the same moment do not see each
    other, and would climb to the same point."""
    inside = np.array([axis.levels is None for axis in coordinates.axes]) & (point > 0.0) & (point < 1.0)
    return np.where(inside, np.clip(point + rng.normal(0.0, NEAR / 3, len(point)), 0.0, 1.0), point)


def _is_near(point: Array, tried: Array, distance: float = NEAR) -> bool:
    apart = np.where(np.isnan(tried) & np.isnan(point), 0.0, np.nan_to_num(np.abs(tried - point), nan=1.0))
    return bool((apart.max(axis=1) < distance).any())
