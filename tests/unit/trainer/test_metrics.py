"""Daily correlations against scipy, their missing values, and their summary."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import pearsonr, spearmanr

from trainer.config import TrainConfig
from trainer.errors import InputError, MissingMetricError
from trainer.metric_names import MIN_STOCKS
from trainer.metrics import (
    average_ranks,
    check_own_metric,
    daily_ic,
    daily_long_short,
    daily_rank_ic,
    daily_series,
    summarise,
)


def market(days: int = 12, stocks: int = 40, horizons: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores with ties and targets with ties and holes."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=(days, stocks, horizons)), 1)
    target = np.round(0.3 * scores + rng.normal(size=scores.shape), 1)
    target[rng.random(target.shape) < 0.2] = np.nan
    scores[rng.random(scores.shape) < 0.1] = np.nan
    return torch.from_numpy(scores).float(), torch.from_numpy(target).float()


@pytest.mark.parametrize(("metric", "reference"), [(daily_rank_ic, spearmanr), (daily_ic, pearsonr)])
def test_equals_scipy_with_ties_and_holes(metric, reference) -> None:  # type: ignore[no-untyped-def]
    scores, target = market()
    daily = metric(scores, target)
    assert daily.dtype == torch.float32
    for day in range(scores.shape[0]):
        for horizon in range(scores.shape[2]):
            left, right = scores[day, :, horizon].numpy(), target[day, :, horizon].numpy()
            valid = np.isfinite(left) & np.isfinite(right)
            expected = reference(left[valid].astype(float), right[valid].astype(float)).statistic
            assert daily[day, horizon] == pytest.approx(expected, abs=2e-6)


def test_a_column_alone_equals_the_column_among_others() -> None:
    scores, target = market()
    together = daily_rank_ic(scores, target)
    torch.testing.assert_close(daily_rank_ic(scores[..., 1], target[..., 1]), together[:, 1], rtol=0, atol=1e-6)


def test_numpy_arrays_are_welcome() -> None:
    scores, target = market()
    assert torch.equal(daily_rank_ic(scores.numpy(), target.numpy()), daily_rank_ic(scores, target))


def test_average_ranks_share_ties_and_pass_over_what_is_not_valid() -> None:
    values = torch.tensor([[3.0, 1.0, 3.0, 100.0, -2.0, 3.0]])
    valid = torch.tensor([[True, True, True, False, True, True]])
    assert average_ranks(values, valid)[valid].tolist() == [3.0, 1.0, 3.0, 0.0, 3.0]


@pytest.mark.parametrize("metric", [daily_rank_ic, daily_ic])
def test_too_few_stocks_give_no_value(metric) -> None:  # type: ignore[no-untyped-def]
    scores = torch.randn(1, 30)
    target = scores.clone()
    target[0, MIN_STOCKS:] = torch.nan
    assert metric(scores, target)[0] == pytest.approx(1.0)
    target[0, 0] = torch.nan
    assert metric(scores, target).isnan().all()
    assert metric(scores, target, min_stocks=5)[0] == pytest.approx(1.0)


@pytest.mark.parametrize("metric", [daily_rank_ic, daily_ic])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6, -3.3333])
def test_a_side_that_does_not_vary_gives_no_value(metric, constant: float) -> None:  # type: ignore[no-untyped-def]
    varied, flat = torch.randn(2, 30), torch.full((2, 30), constant)
    varied[0, 3] = torch.nan
    assert metric(varied, flat).isnan().all()
    assert metric(flat, varied).isnan().all()


def test_what_is_not_finite_is_not_a_pair() -> None:
    scores, target = torch.randn(1, 30), torch.randn(1, 30)
    expected = daily_rank_ic(scores[:, 2:], target[:, 2:])
    scores[0, 0], target[0, 1] = torch.inf, -torch.inf
    torch.testing.assert_close(daily_rank_ic(scores, target), expected, rtol=0, atol=1e-6)


def test_a_day_without_any_pair_and_an_empty_panel() -> None:
    assert daily_rank_ic(torch.full((3, 20), torch.nan), torch.randn(3, 20)).isnan().all()
    assert daily_rank_ic(torch.zeros(0, 20), torch.zeros(0, 20)).shape == (0,)


def test_large_cross_sections_keep_their_accuracy() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(1, 5000))
    target = 0.02 * scores + rng.normal(size=scores.shape)
    expected = spearmanr(scores[0], target[0]).statistic
    assert daily_rank_ic(scores, target).item() == pytest.approx(expected, abs=2e-6)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        daily_rank_ic(torch.zeros(2, 20, 1), torch.zeros(2, 20, 2))


def long_short_of(scores: np.ndarray, returns: np.ndarray) -> float:
    """The definition, in plain numpy: a stock's chance to be in either fifth where ties are broken at random."""
    held = max(1, int(np.floor(0.2 * len(scores))))
    total = 0.0
    for sign in (1, -1):
        order = np.sort(sign * scores)[::-1]
        edge = order[held - 1]
        above, at = sign * scores > edge, sign * scores == edge
        total += sign * (returns[above].sum() + returns[at].mean() * (held - above.sum())) / held
    return float(total)


