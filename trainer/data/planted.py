"""The planted market: seeded daily bars whose signal is known, so that the best possible RankIC can be computed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from trainer.data.market import OHLCV, Market
from trainer.data.panel import Panel
from trainer.errors import InputError
from trainer.metric_names import MIN_STOCKS
from trainer.suggestions import nearest

PREFIX = "planted:"
KERNEL_DAYS = 20
FIRST_DAY = np.datetime64("2015-01-01")


@dataclass(frozen=True)
class Planted:
    """A planted market's settings.

    signal: standard deviation of a day's innovation, in units of the stock's daily idiosyncratic noise.
    tail: degrees of freedom of the noise's Student distribution; 0: Gaussian.
    factor: daily standard deviation of the market's and of a sector's common return; 0: none.
    absent: share of stock-days without a row, of stocks listed late and of stocks delisted early.
    """

    seed: int = 0
    stocks: int = 320
    days: int = 1200
    sectors: int = 10
    signal: float = field(default=0.0, metadata={"fixed": True})
    tail: int = field(default=0, metadata={"fixed": True})
    factor: float = field(default=0.0, metadata={"fixed": True})
    absent: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0), metadata={"fixed": True})


DIFFICULTIES = {
    "clean": Planted(signal=0.5),
    "realistic": Planted(signal=0.145, tail=6, factor=0.006, absent=(0.001, 0.1, 0.05)),
    "null": Planted(tail=6, factor=0.006, absent=(0.001, 0.1, 0.05)),
}

NOISE = 0.02
"""Median daily standard deviation of a stock's own return."""
DECAY = 0.3
"""What is left of an innovation's daily effect a day later."""
GAP_SHARE = 0.4
"""Standard deviation of the overnight move, in units of the stock's daily noise."""


def kernel() -> NDArray[np.float64]:
    """Share of an innovation that is earned k = 1..KERNEL_DAYS days later: [KERNEL_DAYS]."""
    weights: NDArray[np.float64] = DECAY ** np.arange(KERNEL_DAYS, dtype=np.float64)
    return weights


def parse(source: str) -> Planted:
    """Settings from `planted:NAME` or `planted:NAME?seed=3&stocks=200&days=900`. Raises InputError."""
    name, _, query = source.removeprefix(PREFIX).partition("?")
    if name not in DIFFICULTIES:
        raise InputError(
            f"data.source={source}: there is no planted market '{name}'; choose from {', '.join(DIFFICULTIES)}"
            f"{nearest(name, DIFFICULTIES) or '.'}"
        )
    free = [f.name for f in fields(Planted) if not f.metadata.get("fixed")]
    settings: dict[str, int] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in free or not value.isdigit():
            raise InputError(
                f"data.source={source}: '{part}' is not one of {', '.join(f'{k}=<number>' for k in free)}."
            )
        settings[key] = int(value)
    planted = replace(DIFFICULTIES[name], **settings)  # type: ignore[arg-type]  # only int fields are free
    if planted.stocks < MIN_STOCKS or not 0 < planted.sectors <= planted.stocks or planted.days < 2:
        raise InputError(
            f"data.source={source}: a planted market needs at least {MIN_STOCKS} stocks, 2 days, and from 1 to as many "
            "sectors as stocks."
        )
    return planted


def innovations(shape: NDArray[np.float64], sectors: NDArray[np.int16]) -> NDArray[np.float64]:
    """What a day's observable shape says about the coming returns: [D, S], mean 0, variance about 1.

    shape: [D, S, 3], independent uniforms of mean 0 and variance 1 behind shadow balance, volume surprise and
    overnight return. Three quarters of the variance are linear in them (the sector mates' mean included), one
    quarter is not: a parabola and a product.
    """
    shadow, volume, gap = (shape[..., k] for k in range(3))
    member = (sectors[:, None] == sectors).astype(np.float64)
    np.fill_diagonal(member, 0.0)
    mates = np.maximum(member.sum(axis=1), 1.0)
    around = shadow @ member.T / np.sqrt(mates)
    parts = (
        (0.40, shadow),
        (0.20, -gap),
        (0.15, around),
        (0.10, (gap**2 - 1) / np.sqrt(0.8)),
        (0.15, shadow * volume),
    )
    return sum((np.sqrt(share) * part for share, part in parts), start=np.zeros_like(shadow))


def generate(source: str, horizons: tuple[int, ...]) -> Market:
    """The market of a `planted:` source: bars, sectors, and the oracle for `horizons`. Raises InputError."""
    p = parse(source)
    rng = np.random.default_rng([p.seed, 20])
    D, S = p.days, p.stocks
    sectors = (np.arange(S) % p.sectors).astype(np.int16)
    shape = rng.uniform(-1.0, 1.0, (D, S, 3)) * np.sqrt(3.0)
    noise = NOISE * np.exp(0.25 * rng.standard_normal(S))
    innovation = p.signal * NOISE * innovations(shape, sectors)
    expected = _spread(innovation)
    returns = expected + noise * _noise(rng, (D, S), p.tail) + _factors(rng, p, sectors)
    columns = _bars(rng, returns, shape, noise)
    present = _presence(rng, p)
    oracle = _oracle(innovation, horizons) if p.signal else None
    return Market(
        name=source,
        dates=_calendar(D),
        symbols=tuple(f"P{number:04d}" for number in range(S)),
        columns=OHLCV,
        read=lambda name: np.where(present, columns[name], np.nan),
        rows=present,
        row=lambda day, stock: f"day {day}, stock {stock}",
        sectors=np.tile(sectors, (D, 1)),
        sector_names=tuple(f"sector {number + 1}" for number in range(p.sectors)),
        oracle=oracle,
    )


