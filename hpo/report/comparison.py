"""Two configurations side by side: the same days, paired, with the interval of the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.domain.errors import UsageError
from hpo.report import words
from hpo.report.evidence import DailySeries
from hpo.report.statistics.intervals import Interval, mean_interval, paired_interval


@dataclass(frozen=True)
class Measured:
    """Somebody's daily series on a window of days. dates: [D], ascending; daily: metric -> [D]."""

    dates: NDArray[np.datetime64]
    daily: DailySeries


@dataclass(frozen=True)
class Contender:
    """One side of a comparison. validation: None for a committee, whose members were chosen on those days. holdout:
    None where it was never measured there."""

    name: str
    horizons: tuple[int, ...]
    validation: Measured | None
    holdout: Measured | None = None


@dataclass(frozen=True)
class Difference:
    """One metric on the days both sides have. difference: first minus second, paired; None below twenty days."""

    metric: str
    first: Interval | None
    second: Interval | None
    difference: Interval | None


def compare(first: Contender, second: Contender, metric: str) -> dict[str, list[Difference]]:
    """Window (`validation`, `holdout`) -> the metric, then RankIC by horizon, on the days both sides have.

    A window is left out where one side lacks it. A mean over horizons is compared only between equal horizons.

    Raises:
        UsageError: the two have no day or no metric in common.
    """
    windows = {}
    if first.validation is not None and second.validation is not None:
        windows["validation"] = (first.validation, second.validation)
    if first.holdout is not None and second.holdout is not None:
        windows["holdout"] = (first.holdout, second.holdout)
    if not windows:
        raise UsageError(
            f"{first.name} and {second.name} have no days that both were measured on: a committee is judged on the "
            "holdout alone, and there only beside trials that a report has scored; name such a trial."
        )
    horizons = [h for h in first.horizons if h in second.horizons]
    averaged = [metric] if first.horizons == second.horizons or metric.endswith("d") else []
    metrics = list(dict.fromkeys([*averaged, *(f"rank_ic_{h}d" for h in horizons)]))
    if not metrics:
        raise UsageError(
            f"{first.name} and {second.name} predict over different horizons ({list(first.horizons)} and "
            f"{list(second.horizons)} days); nothing they measured is the same."
        )
    return {window: _differences(*sides, metrics, horizons, first, second) for window, sides in windows.items()}


def comparison_lines(first: Contender, second: Contender, found: dict[str, list[Difference]]) -> list[str]:
    """The comparison for a person, at most 80 columns where names are short."""
    lines = [f"A  {first.name}", f"B  {second.name}"]
    for window, differences in found.items():
        days = next((d.difference.num_days for d in differences if d.difference), 0)
        lines += ["", f"{window}, {days} days both have" + _caveat(window)]
        lines.append(f"  {'':<15}{'A':>9}{'B':>9}{'A - B':>9}   95 % interval of A - B")
        lines += [_row(difference) for difference in differences]
        lines.append(f"  {_sentence(differences[0])}")
    if "holdout" not in found:
        lines += ["", "No holdout comparison: only complete campaigns' leaders are scored there."]
    return lines


def _differences(
    ours: Measured,
    theirs: Measured,
    metrics: Sequence[str],
    horizons: Sequence[int],
    first: Contender,
    second: Contender,
) -> list[Difference]:
    dates, left, right = np.intersect1d(ours.dates, theirs.dates, return_indices=True)
    if not len(dates):
        raise UsageError(f"{first.name} and {second.name} have no day in common; compare campaigns on the same data.")
    found = []
    for metric in metrics:
        one, two = ours.daily[metric][left], theirs.daily[metric][right]
        horizon = int(metric.rpartition("_")[2][:-1]) if metric[-2:-1].isdigit() else max(horizons, default=1)
        both = np.isfinite(one) & np.isfinite(two)
        found.append(
            Difference(
                metric,
                mean_interval(one[both], horizon),
                mean_interval(two[both], horizon),
                paired_interval(one, two, horizon),
            )
        )
    return found


def _caveat(window: str) -> str:
    return " (chosen on them, so both look too good)" if window == "validation" else ""


def _row(found: Difference) -> str:
    values = [found.first, found.second, found.difference]
    shown = "".join(f"{words.score(part.estimate if part else None):>9}" for part in values)
    return f"  {found.metric:<15}{shown}   {words.between(found.difference)}"


def _sentence(found: Difference) -> str:
    if found.difference is None:
        return "Too few days in common for an interval."
    if found.difference.above_zero:
        return f"A has the higher {found.metric}."
    if found.difference.below_zero:
        return f"B has the higher {found.metric}."
    return f"The two are not distinguishable by {found.metric}."
