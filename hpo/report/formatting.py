"""Numbers as people read them: a true minus sign, fixed digits, units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hpo.report.statistics.intervals import Interval

ABSENT = "–"


def score(value: float | None, digits: int = 4) -> str:
    """A RankIC or a difference of two."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def percent(share: float | None, digits: int = 0) -> str:
    """A share of 1 as a percentage."""
    return ABSENT if share is None or not math.isfinite(share) else f"{score(100 * share, digits)} %"


def probability(value: float) -> str:
    """A probability in percent that never claims certainty."""
    if value > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if value < 0.001 else percent(value, 1)


def between(interval: Interval | None, digits: int = 4) -> str:
    """`0.002 to 0.010`."""
    return ABSENT if interval is None else f"{score(interval.low, digits)} to {score(interval.high, digits)}"


def with_interval(interval: Interval | None, digits: int = 4) -> str:
    """`0.0061 (95 % interval 0.0020 to 0.0102)`."""
    if interval is None:
        return ABSENT
    return f"{score(interval.estimate, digits)} ({percent(interval.level)} interval {between(interval, digits)})"


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{timedelta(seconds=seconds) / timedelta(hours=1):.1f} h"


def count(number: int | None, noun: str = "") -> str:
    """`1,234 trials`, `1 trial`; the noun in its singular form."""
    if number is None:
        return ABSENT
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if noun else f"{number:,}"


def value(anything: Any) -> str:
    """A setting's value: floats short, lists and mappings joined, the rest as it prints."""
    if isinstance(anything, bool) or anything is None:
        return {True: "yes", False: "no", None: ABSENT}[anything]
    if isinstance(anything, float):
        return f"{anything:.4g}".replace("-", "−") if math.isfinite(anything) else ABSENT
    if isinstance(anything, Mapping):
        parts = ((name, part, isinstance(part, Mapping)) for name, part in anything.items())
        return ", ".join(
            f"{name} ({value(part)})" if nested else f"{name} {value(part)}" for name, part, nested in parts
        )
    if isinstance(anything, (list, tuple)):
        return ", ".join(value(item) for item in anything)
    return str(anything)


def rank(anything: Any) -> float | str:
    """What a table's rows are sorted by: a number, an interval's estimate, otherwise the empty text."""
    if isinstance(anything, Interval):
        return anything.estimate
    is_number = isinstance(anything, (int, float)) and not isinstance(anything, bool)
    return f"{anything:.9g}" if is_number and math.isfinite(anything) else ""


def settings(chosen: Mapping[str, Any]) -> str:
    """`optim.lr 0.0003 · model.hidden_size 64`."""
    return " · ".join(f"{name} {value(chosen[name])}" for name in chosen) or ABSENT
