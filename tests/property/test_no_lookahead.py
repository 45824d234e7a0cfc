"""Nothing that is known at a day's close changes when any later row does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.data.features import make_features, usable
from trainer.data.market import OHLCV, Market
from trainer.data.planted import generate
from trainer.data.targets import daily_returns, make_targets

HORIZONS = (1, 4)
DAYS, STOCKS = 110, 16


def gappy_noise() -> Market:
    """Bars without any structure, a tenth of the rows missing, some cells empty, sectors of unequal size."""
    rng = np.random.default_rng(11)
    rows = rng.random((DAYS, STOCKS)) < 0.9
    rows[:50, 0] = False
    rows[60:, 1] = False
    columns = {name: np.where(rows, rng.uniform(1.0, 9.0, rows.shape), np.nan) for name in (*OHLCV, "alpha")}
    columns["open"][rng.random(rows.shape) < 0.05] = np.nan
    return Market(
        name="noise",
        dates=np.arange(DAYS).astype("datetime64[D]"),
        symbols=tuple(map(str, range(STOCKS))),
        columns=(*OHLCV, "alpha"),
        read=columns.__getitem__,
        rows=rows,
        row=str,
        sectors=rng.integers(-1, 2, (DAYS, STOCKS)).astype(np.int16),
        sector_names=("a", "b"),
    )


MARKETS: dict[str, Market] = {
    "planted": generate(f"planted:realistic?days={DAYS}&stocks={STOCKS}&sectors=2", HORIZONS),
    "noise": gappy_noise(),
}


def with_members(market: Market) -> Market:
    """Whose universe changes every day."""
    members = np.random.default_rng(12).random((DAYS, STOCKS)) < 0.9
    columns = (*market.columns, "universe")
    return Market(
        **{**market.__dict__, "columns": columns, "read": lambda n: members if n == "universe" else market.read(n)}
    )


MARKETS |= {"members": with_members(gappy_noise())}


def altered_after(market: Market, day: int, seed: int) -> Market:
    """The same market with every later cell multiplied by something, some later rows gone or new, and other sectors and
    members."""
    rng = np.random.default_rng(seed)
    later = np.arange(DAYS)[:, None] > day
    kept = rng.random((DAYS, STOCKS)) < 0.9
    factor = np.exp(rng.normal(0.0, 2.0, (DAYS, STOCKS)))

    def read(name: str) -> NDArray[np.float64]:
        values = np.where(kept, np.nan_to_num(market.read(name), nan=5.0) * factor, np.nan)
        return np.where(later, rng.random(kept.shape) < 0.5 if name == "universe" else values, market.read(name))

    changed = {
        "read": {name: read(name) for name in market.columns}.__getitem__,
        "rows": np.where(later, kept, market.rows),
        "sectors": np.where(later, rng.integers(-1, 2, kept.shape), market.sectors).astype(np.int16),
    }
    return Market(**{**market.__dict__, **changed})


def known(market: Market) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """What is known at a day's close by name [D, S], and the targets [D, S, H]."""
    mask = usable(market, 0.0)
    inputs = {**dict(make_features(market, mask)), "mask": mask.astype(np.float32), "returns": daily_returns(market)}
    return inputs, dict(make_targets(market, mask, HORIZONS))


BEFORE = {name: known(market) for name, market in MARKETS.items()}


@pytest.mark.parametrize("name", MARKETS)
@settings(max_examples=8, deadline=None)
@given(day=st.integers(25, DAYS - 8), seed=st.integers(0, 2**16))
def test_the_past_does_not_change(name: str, day: int, seed: int) -> None:
    inputs, targets = known(altered_after(MARKETS[name], day, seed))
    inputs_before, targets_before = BEFORE[name]
    for key, values in inputs.items():
        np.testing.assert_array_equal(values[: day + 1], inputs_before[key][: day + 1], err_msg=key)
    for key, values in targets.items():
        for column, horizon in enumerate(HORIZONS):
            ended = day + 1 - horizon - ("lag1" in key)  # labels of days before this one end by `day`
            np.testing.assert_array_equal(
                values[:ended, :, column], targets_before[key][:ended, :, column], err_msg=key
            )


def with_later_listings(market: Market, day: int, seed: int) -> Market:
    """The market with more stocks, of every sector, none of which has a row by `day`."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(1, 9))
    rows = np.zeros((DAYS, number), dtype=bool)
    rows[day + 1 :] = True

    def read(name: str) -> NDArray[np.float64]:
        return np.hstack([market.read(name), np.where(rows, rng.uniform(1.0, 9.0, rows.shape), np.nan)])

    kept = {name: read(name) for name in market.columns}
    changed = {
        "read": kept.__getitem__,
        "symbols": (*market.symbols, *(f"new {n}" for n in range(number))),
        "rows": np.hstack([market.rows, rows]),
        "sectors": np.hstack([market.sectors, rng.integers(-1, 4, rows.shape).astype(np.int16)]),
        "sector_names": (*market.sector_names, "c", "d"),
    }
    return Market(**{**market.__dict__, **changed})


@pytest.mark.parametrize("name", MARKETS)
@settings(max_examples=8, deadline=None)
@given(day=st.integers(25, DAYS - 8), seed=st.integers(0, 2**16))
def test_who_is_listed_later_changes_nothing_before(name: str, day: int, seed: int) -> None:
    inputs, targets = known(with_later_listings(MARKETS[name], day, seed))
    inputs_before, targets_before = BEFORE[name]
    for key, values in inputs.items():
        before = inputs_before[key][: day + 1]
        np.testing.assert_allclose(values[: day + 1, :STOCKS], before, atol=1e-5, err_msg=key)
    for key, values in targets.items():
        for column, horizon in enumerate(HORIZONS):
            ended = day + 1 - horizon - ("lag1" in key)
            before = targets_before[key][:ended, :, column]
            np.testing.assert_allclose(values[:ended, :STOCKS, column], before, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", MARKETS)
def test_the_alteration_is_seen_afterwards(name: str) -> None:
    day = 60
    inputs, targets = known(altered_after(MARKETS[name], day, seed=0))
    inputs_before, targets_before = BEFORE[name]
    for key, values in inputs.items():
        assert not np.array_equal(values[day + 1 :], inputs_before[key][day + 1 :], equal_nan=True), key
    for key, values in targets.items():
        for column, horizon in enumerate(HORIZONS):
            first = day + 1 - horizon - ("lag1" in key)
            changed = values[first:, :, column], targets_before[key][first:, :, column]
            assert not np.array_equal(*changed, equal_nan=True), key
