"""Seeds of a campaign."""

from __future__ import annotations

from itertools import product

from hpo.domain.campaign import derive_seed


def test_seeds_follow_from_their_parts_alone() -> None:
    assert derive_seed(0, 1, 7, "sampler") == derive_seed(0, 1, 7, "sampler") == 1_775_684_210


def test_other_parts_have_other_seeds_within_the_bound() -> None:
    seeds = {derive_seed(*parts) for parts in product((0, 1), (1, 2), range(50), ("sampler", "training"))}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(1, 11) != derive_seed(11, 1) != derive_seed(1, 1, 1)