def ceiling(panel: Panel, days: range) -> dict[int, float]:
    """The oracle's mean daily RankIC against the raw target by horizon: the most a model can be expected to reach.

    Empty where the panel has no oracle.
    """
    if panel.oracle is None:
        return {}
    from trainer.metrics import daily_rank_ic  # imports torch, which a process that opens prepared data does without

    rows = slice(days.start, days.stop)
    scores = np.where(panel.mask[rows, :, None], panel.oracle[rows], np.nan)
    daily = daily_rank_ic(scores, np.array(panel.targets["raw"][rows])).numpy()
    return {horizon: float(np.nanmean(daily[:, column])) for column, horizon in enumerate(panel.horizons)}


def _calendar(days: int) -> NDArray[np.datetime64]:
    calendar: NDArray[np.datetime64] = np.busday_offset(FIRST_DAY, np.arange(days), roll="forward").astype(
        "datetime64[D]"
    )
    return calendar


def _spread(innovation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected return of each day: innovations of the KERNEL_DAYS days before, weighted by the kernel."""
    expected = np.zeros_like(innovation)
    for lag, weight in enumerate(kernel(), start=1):
        expected[lag:] += weight * innovation[:-lag]
    return expected


def _oracle(innovation: NDArray[np.float64], horizons: tuple[int, ...]) -> NDArray[np.float32]:
    """Sum of the expected returns of the next h days given the innovations up to today: [D, S, H]."""
    earned = np.concatenate([[0.0], np.cumsum(kernel())])
    oracle = np.zeros((*innovation.shape, len(horizons)))
    for column, horizon in enumerate(horizons):
        for age in range(KERNEL_DAYS):
            weight = earned[min(age + horizon, KERNEL_DAYS)] - earned[age]
            oracle[age:, :, column] += weight * innovation[: len(innovation) - age]
    return oracle.astype(np.float32)


def _noise(rng: np.random.Generator, size: tuple[int, ...], tail: int) -> NDArray[np.float64]:
    """Noise of variance 1; fat tails are cut at ten standard deviations."""
    if not tail:
        return rng.standard_normal(size)
    scaled: NDArray[np.float64] = rng.standard_t(tail, size) * np.sqrt((tail - 2) / tail)
    return scaled.clip(-10.0, 10.0)


def _factors(rng: np.random.Generator, p: Planted, sectors: NDArray[np.int16]) -> NDArray[np.float64]:
    """Common returns [D, S] of the market (loadings around 1) and of the sectors."""
    market = _noise(rng, (p.days, 1), p.tail) * rng.uniform(0.8, 1.2, p.stocks)
    sector = 0.5 * _noise(rng, (p.days, p.sectors), p.tail)[:, sectors]
    factors: NDArray[np.float64] = p.factor * (market + sector)
    return factors


def _bars(
    rng: np.random.Generator, returns: NDArray[np.float64], shape: NDArray[np.float64], noise: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    D, S = returns.shape
    shadow, volume, gap = (shape[..., k] / np.sqrt(3.0) for k in range(3))
    close = rng.uniform(20.0, 200.0, S) * np.cumprod(1 + returns, axis=0)
    before = close / (1 + returns)
    opened = before * (1 + GAP_SHARE * noise * gap * np.sqrt(3.0))
    shadows = noise * rng.uniform(0.5, 1.5, (D, S))
    usual = rng.uniform(1e5, 1e7, S) * np.exp(_drift(rng, (D, S)))
    return {
        "open": opened,
        "high": np.maximum(opened, close) * (1 + shadows * (1 + shadow) / 2),
        "low": np.minimum(opened, close) * (1 - shadows * (1 - shadow) / 2),
        "close": close,
        "volume": np.round(usual * np.exp(volume)),
    }


def _drift(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """A slow walk of the usual log volume."""
    return 0.01 * np.cumsum(rng.standard_normal(size), axis=0)


def _presence(rng: np.random.Generator, p: Planted) -> NDArray[np.bool_]:
    """Which stock-days have a row: bool [D, S]."""
    absent, late, gone = p.absent
    D, S = p.days, p.stocks
    first = np.where(rng.random(S) < late, rng.integers(0, D // 2, S), 0)
    last = np.where(rng.random(S) < gone, rng.integers(D // 2, D, S), D)
    day = np.arange(D)[:, None]
    present: NDArray[np.bool_] = (day >= first) & (day < last) & (rng.random((D, S)) >= absent)
    return present
