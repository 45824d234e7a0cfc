"""The engine's search comes near the best configuration, which a random one does not: a one-sided test."""

from __future__ import annotations

import statistics

from benchmarks.search.campaigns import configuration, run
from benchmarks.search.surfaces import VARIANTS, Surface
from hpo.domain.config import PrunerConfig, SearchConfig

LIMIT = 0.018
"""Mean regret of the last quarter of the trainings, over four campaigns of 20. One campaign has .008, its
deviation is .0065: a change that leaves the search as good exceeds this once in some hundred times. A random sampler
has .044; its lowest campaign of four had .0205."""


def test_campaigns_of_twenty_come_near_the_best() -> None:
    sampler, mode = SearchConfig().sampler.name, SearchConfig().tiers.mode
    regrets = [
        run(configuration(20, seed, sampler, mode, PrunerConfig(name="nop")), surface).late_regret
        for seed in range(4)
        for surface in [Surface("additive", VARIANTS["plain"], seed)]
    ]
    assert statistics.fmean(regrets) < LIMIT, regrets
