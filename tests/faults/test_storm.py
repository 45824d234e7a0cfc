"""Accidents drawn by a seed over whole real campaigns: `--storm-minutes` of it, `--storm-seed` to replay one."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from support.arena import Arena
from support.storm import Storm, Weather

EVERYDAY_SEED = 1


def weather_of(seed: int, num_campaigns: int, num_accidents: int, deadline: float | None = None) -> Weather:
    """A storm of this seed, ended after the campaign that passes the deadline."""
    weather = Weather()
    storm = Storm(Path(tempfile.mkdtemp(prefix=f"tiertune-storm-{seed}-")), seed, weather)
    try:
        for number in range(1, num_campaigns + 1):
            storm.campaign(number, num_accidents)
            if deadline is not None and time.monotonic() > deadline:
                break
    finally:
        storm.close()
    return weather


def test_a_campaign_in_a_small_storm_ends_where_the_undisturbed_one_ends() -> None:
    weather = weather_of(EVERYDAY_SEED, num_campaigns=1, num_accidents=4)
    assert weather.accidents.total() == 4
    assert weather.breaches == []


@pytest.mark.slow_faults
def test_a_storm_of_many_seeds(request: pytest.FixtureRequest, arena: Arena) -> None:
    minutes, seed = (request.config.getoption(name) for name in ("--storm-minutes", "--storm-seed"))
    deadline = time.monotonic() + 60 * minutes
    total = Weather()
    while time.monotonic() < deadline:
        weather = weather_of(seed, num_campaigns=8, num_accidents=8, deadline=deadline)
        total.accidents += weather.accidents
        total.campaigns += weather.campaigns
        total.breaches += weather.breaches
        arena.notes.append(
            f"storm seed {seed}: {weather.accidents.total()} accidents over {weather.campaigns} campaigns"
        )
        seed += 1
    arena.notes += [f"  {number:4} x {kind}" for kind, number in total.accidents.most_common()]
    assert total.breaches == []
