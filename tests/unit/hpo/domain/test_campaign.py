"""Seeds of a campaign, and its metrics."""

from __future__ import annotations

from itertools import product

import pytest

from hpo.domain.campaign import CampaignSpec, TierPlan, derive_seed
from hpo.domain.metric import Metric


def test_seeds_follow_from_their_parts_alone() -> None:
    assert derive_seed(0, 1, 7, "sampler") == derive_seed(0, 1, 7, "sampler") == 1_775_684_210


def test_other_parts_have_other_seeds_within_the_bound() -> None:
    seeds = {derive_seed(*parts) for parts in product((0, 1), (1, 2), range(50), ("sampler", "training"))}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(1, 11) != derive_seed(11, 1) != derive_seed(1, 1, 1)


def test_the_objective_is_one_of_the_campaigns_metrics_and_none_is_made_up() -> None:
    stored = {"search": {"objective": "error"}, "metrics": [{"name": "score"}, {"name": "error", "overlap": 5}]}
    assert CampaignSpec("night", stored, {}, (TierPlan(1, "one", 1),), 0).objective == Metric("error", overlap=5)
    with pytest.raises(KeyError, match="metrics"):
        _ = CampaignSpec("night", {"search": {"objective": "error"}}, {}, (), 0).objective
