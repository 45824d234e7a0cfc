"""What scores would have been worth, against hand-made days and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from hpo.ranking.portfolio import PanelScores, decile_returns, long_short, long_short_weights, sector_rank_ic

NUM_DAYS, NUM_STOCKS = 40, 50


def panel(noise: float = 0.0, seed: int = 0) -> PanelScores:
    """Scores that are the next day's return plus noise; two sectors and one stock without any."""
    rng = np.random.default_rng(seed)
    returns = 0.01 * rng.standard_normal((NUM_DAYS, NUM_STOCKS))
    ahead = np.full((NUM_DAYS, NUM_STOCKS), np.nan)
    ahead[:-1] = returns[1:]
    scores = np.nan_to_num(ahead) + noise * rng.standard_normal(ahead.shape)
    sectors = np.arange(NUM_STOCKS) % 2
    sectors[0] = -1
    return PanelScores(
        dates=np.arange("2024-01-01", "2024-02-10", dtype="datetime64[D]"),
        horizons=(1,),
        scores=scores[:, :, None].astype(np.float32),
        targets={"raw": ahead[:, :, None].astype(np.float32)},
        returns=returns.astype(np.float32),
        sectors=np.tile(sectors, (NUM_DAYS, 1)).astype(np.int16),
        sector_names=("A", "B", "empty"),
    )


def test_deciles_of_a_perfect_score_ascend_and_cancel() -> None:
    perfect = panel()
    deciles = decile_returns(perfect.scores[:, :, 0], perfect.targets["raw"][:, :, 0])
    assert (np.diff(deciles) > 0).all()
    assert deciles.mean() == pytest.approx(0, abs=1e-9)


def test_deciles_need_a_day_with_ten_stocks() -> None:
    assert np.isnan(decile_returns(np.ones((3, 9), np.float32), np.ones((3, 9), np.float32))).all()


def test_weights_are_one_unit_a_side_and_spread_over_the_holding() -> None:
    scores = panel(seed=1).scores[:, :, 0]
    daily, held = long_short_weights(scores, 1), long_short_weights(scores, 5)
    np.testing.assert_allclose(np.abs(daily).sum(axis=1), 2)
    np.testing.assert_allclose(daily.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(held[10], daily[6:11].mean(axis=0), atol=1e-12)


def test_a_perfect_score_earns_the_next_day_and_not_the_one_after() -> None:
    now, later = long_short(panel(), 1), long_short(panel(), 1, lag=1)
    assert now.gross[0] == 0
    assert (now.gross[1:] > 0.015).all()
    assert abs(later.gross.mean()) < 0.01
    assert later.gross[1] == 0


def test_costs_are_what_is_traded() -> None:
    scored = panel(seed=2)
    free, dear = long_short(scored, 1, cost=0.0), long_short(scored, 1, cost=0.01)
    held = np.vstack([np.zeros(NUM_STOCKS), long_short_weights(scored.scores[:, :, 0], 1)[:-1]])
    traded = np.abs(held - np.vstack([np.zeros(NUM_STOCKS), held[:-1]])).sum(axis=1)
    np.testing.assert_allclose(free.net - dear.net, 0.01 * traded, atol=1e-12)
    np.testing.assert_allclose(dear.turnover[2:], traded[2:] / 4, atol=1e-12)
    assert free.net.sum() == free.gross.sum()


def test_unchanging_scores_trade_once() -> None:
    scored = panel()
    frozen = PanelScores(**{**vars(scored), "scores": np.repeat(scored.scores[:1], NUM_DAYS, axis=0)})
    assert long_short(frozen, 1).turnover[2:].max() < 1e-12


def test_sector_rank_ic_is_spearman_within_the_sector() -> None:
    scored = panel(noise=0.02)
    found = sector_rank_ic(scored, 1)
    assert set(found) == {"A", "B"}
    members = scored.sectors[3] == 1
    expected = spearmanr(scored.scores[3, members, 0], scored.targets["raw"][3, members, 0]).statistic
    assert found["B"][3] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(found["A"][-1])
