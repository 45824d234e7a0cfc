"""A campaign of 20 that is killed at 10 random moments ends where the undisturbed one ends."""

from __future__ import annotations

import random

import pytest
from support.arena import Arena
from support.plans import Fault
from support.victim import POINTS

NUM_TRIALS = 20
NUM_KILLS = 10
RARE = ("champion", "study", "copies", "tier decision")
"""Points that a campaign passes a few times only."""


@pytest.mark.slow_faults
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_kills_at_random_moments_change_nothing(arena: Arena, seed: int) -> None:
    moments = random.Random(seed)
    name = f"random-{seed}"
    points = [point for point in POINTS if not any(word in point for word in RARE)]
    for _ in range(NUM_KILLS):
        fault = Fault(moments.choice(points), "KILL", moments.randint(1, 3))
        arena.suffer(arena.plan(name, NUM_TRIALS, fault))
    arena.recover(arena.plan(name, NUM_TRIALS))

    assert arena.num_struck(name) == NUM_KILLS
    arena.score(name, Fault("ten random moments", "KILL"), "worker")
    assert arena.history(name) == arena.calm(NUM_TRIALS)
