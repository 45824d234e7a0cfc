"""What daily bars say about themselves: whether they contradict each other, and where a price jumps or was split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.data.market import OHLCV, Market, Wide
from trainer.data.rolling import moving_mean, shift
from trainer.errors import InputError

JUMP = 3.0
"""A close more than this many times the day before's, or less than one over it, is warned about."""

ROUNDING = 2e-3
"""Share of the price by which an open or close may leave [low, high]: prices are rounded."""

FEW, FEW_SHARE = 10, 5e-4
"""Bars that contradict themselves are mistakes up to this number, or share of all bars; more are a wrong set."""

SHARES = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100, 3 / 2, 4 / 3, 5 / 4, 5 / 2, 5 / 3, 6 / 5, 11 / 10)
"""New shares for an old one in the splits that occur; their inverses occur too."""

COMMON = tuple(share for share in SHARES if share >= 1.5)
"""Splits that a return of a day is not easily mistaken for."""

OPEN_NEAR, CLOSE_NEAR = 0.03, 0.04
"""Distance of the logarithms within which an open, and a close, has moved by a split's ratio."""

BUSY = 3.0
"""Times the usual traded value from which a day has news of its own, and a fall is no split."""

SHOWN = 3


def check_bars(market: Market) -> tuple[str, ...]:
    """Sentences on bars that contradict themselves, on splits and on jumps; nothing is mended.

    Raises InputError where more bars than a few contradict themselves: adjusted and plain prices are mixed.
    """
    return (*_contradictions(market), *_jumps(market))


def is_split_ratio(ratio: Wide, tolerance: float, shares: tuple[float, ...] = SHARES) -> NDArray[np.bool_]:
    """Whether each ratio of a price to the one before is that of a split or a reverse split, up to `tolerance`."""
    logs = np.log(np.array([*shares, *(1 / share for share in shares)]))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.full(ratio.shape, np.inf)
        for log in logs:
            distance = np.fmin(distance, np.abs(np.log(ratio) - log))
    near: NDArray[np.bool_] = distance < tolerance
    return near


def _contradictions(market: Market) -> tuple[str, ...]:
    if not market.has_bars:
        return ()
    opened, high, low, close = (market.read(name) for name in OHLCV[:4])
    ceiling, floor = high * (1 + ROUNDING), low * (1 - ROUNDING)
    outside = (close > ceiling) | (close < floor) | (opened > ceiling) | (opened < floor)
    inverted = high < low
    wrong = outside | inverted
    number, bars = int(wrong.sum()), int(np.isfinite(close).sum())
    if not number:
        return ()
    day, stock = (int(index) for index in np.argwhere(wrong)[0])
    said = (
        f"of {bars:,} bars {int(inverted.sum()):,} have their high below their low and "
        f"{int((outside & ~inverted).sum()):,} their open or close outside of the two, first {market.row(day, stock)}"
    )
    if number > max(FEW, FEW_SHARE * bars):
        raise InputError(
            f"{market.name}: {said}; such prices are adjusted in part, or columns are mixed up: give bars that are "
            "adjusted alike, or adj_close beside plain ones."
        )
    return (f"{said}: they are used as they are.",)


def _jumps(market: Market) -> tuple[str, ...]:
    if "close" not in market.columns:
        return ()
    close = market.read("close")
    ratio = close / shift(close, 1)
    jump = (ratio > JUMP) | (ratio < 1 / JUMP)
    split = _splits(market, ratio) if market.has_bars else np.zeros_like(jump)
    found = []
    for where, text in (
        (split, "as after a split or spin-off that the prices are not adjusted for; give adjusted ones"),
        (jump & ~split, f"with a jump of more than {JUMP:g}x in a day, used as given"),
    ):
        places = np.argwhere(where)
        if len(places):
            shown = ", ".join(f"{market.symbols[s]} {market.dates[d]} ({ratio[d, s]:.2f}x)" for d, s in places[:SHOWN])
            found.append(f"{len(places)} close{'s' if len(places) > 1 else ''} {text}: {shown}.")
    return tuple(found)


def _splits(market: Market, ratio: Wide) -> NDArray[np.bool_]:
    """Days on which open and close both move by a split's ratio while no more money than usual is traded: what makes
    a price fall by half makes people trade."""
    opened, volume, close = (market.read(name) for name in ("open", "volume", "close"))
    money = close * volume
    with np.errstate(divide="ignore", invalid="ignore"):
        busy = money / moving_mean(shift(money, 1), 20)
        overnight = opened / shift(close, 1)
    near = is_split_ratio(overnight, OPEN_NEAR, COMMON) & is_split_ratio(ratio, CLOSE_NEAR, COMMON)
    quiet: NDArray[np.bool_] = near & ~(busy > BUSY)
    return quiet
