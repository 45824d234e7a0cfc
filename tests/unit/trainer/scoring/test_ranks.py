"""Daily ranks of scores."""

from __future__ import annotations

import numpy as np

from trainer.scoring.ranks import rank_shares


def test_ranks_stay_within_the_day_and_infinite_scores_are_none() -> None:
    scores = np.array([[[1.0], [np.inf], [3.0], [1.0]], [[100.0], [200.0], [np.nan], [300.0]]], dtype=np.float32)

    np.testing.assert_allclose(rank_shares(scores)[:, :, 0], [[0.25, np.nan, 1.0, 0.25], [0.0, 0.5, np.nan, 1.0]])
