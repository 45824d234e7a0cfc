"""From values to positions: linear, logarithmic, calendar and category axes with round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["linear", "log", "date"]


@dataclass(frozen=True)
class Scale:
    """Maps low..high onto first..last (pixels; last < first for an upward axis). Dates are days since 1970."""

    low: float
    high: float
    first: float
    last: float
    kind: Kind = "linear"

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.kind == "log":
            low, high, at = math.log(low), math.log(high), math.log(value)
        share = (at - low) / (high - low) if high > low else 0.5
        return self.first + share * (self.last - self.first)

    def ticks(self, wanted: int = 5) -> list[tuple[float, str]]:
        """Round values inside the range with their labels."""
        if self.high <= self.low:
            return [(self.low, short(self.low))]
        if self.kind == "log":
            return _log_ticks(self.low, self.high, wanted)
        if self.kind == "date":
            return _date_ticks(self.low, self.high, wanted)
        step = round_step((self.high - self.low) / wanted)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        count = math.floor((self.high + step * 1e-6) / step) - math.ceil((self.low - step * 1e-6) / step) + 1
        values = [(math.ceil((self.low - step * 1e-6) / step) + n) * step for n in range(count)]
        return [(value, f"{value + 0.0:,.{digits}f}".replace("-", "−")) for value in (v if v else 0.0 for v in values)]


def padded(values: Sequence[float], pad: float = 0.05, include: float | None = None) -> tuple[float, float]:
    """The range of the finite values with a margin of `pad` of its width; a single value gets a range around it."""
    found = [value for value in values if math.isfinite(value)]
    if include is not None:
        found.append(include)
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    margin = (high - low) * pad if high > low else abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def round_step(rough: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten at or above rough."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def short(value: float) -> str:
    """A tick or end label in few characters."""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}".replace("-", "−")


def _log_ticks(low: float, high: float, wanted: int) -> list[tuple[float, str]]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        values = [factor * 10.0**decade for decade in decades for factor in factors]
        inside = [value for value in values if low * 0.999 <= value <= high * 1.001]
        if len(inside) >= min(wanted, 3):
            break
    return [(value, short(value)) for value in inside[:: max(1, math.ceil(len(inside) / (wanted + 2)))]]


def _date_ticks(low: float, high: float, wanted: int) -> list[tuple[float, str]]:
    first, last = (np.datetime64(int(day), "D").astype("datetime64[M]") for day in (math.floor(low), math.ceil(high)))
    num_months = int((last - first).astype(int)) + 1
    step = next((s for s in (1, 2, 3, 6, 12, 24, 60) if num_months / s <= wanted), 120)
    months = [month for month in first + np.arange(num_months) if int(month.astype(int)) % step == 0]
    days = [(float(month.astype("datetime64[D]").astype(int)), str(month)) for month in months]
    return [(day, label[:4] if step >= 12 else label) for day, label in days if low <= day <= high]
