"""Made-up trainings whose best configuration is known: families of surfaces, each with variants.

Every surface has nine dimensions in three tiers and curves of 20 epochs with noise of .004 an epoch and .003 a seed, in
units of RankIC. The speed of a curve depends on the learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from search_spaces import ChoiceDimension, Dimension, IntegerDimension, Value, parse_space

Array = NDArray[np.float64]

EPOCHS, SCORE_EPOCHS = 20, 3
EPOCH_NOISE, SEED_NOISE = 0.004, 0.003
DAY_NOISE = 0.005
"""Standard deviation, between two configurations, of the luck on the validation days that does not average out."""

PEAK = 0.06
DIVERGED = -0.3

SPACE = parse_space(
    """
    tiers:
      capacity:
        optim.lr: {type: float, low: 1.0e-5, high: 1.0e-3, log: true, default: 1.0e-4}
        train.batch_size: {type: choice, choices: [1024, 2048, 4096], ordered: true, default: 2048}
        model.hidden_size: {type: choice, choices: [128, 256, 512], ordered: true, default: 256}
      regularisation:
        model.dropout: {type: float, low: 0.1, high: 0.5, default: 0.2}
        model.num_heads: {type: choice, choices: [2, 4, 8, 16], ordered: true, default: 4}
        model.num_layers: {type: integer, low: 1, high: 4, default: 2}
      objective:
        loss.rank_ic: {type: float, low: 0.0, high: 1.0, default: 0.3}
        optim.warmup_fraction: {type: float, low: 0.0, high: 0.3, default: 0.1}
        optim.clip_norm: {type: float, low: 0.1, high: 10.0, log: true, default: 1.0}
    """,
    name="surface",
    source="surface",
)

NUM_AXES = len(SPACE.dimensions)
WEIGHTS = np.array([2.5, 0.4, 0.8, 0.8, 0.2, 0.4, 0.5, 0.2, 0.2])
"""Curvature along each dimension, falling from tier to tier."""


@dataclass(frozen=True)
class Variant:
    """What is unusual about a surface. default: how far the optimum lies from it, in standard deviations of each
    coordinate. interactions: correlation of neighbouring dimensions. day_noise: between two configurations."""

    weights: str = "falling"
    default: float = 0.3
    interactions: float = 0.25
    noise: float = 1.0
    day_noise: float = 0.0
    flat: bool = False


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "plain": Variant(),
        "days": Variant(day_noise=DAY_NOISE),
        "wrong order": Variant(weights="rising"),
        "equal weights": Variant(weights="equal"),
        "interactions": Variant(interactions=0.7),
        "default good": Variant(default=0.05),
        "default bad": Variant(default=0.6),
        "noise doubled": Variant(noise=2.0),
        "flat": Variant(flat=True),
        "flat, days": Variant(flat=True, day_noise=DAY_NOISE),
    }
)


class Surface:
    """The truth of one campaign."""

    def __init__(self, family: str, variant: Variant, seed: int) -> None:
        rng = np.random.default_rng([seed, sorted(FAMILIES).index(family)])
        self.variant = variant
        self._optimum = _snapped(default_point() + rng.normal(0.0, variant.default, NUM_AXES))
        self._level = FAMILIES[family](self._optimum, _weights(variant, rng), variant, rng)
        self.best = self._level(self._optimum)

    def level(self, values: Mapping[str, Value]) -> float:
        """The RankIC that a configuration truly reaches."""
        return PEAK / 2 if self.variant.flat else self._level(point_of(values))

    def regret(self, values: Mapping[str, Value]) -> float:
        """How much better the best configuration truly is."""
        return 0.0 if self.variant.flat else self.best - self.level(values)

    def curve(self, values: Mapping[str, Value], seed: int) -> list[float]:
        """One training: a score per epoch."""
        rng = np.random.default_rng(seed)
        level, variant = self.level(values), self.variant
        if level <= DIVERGED:
            return [float(DIVERGED * min(1.0, e / 4) + rng.normal(0.0, 0.02)) for e in range(1, EPOCHS + 1)]
        level += rng.normal(0.0, SEED_NOISE * variant.noise) + rng.normal(0.0, variant.day_noise / math.sqrt(2))
        patience = 2.0 + 4.0 * (1.0 - float(point_of(values)[0]))
        epochs = np.arange(1, EPOCHS + 1)
        noise = rng.normal(0.0, EPOCH_NOISE * variant.noise, EPOCHS)
        return [float(each) for each in level * (1.0 - np.exp(-epochs / patience)) + noise]


def point_of(values: Mapping[str, Value]) -> Array:
    """Where a configuration lies in each range, 0 to 1, on the scale it is searched."""
    return np.array([_position(dimension, values[dimension.name]) for dimension in SPACE.dimensions])


def default_point() -> Array:
    return point_of(SPACE.defaults())


def _additive(optimum: Array, weights: Array, variant: Variant, rng: np.random.Generator) -> Callable[[Array], float]:
    quadratic = _quadratic(optimum, weights, variant.interactions)
    return lambda point: PEAK * (1.0 - 0.5 * quadratic(point))


def _exponential(
    optimum: Array, weights: Array, variant: Variant, rng: np.random.Generator
) -> Callable[[Array], float]:
    quadratic = _quadratic(optimum, weights, variant.interactions)
    return lambda point: PEAK * math.exp(-quadratic(point))


def _ridge(optimum: Array, weights: Array, variant: Variant, rng: np.random.Generator) -> Callable[[Array], float]:
    """A flat ridge along learning rate and batch size together, that ends in a cliff where training diverges."""
    quadratic = _quadratic(optimum, weights * np.array([0.3, 0.3, *[1.0] * (NUM_AXES - 2)]), variant.interactions)
    edge = optimum[0] - 0.5 * optimum[1] + rng.uniform(0.1, 0.3)

    def level(point: Array) -> float:
        if point[0] - 0.5 * point[1] > edge:
            return DIVERGED
        across = (point[0] - optimum[0]) - (point[1] - optimum[1])
        return PEAK * (1.0 - 0.6 * min(1.0, abs(across)) - 0.5 * quadratic(point))

    return level


def _peaks(optimum: Array, weights: Array, variant: Variant, rng: np.random.Generator) -> Callable[[Array], float]:
    """The highest of three peaks, the other two 20 and 35 % lower, at random places."""
    others = [_snapped(rng.uniform(size=NUM_AXES)) for _ in range(2)]
    peaks = [_quadratic(place, 1.5 * weights, variant.interactions) for place in (optimum, *others)]
    heights = (1.0, 0.8, 0.65)
    return lambda point: PEAK * max(h * math.exp(-peak(point)) for h, peak in zip(heights, peaks, strict=True))


FAMILIES: Mapping[str, Callable[[Array, Array, Variant, np.random.Generator], Callable[[Array], float]]] = (
    MappingProxyType({"additive": _additive, "exponential": _exponential, "ridge": _ridge, "peaks": _peaks})
)


def _quadratic(optimum: Array, weights: Array, correlation: float) -> Callable[[Array], float]:
    """A convex form around the optimum; neighbouring dimensions are correlated, with falling reach."""
    apart = np.abs(np.subtract.outer(np.arange(NUM_AXES), np.arange(NUM_AXES)))
    signs = np.where(np.add.outer(np.arange(NUM_AXES), np.arange(NUM_AXES)) % 2, -1.0, 1.0)
    matrix = np.sqrt(np.outer(weights, weights)) * signs * correlation**apart

    def value(point: Array) -> float:
        away = point - optimum
        return float(away @ matrix @ away)

    return value


def _weights(variant: Variant, rng: np.random.Generator) -> Array:
    weights = WEIGHTS * np.exp(rng.normal(0.0, 0.3, NUM_AXES))
    if variant.weights == "rising":
        return np.array(weights[::-1])
    return np.full(NUM_AXES, WEIGHTS.mean()) if variant.weights == "equal" else np.array(weights)


def _snapped(point: Array) -> Array:
    """Inside the ranges, and on one of the choices where there are choices: the optimum can be reached."""
    found = np.clip(point, 0.0, 1.0)
    for n, dimension in enumerate(SPACE.dimensions):
        count = _count(dimension)
        if count is not None:
            found[n] = round(found[n] * (count - 1)) / (count - 1)
    return found


def _count(dimension: Dimension) -> int | None:
    if isinstance(dimension, ChoiceDimension):
        return len(dimension.choices)
    return len(dimension.values) if isinstance(dimension, IntegerDimension) else None


def _position(dimension: Dimension, value: Value) -> float:
    if isinstance(dimension, ChoiceDimension):
        return dimension.index(value) / (len(dimension.choices) - 1)
    low, high, here = float(dimension.low), float(dimension.high), float(value)
    if dimension.log:
        low, high, here = math.log(low), math.log(high), math.log(here)
    return (here - low) / (high - low)
