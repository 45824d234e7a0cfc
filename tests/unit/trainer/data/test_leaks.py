"""A feature that contains the answer is refused by name, in whatever dress; honest ones are let in without a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from trainer.config import DataConfig
from trainer.data import prepare
from trainer.data.checking.leaks import Answers, suspicious_names
from trainer.data.cross_section import rank_normalise
from trainer.data.market import Market
from trainer.data.rolling import moving_mean, shift
from trainer.errors import InputError

Array = NDArray[np.float64]
DAYS, STOCKS = 400, 40
TRAINING = range(20, 320)


def walk(seed: int = 0) -> Array:
    """Closes of stocks that walk at random with a common factor, [D, S]."""
    rng = np.random.default_rng(seed)
    own, market = rng.standard_normal((DAYS, STOCKS)), rng.standard_normal((DAYS, 1))
    return 50 * np.exp(np.cumsum(0.02 * own + 0.01 * market * rng.uniform(0.5, 1.5, STOCKS), axis=0))


def market_of(close: Array) -> Market:
    return Market(
        name="prices.csv",
        dates=np.arange(len(close)).astype("datetime64[D]"),
        symbols=tuple(map(str, range(close.shape[1]))),
        columns=("close", "alpha"),
        read={"close": close}.__getitem__,
        row=str,
        rows=np.isfinite(close),
        sectors=np.full(close.shape, -1, dtype=np.int16),
        sector_names=(),
    )


def ahead(close: Array, until: int, since: int = 0) -> Array:
    return shift(close, -until) / shift(close, -since) - 1


def on_some(values: Array, days: NDArray[np.bool_], seed: int = 1) -> Array:
    noise = np.random.default_rng(seed).standard_normal(values.shape)
    return np.where(days[:, None], values, noise * np.nanstd(values))


def noisy(values: Array, share: float, seed: int = 2) -> Array:
    """With a correlation of `share`."""
    noise = np.random.default_rng(seed).standard_normal(values.shape)
    return share * values / np.nanstd(values) + np.sqrt(1 - share**2) * noise


def drawn(share: float) -> NDArray[np.bool_]:
    picked: NDArray[np.bool_] = np.random.default_rng(3).random(DAYS) < share
    return picked


DRESSES: Mapping[str, Callable[[Array], Array]] = {
    "plain": lambda c: ahead(c, 5),
    "its sign turned": lambda c: -ahead(c, 5),
    "a horizon that is not trained on": lambda c: ahead(c, 7),
    "a very long horizon": lambda c: ahead(c, 120),
    "tomorrow": lambda c: ahead(c, 1),
    "shifted by three days": lambda c: ahead(c, 8, since=3),
    "shifted by thirty days": lambda c: ahead(c, 50, since=30),
    "the day after tomorrow": lambda c: ahead(c, 2, since=1),
    "ranked": lambda c: rank_normalise(ahead(c, 5), np.isfinite(c)).astype(float),
    "less the day's mean": lambda c: ahead(c, 10) - ahead(c, 10).mean(axis=1, keepdims=True),
    "up or down": lambda c: np.sign(ahead(c, 5)),
    "cubed": lambda c: ahead(c, 5) ** 3,
    "half noise": lambda c: noisy(ahead(c, 5), 0.5),
    "smoothed beyond today": lambda c: shift(moving_mean(c, 11), -5) / c,
    "on every fifth day": lambda c: on_some(ahead(c, 5), np.arange(DAYS) % 5 == 0),
    "on a tenth of the days": lambda c: on_some(ahead(c, 5), drawn(0.1)),
    "on 2 % of the days": lambda c: on_some(ahead(c, 1), drawn(0.02)),
    "in two months": lambda c: on_some(noisy(ahead(c, 1), 0.7), np.abs(np.arange(DAYS) - 150) < 20),
    "for half of the stocks": lambda c: np.where(
        np.arange(STOCKS) % 2, ahead(c, 5), np.nanstd(ahead(c, 5)) * noisy(c, 0)
    ),
    "for four stocks": lambda c: np.where(np.arange(STOCKS) < 4, noisy(ahead(c, 5), 0.99), noisy(c, 0)),
    "where it is known at all": lambda c: np.where(np.random.default_rng(4).random(c.shape) < 0.5, ahead(c, 5), np.nan),
}

HIDDEN: Mapping[str, Callable[[Array], Array]] = {
    "tomorrow's price": lambda c: shift(c, -1),
    "the price of a week later, in cents": lambda c: 100 * shift(c, -5),
    "a fundamental of next month's price": lambda c: shift(c, -20) / np.linspace(8, 30, STOCKS),
    "the sum of the returns to come": lambda c: np.nancumsum(ahead(c, 1), axis=0),
    "minus the logarithm of tomorrow's price": lambda c: -np.log(shift(c, -1)),
}
"""Features that hold the answer by their change or by their ratio to the close."""

HONEST: Mapping[str, Callable[[Array], Array]] = {
    "noise": lambda c: noisy(c, 0.0),
    "the return of the day": lambda c: c / shift(c, 1) - 1,
    "momentum": lambda c: c / shift(c, 60),
    "a level": lambda c: c,
    "the same every day": lambda c: np.broadcast_to(np.random.default_rng(5).random(STOCKS), c.shape).copy(),
    "slow noise": lambda c: np.cumsum(np.random.default_rng(6).standard_normal(c.shape), axis=0),
    "five classes": lambda c: np.round(noisy(c, 0.0)),
    "a real signal": lambda c: noisy(ahead(c, 5), 0.06),
    "yesterday's price": lambda c: shift(c, 1),
    "a moving average": lambda c: moving_mean(c, 20),
    "a number of shares times the price": lambda c: c * np.linspace(1, 90, STOCKS),
    "mostly unknown": lambda c: np.where(np.random.default_rng(7).random(c.shape) < 0.1, noisy(c, 0.0), np.nan),
}


def judge_hidden(close: Array, feature: Array, trust: tuple[str, ...] = (), priced: bool = True) -> str | None:
    market = market_of(close)
    mask = np.isfinite(close)
    answers = Answers(market, mask, TRAINING, (1, 5), trust)
    return answers.judge_hidden("alpha", feature, close if priced else None, mask)


def judge(close: Array, feature: Array, days: range = TRAINING, trust: tuple[str, ...] = ()) -> str | None:
    market = market_of(close)
    mask = np.isfinite(close)
    return Answers(market, mask, days, (1, 5), trust).judge("alpha", rank_normalise(feature, mask))


@pytest.mark.parametrize("dress", DRESSES)
def test_the_answer_is_refused_in_any_dress(dress: str) -> None:
    close = walk()
    feature = DRESSES[dress](close)
    sentence = (
        r"prices.csv: feature 'alpha' .*: it contains the answer. Remove its column, or let it in with data.trust"
    )
    with pytest.raises(InputError, match=sentence):
        judge(close, feature)
    assert judge(close, feature, trust=("alpha",)) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_feature_is_let_in_without_a_word(kind: str, seed: int) -> None:
    close = walk(seed)
    assert judge(close, HONEST[kind](close)) is None


@pytest.mark.parametrize("dress", HIDDEN)
def test_a_later_price_is_refused_by_what_can_be_computed_from_it(dress: str) -> None:
    close = walk()
    feature = HIDDEN[dress](close)
    sentence = "feature 'alpha', (as its change over (a day|20 days)|divided by the close), .*: it contains the answer"
    with pytest.raises(InputError, match=sentence):
        judge_hidden(close, feature)
    assert judge_hidden(close, feature, trust=("alpha",)) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", HONEST)
def test_nothing_is_said_of_what_can_be_computed_from_an_honest_feature(kind: str, seed: int) -> None:
    close = walk(seed)
    assert judge_hidden(close, HONEST[kind](close)) is None
    assert judge_hidden(close, HONEST[kind](close), priced=False) is None


@pytest.mark.parametrize("seed", range(3))
def test_the_answer_within_one_sector_is_refused_with_its_name(seed: int) -> None:
    close = walk(seed)
    sectors = np.where(np.arange(STOCKS) < 10, 0, 1)
    market = replace(
        market_of(close), sectors=np.tile(sectors, (DAYS, 1)).astype(np.int16), sector_names=("tools", "games")
    )
    feature = np.where(sectors == 0, noisy(ahead(close, 5), 0.55), noisy(close, 0.0, seed=8))
    answers = Answers(market, np.isfinite(close), TRAINING, (1, 5), ())
    with pytest.raises(InputError, match="within the sector 'tools': it contains the answer"):
        answers.judge("alpha", rank_normalise(feature, np.isfinite(close)))
    for honest in HONEST.values():
        assert answers.judge("alpha", rank_normalise(honest(close), np.isfinite(close))) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_short_panel_of_few_stocks_is_not_accused_of_its_luck(seed: int) -> None:
    close = walk(seed)[:90, :12]
    for name in ("noise", "momentum", "the return of the day", "a level"):
        assert judge(close, HONEST[name](walk(seed))[:90, :12], days=range(20, 60)) is None


def test_what_is_more_than_credible_but_less_than_certain_is_warned_of() -> None:
    close = walk()
    said = judge(close, noisy(ahead(close, 5), 0.2))
    assert said is not None
    assert said.startswith("feature 'alpha' has a mean daily RankIC of +0.1")
    assert "with the return over the next 5 days" in said


def test_only_returns_that_end_within_the_training_days_are_looked_at() -> None:
    close = walk()
    later = close.copy()
    later[TRAINING.stop :] = walk(seed=9)[TRAINING.stop :]
    feature = noisy(ahead(close, 20), 0.25)
    feature[TRAINING.stop - 20 :] = 1.0
    assert judge(close, feature) == judge(later, feature) is not None


@pytest.mark.parametrize(
    "name",
    ["label", "fwd_ret_5d", "forwardReturn", "target_rank", "next_day_ret", "ret_ahead", "y_future", "TomorrowMove"],
)
def test_names_that_speak_of_the_future_are_warned_of(name: str) -> None:
    assert name in suspicious_names((name, "alpha"), ())[0]
    assert suspicious_names((name,), (name,)) == ()


@pytest.mark.parametrize(
    "name",
    ["forward_pe", "fwd_eps_growth", "target_price_gap", "next_earnings_days", "momentum", "context", "retarget"],
)
def test_names_of_what_analysts_expect_are_not(name: str) -> None:
    assert suspicious_names((name,), ()) == ()


def test_preparation_refuses_the_answer_beside_prices_and_beside_labels(
    bars: Callable[..., pd.DataFrame], write: Callable[..., str], small: Mapping[str, object], tmp_path: Path
) -> None:
    table = bars(days=160, stocks=25)
    later = table.groupby("symbol")["close"].shift(-5) / table["close"] - 1
    ready = table[["date", "symbol"]].assign(
        target_1d=table.groupby("symbol")["close"].shift(-1) / table["close"] - 1,
        target_3d=later,
        noise=table["volume"],
    )
    for source in (table.assign(fwd_ret_5d=later), ready.assign(alpha=later)):
        path = write(source, f"{len(source.columns)}.parquet")
        with pytest.raises(InputError, match=r"feature '(fwd_ret_5d|alpha)' has a mean daily RankIC of \+1.00"):
            prepare(DataConfig.model_validate({"source": path, **small}), 4, tmp_path)
        trusting = DataConfig.model_validate({"source": path, **small, "trust": ["fwd_ret_5d", "alpha"]})
        assert not any("RankIC" in warning for warning in prepare(trusting, 4, tmp_path).warnings)


def test_preparation_refuses_a_later_price_whose_own_order_says_little(
    bars: Callable[..., pd.DataFrame], write: Callable[..., str], small: Mapping[str, object], tmp_path: Path
) -> None:
    table = bars(days=160, stocks=25)
    path = write(table.assign(px=table.groupby("symbol")["close"].shift(-1)))
    with pytest.raises(InputError, match="feature 'px', as its change over a day, has a mean daily RankIC"):
        prepare(DataConfig.model_validate({"source": path, **small}), 4, tmp_path)
    honest = DataConfig.model_validate({"source": write(table.assign(px=table["close"] * 3), "h.parquet"), **small})
    assert not any("px" in warning for warning in prepare(honest, 4, tmp_path).warnings)
