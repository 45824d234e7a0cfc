"""The planted market's oracle is what it says: the best there is, and of the promised height."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.config import DataConfig
from trainer.data import HoldoutData, TrainingData, ceiling, open_holdout, open_training, prepare
from trainer.data.planted import generate, innovations, parse
from trainer.errors import InputError
from trainer.metrics import daily_rank_ic


@pytest.fixture(scope="module")
def markets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[TrainingData, HoldoutData]]:
    folder = tmp_path_factory.mktemp("cache")
    opened = {}
    for name in ("clean", "realistic", "null"):
        prepared = prepare(DataConfig(source=f"planted:{name}"), 20, folder)
        opened[name] = (open_training(prepared.search), open_holdout(prepared.holdout))
    return opened


Markets = dict[str, tuple[TrainingData, HoldoutData]]


def mean_ceiling(data: TrainingData) -> float:
    return float(np.mean(list(ceiling(data.panel, range(len(data.panel.dates))).values())))


def test_ceilings_are_of_the_promised_height(markets: Markets) -> None:
    assert 0.06 <= mean_ceiling(markets["realistic"][0]) <= 0.10
    assert mean_ceiling(markets["clean"][0]) > 0.2
    holdout = markets["realistic"][1]
    assert len(holdout.days) >= 120
    assert 0.05 <= np.mean(list(ceiling(holdout.panel, holdout.days).values())) <= 0.11


@pytest.mark.parametrize("name", ["clean", "realistic"])
def test_no_feature_comes_near_the_oracle(markets: Markets, name: str) -> None:
    panel = markets[name][0].panel
    best = ceiling(panel, range(len(panel.dates)))
    for column, horizon in enumerate(panel.horizons):
        target = np.array(panel.targets["raw"][:, :, column])
        for number in range(len(panel.feature_names)):
            feature = np.where(panel.mask, panel.features[:, :, number], np.nan)
            rank_ic = abs(float(np.nanmean(daily_rank_ic(feature, target).numpy())))
            assert rank_ic < 0.8 * best[horizon], panel.feature_names[number]


def test_oracle_is_unbiased_expectation_of_the_target(markets: Markets) -> None:
    panel = markets["clean"][0].panel
    assert panel.oracle is not None
    for column in range(4):
        target, oracle = panel.targets["raw"][:, :, column], panel.oracle[:, :, column]
        known = np.isfinite(target)
        assert np.polyfit(oracle[known], target[known], 1)[0] == pytest.approx(1.0, abs=0.12)


def test_null_market_has_neither_oracle_nor_signal(markets: Markets) -> None:
    panel = markets["null"][0].panel
    assert panel.oracle is None
    target = np.array(panel.targets["raw"][:, :, 0])
    for number in range(len(panel.feature_names)):
        daily = daily_rank_ic(np.where(panel.mask, panel.features[:, :, number], np.nan), target).numpy()
        daily = daily[np.isfinite(daily)]
        assert abs(daily.mean()) < 4.5 * daily.std() / np.sqrt(len(daily)), panel.feature_names[number]


def test_a_quarter_of_the_signal_are_out_of_a_linear_models_reach() -> None:
    rng = np.random.default_rng(0)
    shape = rng.uniform(-np.sqrt(3), np.sqrt(3), (400, 60, 3))
    sectors = (np.arange(60) % 6).astype(np.int16)
    signal = innovations(shape, sectors)
    assert signal.var() == pytest.approx(1.0, abs=0.03)
    mates = np.stack([shape[:, sectors == sectors[s], 0].mean(axis=1) for s in range(60)], axis=1)
    linear = np.column_stack([shape.reshape(-1, 3), mates.ravel()])
    residual = signal.ravel() - linear @ np.linalg.lstsq(linear, signal.ravel(), rcond=None)[0]
    assert 0.2 < residual.var() < 0.3


def test_realistic_has_gaps_late_listings_and_delistings() -> None:
    market = generate("planted:realistic", (1,))
    first = market.rows.argmax(axis=0)
    last = len(market.rows) - 1 - market.rows[::-1].argmax(axis=0)
    assert (first > 20).sum() > 3
    assert (last < len(market.rows) - 20).sum() > 2
    assert any(not market.rows[a:b, s].all() for s, (a, b) in enumerate(zip(first, last, strict=True)))
    returns = np.diff(np.log(market.read("close")), axis=0)
    kurtosis = np.nanmean(returns**4) / np.nanmean(returns**2) ** 2
    assert kurtosis > 4


def test_bars_are_bars() -> None:
    market = generate("planted:realistic?stocks=30&days=100", (1,))
    bars = {name: market.read(name)[market.rows] for name in market.columns}
    assert (bars["low"] > 0).all()
    assert (bars["high"] >= np.maximum(bars["open"], bars["close"])).all()
    assert (bars["low"] <= np.minimum(bars["open"], bars["close"])).all()
    assert (bars["volume"] > 0).all()


def test_seed_and_size_come_from_the_source() -> None:
    one, same, other = (
        generate(f"planted:clean?seed={seed}&stocks=20&days=50&sectors=2", (1,)).read("close") for seed in (3, 3, 4)
    )
    assert one.shape == (50, 20)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("planted:easy", "no planted market 'easy'; choose from clean, realistic, null"),
        ("planted:realistc", "did you mean 'realistic'"),
        ("planted:clean?stock=3", "'stock=3' is not one of seed=<number>, stocks="),
        ("planted:clean?stocks=many", "'stocks=many' is not one of"),
        ("planted:clean?stocks=5", "needs at least 10 stocks"),
    ],
)
def test_sources_that_do_not_exist(source: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse(source)