def test_the_long_short_return_equals_its_definition_with_ties_and_holes() -> None:
    for scores, target in (market(), market(stocks=13, seed=2)):
        daily = daily_long_short(scores, target)
        for day, horizon in np.ndindex(daily.shape):
            left, right = scores[day, :, horizon].numpy(), target[day, :, horizon].numpy()
            valid = np.isfinite(left) & np.isfinite(right)
            if valid.sum() < MIN_STOCKS:
                assert daily[day, horizon].isnan()
                continue
            expected = long_short_of(left[valid].astype(float), right[valid].astype(float))
            assert daily[day, horizon] == pytest.approx(expected, abs=2e-6)


def test_the_order_of_stocks_that_tie_decides_nothing() -> None:
    scores = torch.tensor([[2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    returns = torch.arange(10.0).square().unsqueeze(0)
    expected = returns[0, :4].mean() - returns[0, 6:].mean()  # two of four on either side, all as likely
    for order in (torch.arange(10), torch.arange(10).flip(0)):
        assert daily_long_short(scores[:, order], returns[:, order]).item() == pytest.approx(expected.item())
    assert daily_long_short(torch.ones(1, 10), returns).isnan().all()
    assert daily_long_short(scores[:, :9], returns[:, :9]).isnan().all(), "too few stocks"


def test_the_sharpe_ratio_is_that_of_a_year_of_returns_that_do_not_overlap() -> None:
    daily = {f"long_short_{days}d": np.array([0.01, 0.03, 0.02], dtype=np.float32) for days in (1, 5)}
    summary = summarise(daily, "long_short_sharpe_5d")
    assert summary["long_short_5d"] == pytest.approx(0.02)
    assert summary["long_short_sharpe_1d"] == pytest.approx(2 * 252**0.5, rel=1e-5)
    assert summary["long_short_sharpe_5d"] == pytest.approx(2 * (252 / 5) ** 0.5, rel=1e-5)
    assert "long_short" not in summary, "returns over different numbers of days have no mean"


rows = st.lists(st.integers(-5, 5), min_size=12, max_size=30)


@given(rows, st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_rank_ic_is_a_rank_correlation(values: list[int], seed: int) -> None:
    """Unmoved by monotone maps and by reordering stocks; turned round by turning the scores round."""
    scores = torch.tensor([values], dtype=torch.float32)
    rng = np.random.default_rng(seed)
    target = torch.from_numpy(rng.normal(size=(1, len(values)))).float()
    value = daily_rank_ic(scores, target)
    order = torch.from_numpy(rng.permutation(len(values)))
    for same in (
        daily_rank_ic(scores**3 + scores, target),
        daily_rank_ic(scores, target.exp()),
        daily_rank_ic(scores[:, order], target[:, order]),
        daily_rank_ic(target, scores),
        -daily_rank_ic(-scores, target),
    ):
        torch.testing.assert_close(same, value, equal_nan=True, rtol=0, atol=1e-6)


def test_series_are_named_by_target_and_horizon() -> None:
    scores, target = market()
    series = daily_series(scores, {"raw": target, "neutral_lag1": -target}, horizons=(1, 20))
    rank_ics = ["rank_ic_1d", "rank_ic_20d", "neutral_lag1_rank_ic_1d", "neutral_lag1_rank_ic_20d"]
    assert list(series) == [*rank_ics, "ic_1d", "ic_20d", "long_short_1d", "long_short_20d"]
    np.testing.assert_array_equal(series["ic_20d"], daily_ic(scores, target)[:, 1].numpy())
    np.testing.assert_array_equal(series["long_short_20d"], daily_long_short(scores, target)[:, 1].numpy())
    np.testing.assert_array_equal(series["rank_ic_20d"], daily_rank_ic(scores, target)[:, 1].numpy())
    np.testing.assert_allclose(series["neutral_lag1_rank_ic_1d"], -series["rank_ic_1d"], atol=1e-6)


def test_summary_gives_means_ratios_and_the_mean_over_horizons() -> None:
    daily = {
        "rank_ic_1d": np.array([0.1, 0.3, np.nan], dtype=np.float32),
        "rank_ic_5d": np.array([0.0, 0.2, 0.4], dtype=np.float32),
        "neutral_rank_ic_5d": np.array([np.nan, 0.5, 0.5], dtype=np.float32),
    }
    summary = summarise(daily, monitor="rank_ic")
    assert summary == pytest.approx(
        {
            "rank_ic_1d": 0.2,
            "icir_1d": 0.2 / np.std([0.1, 0.3], ddof=1),
            "rank_ic_5d": 0.2,
            "icir_5d": 0.2 / np.std([0.0, 0.2, 0.4], ddof=1),
            "rank_ic": 0.2,
            "neutral_rank_ic_5d": 0.5,  # no variation: no ratio
            "neutral_rank_ic": 0.5,
        }
    )


def test_a_metric_without_a_day_is_missing_and_never_a_number() -> None:
    daily = {
        "rank_ic_1d": np.array([0.1, 0.2], dtype=np.float32),
        "rank_ic_5d": np.full(2, np.nan, dtype=np.float32),
    }
    summary = summarise(daily, monitor="rank_ic_1d")
    assert set(summary) == {"rank_ic_1d", "icir_1d"}  # the mean over horizons lacks one of them
    for monitor in ("rank_ic", "rank_ic_5d", "icir_5d", "no_such_metric"):
        with pytest.raises(MissingMetricError, match=f"'{monitor}' could not be computed"):
            summarise(daily, monitor)


def test_a_perfect_scorer_gets_one_and_a_shuffled_one_nothing() -> None:
    target = torch.randn(400, 100, generator=torch.Generator().manual_seed(0))
    assert daily_rank_ic(target, target).mean() == pytest.approx(1.0)
    shuffled = target.roll(1, dims=1)  # unlike a random order it leaves no stock in its place, which would be right
    expected = -1 / 99  # of two different values of one day, whose mean is known
    assert abs(daily_rank_ic(shuffled, target).mean() - expected) < 4 * 0.1 / 400**0.5


OWN = """
import torch


def earned(scores, returns, valid):
    return (scores * returns).sum(dim=1) / valid.sum(dim=1)


def overall(scores, returns, valid):
    return (scores * returns).mean()


def empty(scores, returns, valid):
    return torch.full((len(scores), scores.shape[2]), torch.nan)


def on_labels(scores, labels, valid):
    return scores


def rank_ic(scores, returns, valid):
    return scores


def earned_5d(scores, returns, valid):
    return scores
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module `own_metrics` of the user's."""
    (tmp_path / "own_metrics.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_metrics", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own")
def test_a_metric_of_ones_own_stands_beside_ours_by_horizon_and_over_all() -> None:
    scores, target = market()
    scores[3, MIN_STOCKS - 1 :] = torch.nan
    check_own_metric("own_metrics:earned")
    series = daily_series(scores, {"raw": target}, (1, 5), own="own_metrics:earned")
    pairs = np.asarray(scores * target)[..., 1]
    expected = np.array([np.nanmean(day) if np.isfinite(day).sum() >= MIN_STOCKS else np.nan for day in pairs])
    np.testing.assert_allclose(series["earned_5d"], expected, rtol=1e-4)
    assert np.isnan(series["earned_5d"][3])
    summary = summarise(series, "earned")
    assert summary["earned_5d"] == pytest.approx(np.nanmean(expected), rel=1e-4)
    assert summary["earned"] == pytest.approx((summary["earned_1d"] + summary["earned_5d"]) / 2)
    assert {name for name in summary if "icir" in name} == {"icir_1d", "icir_5d"}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("on_labels", "its parameters must be scores, returns, valid"),
        ("rank_ic", "a metric of ours is called rank_ic, or ends like it; give the function another name"),
        ("earned_5d", "give the function another name"),
        ("nothing", "has no 'nothing'"),
    ],
)
def test_what_is_no_metric_is_refused_in_a_sentence(name: str, said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        TrainConfig(own_metric=f"own_metrics:{name}")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("name", "said"), [("overall", "gave the shape []"), ("empty", "gave no finite value")])
def test_a_metric_without_a_value_per_day_and_horizon_is_refused_before_training(name: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        check_own_metric(f"own_metrics:{name}")
