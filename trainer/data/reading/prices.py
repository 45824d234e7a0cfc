"""Which prices belong together: the adjusted ones, the plain ones scaled to the adjusted close, or the plain ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from trainer.data.checking.bars import is_split_ratio
from trainer.data.market import OHLCV, Wide
from trainer.data.reading.columns import BARS, Recognised

PRICES = BARS[:4]


@dataclass(frozen=True)
class Prices:
    """Bars that are all adjusted in the same way.

    read: canonical name (OHLCV, raw_close, turnover) to how it is read. taken: canonical name to the file's column.
    left_out: column to the reason. note: how they were chosen, a sentence, empty if there was no choice.
    """

    read: Mapping[str, Callable[[], Wide]]
    taken: Mapping[str, str]
    left_out: Mapping[str, str]
    note: str = ""


def choose_prices(found: Recognised, wide: Callable[[str], Wide]) -> Prices:
    """The set of prices of a file. wide: reads one of its columns."""
    roles = found.roles
    plain = {name: roles[name] for name in OHLCV if name in roles}
    adjusted = {name: roles[f"adj_{name}"] for name in OHLCV if f"adj_{name}" in roles}

    def reader(column: str) -> Callable[[], Wide]:
        return lambda: wide(column)

    turnover = {"turnover": reader(roles["turnover"])} if "turnover" in roles else {}
    if not adjusted:
        return Prices({name: reader(column) for name, column in plain.items()} | turnover, plain, {})
    if all(name in adjusted for name in PRICES) or "close" not in plain or "close" not in adjusted:
        return _as_given(plain, adjusted, reader, turnover)
    return _scaled(plain, adjusted, wide, turnover)


def _as_given(
    plain: Mapping[str, str],
    adjusted: Mapping[str, str],
    reader: Callable[[str], Callable[[], Wide]],
    turnover: Mapping[str, Callable[[], Wide]],
) -> Prices:
    """Adjusted bars as far as there are, plain ones where there are none: that they fit is checked bar by bar."""
    taken = {**plain, **adjusted}
    read = {name: reader(taken[name]) for name in OHLCV if name in taken} | dict(turnover)
    left_out = {column: f"{adjusted[name]} is taken as {name}" for name, column in plain.items() if name in adjusted}
    if "close" in plain and "close" in adjusted:
        read["raw_close"] = reader(plain["close"])
    if "turnover" not in read and {"close", "volume"} <= plain.keys():
        read["turnover"] = lambda: reader(plain["close"])() * reader(plain["volume"])()
    return Prices(read, taken, left_out, f"adjusted prices are taken: {', '.join(adjusted.values())}")


def _scaled(
    plain: Mapping[str, str],
    adjusted: Mapping[str, str],
    wide: Callable[[str], Wide],
    turnover: Mapping[str, Callable[[], Wide]],
) -> Prices:
    """Plain bars times the ratio of adjusted to plain close; a plain volume as if today's shares had been traded."""
    close = adjusted["close"]

    def factor() -> Wide:
        with np.errstate(divide="ignore", invalid="ignore"):
            return wide(close) / wide(plain["close"])

    def scaled(column: str) -> Callable[[], Wide]:
        return lambda: wide(column) * factor()

    read: dict[str, Callable[[], Wide]] = {name: scaled(plain[name]) for name in PRICES if name in plain}
    read["close"] = lambda: wide(close)
    read["raw_close"] = lambda: wide(plain["close"])
    if "volume" in adjusted:
        read["volume"] = lambda: wide(adjusted["volume"])
    elif "volume" in plain:
        read["volume"] = lambda: wide(plain["volume"]) / _share_factor(factor())
    if "volume" in plain:
        read["turnover"] = lambda: wide(plain["close"]) * wide(plain["volume"])
    left_out = {
        column: f"{close} is taken as close" for name, column in adjusted.items() if name not in ("close", "volume")
    }
    scaled_names = ", ".join(plain[name] for name in PRICES[:3] if name in plain)
    return Prices(read | dict(turnover), plain, left_out, f"{scaled_names} are scaled by {close} / {plain['close']}")


def _share_factor(factor: Wide) -> Wide:
    """The part of an adjustment factor that comes from splits: shares of a day per today's share, [D, S].

    A step of the factor from one day to the next that is a ratio of splits counts as one; dividends are the rest.
    """
    filled = _filled(factor)
    step: Wide = np.ones_like(filled)
    with np.errstate(divide="ignore", invalid="ignore"):
        step[:-1] = filled[:-1] / filled[1:]
    splits = np.where(is_split_ratio(step, 0.01), step, 1.0)
    return splits[::-1].cumprod(axis=0)[::-1]


def _filled(values: Wide) -> Wide:
    """Missing entries replaced by the last known one before them."""
    known = np.isfinite(values)
    position = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], 0), axis=0)
    return np.take_along_axis(values, position, axis=0)
