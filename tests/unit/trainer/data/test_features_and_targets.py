"""Features and targets against naive computations, with missing days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from trainer.data.cross_section import Groups, rank_normalise
from trainer.data.features import FEATURES, feature_names, make_features, usable
from trainer.data.market import Market
from trainer.data.planted import generate
from trainer.data.rolling import moving_corr, moving_max, moving_mean, moving_skew, moving_std
from trainer.data.targets import daily_returns, forward_returns, make_targets, neutralise, raw_targets


@pytest.fixture(scope="module")
def market() -> Market:
    return generate("planted:realistic?stocks=40&days=330&sectors=3", (1, 5))


@pytest.fixture
def gappy() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((90, 6))
    values[rng.random(values.shape) < 0.1] = np.nan
    values[:30, 0] = np.nan
    return values


@pytest.mark.parametrize("window", [1, 5, 20, 33])
def test_moving_statistics_equal_pandas(gappy: np.ndarray, window: int) -> None:
    rolling = pd.DataFrame(gappy).rolling(window, min_periods=int(np.ceil(0.6 * window)))
    full = np.isfinite(moving_mean(gappy, window))[window:]
    cases = {
        "mean": (moving_mean(gappy, window), rolling.mean()),
        "max": (moving_max(gappy, window), rolling.max()),
        "std": (moving_std(gappy, window), rolling.std(ddof=0)),
    }
    for name, (ours, theirs) in cases.items():
        np.testing.assert_allclose(ours[window:], theirs.to_numpy()[window:], atol=1e-7, err_msg=name)
    assert full.any()


def test_skewness_and_correlation_equal_their_definitions(gappy: np.ndarray) -> None:
    other = gappy + np.random.default_rng(1).standard_normal(gappy.shape)
    row, stock = 70, 2
    part, pair = gappy[row - 29 : row + 1, stock], other[row - 29 : row + 1, stock]
    known = np.isfinite(part)
    centred = part[known] - part[known].mean()
    skew = (centred**3).mean() / (centred**2).mean() ** 1.5
    assert moving_skew(gappy, 30)[row, stock] == pytest.approx(skew)
    correlation = np.corrcoef(part[known], pair[known])[0, 1]
    assert moving_corr(gappy, other, 30)[row, stock] == pytest.approx(correlation)


def test_ranks_equal_scipy_with_ties_and_missing_values() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (20, 15)).astype(float)
    values[rng.random(values.shape) < 0.2] = np.nan
    valid = rng.random(values.shape) < 0.9
    ranked = rank_normalise(values, valid)
    for day in range(20):
        known = valid[day] & np.isfinite(values[day])
        expected = (2 * (rankdata(values[day][known]) - 0.5) / known.sum() - 1) * np.sqrt(3)
        np.testing.assert_allclose(ranked[day][known], expected, atol=1e-6)
        assert not ranked[day][~known].any()


def test_small_sectors_are_pooled_with_the_unknown() -> None:
    valid = np.array([[True] * 6 + [False]])
    groups = Groups(np.array([[0, 0, 0, 1, -1, 2, 2]], dtype=np.int16), np.ones((1, 7), dtype=bool), smallest=2)
    assert groups.total(np.ones((1, 7))).tolist() == [[3, 3, 3, 2, 2, 2, 2]]
    assert groups.mean(np.arange(7.0)[None], valid).tolist() == [[1.0, 1.0, 1.0, 3.5, 3.5, 5.0, 5.0]]


def test_a_sector_stands_alone_from_the_day_it_has_enough_members() -> None:
    members = np.array([[True, True, False, True], [True, True, True, True]])
    groups = Groups(np.array([[0, 0, 0, -1]] * 2, dtype=np.int16), members, smallest=3)
    assert groups.total(members).tolist() == [[3, 3, 3, 3], [3, 3, 3, 1]]


def test_every_feature_is_ranked_and_varies_within_each_day(market: Market) -> None:
    mask = usable(market, 0.0)
    made = dict(make_features(market, mask))
    assert set(made) == set(feature_names(market))
    assert len(FEATURES) == 24
    for name, values in made.items():
        recipe = FEATURES[name.removesuffix("_in_sector")]
        live = values[max(recipe.history, 20) + 1 :]
        assert not values[~mask].any()
        assert (live.std(axis=1) > 0.5).all(), name
        np.testing.assert_allclose(live.mean(axis=1), 0.0, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(live.std(axis=1), 1.0, atol=0.5, err_msg=name)
        assert not values[: recipe.history // 2].any(), name


@pytest.mark.parametrize("ready", [False, True])
def test_features_are_ranked_among_the_usable_stocks_only(market: Market, ready: bool) -> None:
    mask = usable(market, 0.0) & (np.random.default_rng(0).random(market.rows.shape) < 0.8)
    if ready:
        read = {"alpha": market.read("volume"), "beta": market.read("close")}
        market = Market(**{**market.__dict__, "columns": tuple(read), "read": read.__getitem__})
    made = dict(make_features(market, mask))
    assert set(made) == set(feature_names(market))
    for name, values in made.items():
        assert not values[~mask].any(), name
        np.testing.assert_allclose(values.mean(axis=1), 0.0, atol=1e-5, err_msg=name)


def test_features_do_not_know_the_price_level(market: Market) -> None:
    factor = np.exp(np.random.default_rng(0).uniform(-2, 2, len(market.symbols)))

    def read(name: str) -> np.ndarray:  # a split: prices times the factor, volume divided by it
        return market.read(name) / factor if name == "volume" else market.read(name) * factor

    rescaled = Market(**{**market.__dict__, "read": read})
    mask = usable(market, 0.0)
    before, after = dict(make_features(market, mask)), dict(make_features(rescaled, mask))
    for name in before:
        differing = np.abs(before[name] - after[name]) > 1e-3
        assert differing.mean() < 1e-3, name  # rounding may swap near ties


def test_twins_compare_with_the_own_sector(market: Market) -> None:
    mask = usable(market, 0.0)
    twin = dict(make_features(market, mask))["shadow_balance_in_sector"][200]
    for sector in range(3):
        inside = (market.sectors[200] == sector) & mask[200]
        assert abs(twin[inside].mean()) < 0.2
    assert mask[200].sum() > 30


def test_forward_returns_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    close = 50 * np.exp(np.cumsum(0.02 * rng.standard_normal((60, 8)), axis=0))
    close[rng.random(close.shape) < 0.05] = np.nan
    close[:20, 1] = np.nan
    close[40:, 2] = np.nan
    targets = forward_returns(close, (1, 5, 10))
    for day in range(60):
        for stock in range(8):
            for column, horizon in enumerate((1, 5, 10)):
                path = close[day : day + horizon + 1, stock]
                after = path[1:][np.isfinite(path[1:])]
                observed = len(path) == horizon + 1 and np.isfinite(path[0]) and len(after)
                expected = after[-1] / path[0] - 1 if observed else np.nan
                assert targets[day, stock, column] == pytest.approx(expected, nan_ok=True)


def delisted(returned: dict[int, float], until: int = 9) -> Market:
    """Twelve days of one stock that closes at 10, 11, 12, ... up to and without the day `until`."""
    close = np.full((12, 1), np.nan)
    close[:until, 0] = np.arange(10, 10 + until)
    column = np.full((12, 1), np.nan)
    for day, value in returned.items():
        column[day] = value
    columns = {"close": close, "delisting_return": column}
    return Market(
        name="one",
        dates=np.arange(12).astype("datetime64[D]"),
        symbols=("A",),
        columns=tuple(columns),
        read=columns.__getitem__,
        row=str,
        rows=np.isfinite(close),
        sectors=np.full((12, 1), -1, dtype=np.int16),
        sector_names=(),
    )


@pytest.mark.parametrize("day", [8, 9])
def test_what_was_paid_after_a_delisting_ends_the_labels(day: int) -> None:
    """On the last row or on a row of its own."""
    one, three = raw_targets(delisted({day: -0.5}), (1, 3))[:, 0].T
    assert one[7:].tolist() == pytest.approx([18 / 17 - 1, -0.5, np.nan, np.nan, np.nan], nan_ok=True)
    assert three[6:].tolist() == pytest.approx([9 / 16 - 1, 9 / 17 - 1, -0.5, *[np.nan] * 3], nan_ok=True)


def test_without_it_the_labels_end_at_the_last_close() -> None:
    one, three = raw_targets(delisted({}), (1, 3))[:, 0].T
    assert one[7:].tolist() == pytest.approx([18 / 17 - 1, *[np.nan] * 4], nan_ok=True)
    assert three[6:].tolist() == pytest.approx([18 / 16 - 1, 18 / 17 - 1, *[np.nan] * 4], nan_ok=True)


def test_late_targets_are_the_next_days_and_need_the_day_itself(market: Market) -> None:
    mask = usable(market, 0.0)
    targets = make_targets(market, mask, (1, 5))
    close = market.read("close")
    day, stock = 200, int(np.flatnonzero(np.isfinite(close[190:210]).all(axis=0))[0])
    assert targets["lag1"][day, stock, 1] == pytest.approx(close[206, stock] / close[201, stock] - 1, rel=1e-5)
    for values in targets.values():
        assert np.isnan(values[~mask]).all()
    assert np.isnan(targets["lag1"][-6:, :, 1]).all()
    returns = daily_returns(market)
    assert returns[day, stock] == pytest.approx(close[day, stock] / close[day - 1, stock] - 1, rel=1e-5)


def test_neutral_targets_equal_a_regression_with_dummies() -> None:
    rng = np.random.default_rng(5)
    groups = np.array([0, 1, 2] * 9 + [3])
    styles = rng.standard_normal((4, 28, 3))
    targets = rng.standard_normal((4, 28, 2))
    targets[0, :3, 0] = np.nan
    targets[3, 9:, :] = np.nan
    neutral = neutralise(
        targets, styles, Groups(np.tile(groups, (4, 1)).astype(np.int16), np.ones((4, 28), dtype=bool), 0)
    )
    for day in range(3):
        for column in range(2):
            known = np.isfinite(targets[day, :, column])
            design = np.hstack([styles[day], np.eye(4)[groups]])[known]
            label = targets[day, known, column]
            residual = label - design @ np.linalg.lstsq(design, label, rcond=None)[0]
            np.testing.assert_allclose(neutral[day, known, column][:-1], residual[:-1], atol=1e-5)
    assert np.isnan(neutral[:, 27]).all()  # alone in its group
    assert np.isnan(neutral[0, :3, 0]).all()
    assert np.isnan(neutral[3]).all()  # nine labels
