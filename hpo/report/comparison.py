"""Two configurations side by side: the same days, paired, with the interval of the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.domain.errors import UsageError
from hpo.domain.metric import Metric, in_common
from hpo.report import formatting
from hpo.report.evidence import DailySeries
from hpo.report.statistics.intervals import Interval, mean_interval, paired_interval


@dataclass(frozen=True)
class Measured:
    """Somebody's daily series on a window of days. dates: [D], ascending; daily: metric -> [D]."""

    dates: NDArray[np.datetime64]
    daily: DailySeries


@dataclass(frozen=True)
class Side:
    """One side of a comparison. metrics: its campaign's, the objective first. validation: None for a committee, whose
    members were chosen on those days. holdout: None where it was never measured there."""

    name: str
    metrics: Sequence[Metric]
    validation: Measured | None
    holdout: Measured | None = None


@dataclass(frozen=True)
class Difference:
    """One metric on the days both sides have. difference: first minus second, paired; None below twenty days."""

    metric: Metric
    first: Interval | None
    second: Interval | None
    difference: Interval | None


def compare(first: Side, second: Side) -> dict[str, list[Difference]]:
    """Window (`validation`, `holdout`) -> the first one's objective, then the headline metrics, on the days both have.

    A window is left out where one side lacks it. A mean over horizons is compared only between equal horizons.

    Raises:
        UsageError: the two have no day or no metric with a series in common.
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
    objective = first.metrics[0]
    shared = [m for m in in_common(first.metrics, second.metrics) if m.headline or m == objective]
    if not shared:
        raise UsageError(
            f"{first.name} and {second.name} are measured differently ({_measures(first)}; {_measures(second)}); "
            "nothing they measured is the same."
        )
    return {window: _differences(*sides, shared, first, second) for window, sides in windows.items()}


def _measures(side: Side) -> str:
    horizons = [str(metric.horizon) for metric in side.metrics if metric.horizon is not None]
    names = f"{side.metrics[0].shown}"
    return f"{names} over {', '.join(dict.fromkeys(horizons))} days" if horizons else names


def comparison_lines(first: Side, second: Side, found: dict[str, list[Difference]]) -> list[str]:
    """The comparison for a person, at most 80 columns where names are short."""
    lines = [f"A  {first.name}", f"B  {second.name}"]
    width = max((len(d.metric.shown) for differences in found.values() for d in differences), default=0)
    for window, differences in found.items():
        days = next((d.difference.num_days for d in differences if d.difference), 0)
        lines += ["", f"{window}, {days} days both have" + _caveat(window)]
        lines.append(f"  {'':<{width}}{'A':>9}{'B':>9}{'A - B':>9}   95 % interval")
        lines += [_row(difference, width) for difference in differences]
        lines.append(f"  {_sentence(differences[0])}")
    if "holdout" not in found:
        lines += ["", "No holdout comparison: only complete campaigns' leaders are scored there."]
    return lines


def comparison_record(first: Side, second: Side, found: Mapping[str, Sequence[Difference]]) -> dict[str, object]:
    """The same as plain JSON: per window and metric the means of both, and their difference with its interval."""
    return {
        "first": first.name,
        "second": second.name,
        "windows": {
            window: {
                each.metric.name: {
                    "first": each.first and each.first.estimate,
                    "second": each.second and each.second.estimate,
                    "difference": each.difference and asdict(each.difference),
                }
                for each in differences
            }
            for window, differences in found.items()
        },
    }


def _differences(
    ours: Measured,
    theirs: Measured,
    metrics: Sequence[Metric],
    first: Side,
    second: Side,
) -> list[Difference]:
    dates, left, right = np.intersect1d(ours.dates, theirs.dates, return_indices=True)
    if not len(dates):
        raise UsageError(f"{first.name} and {second.name} have no day in common; compare campaigns on the same data.")
    found = []
    for metric in (m for m in metrics if m.name in ours.daily and m.name in theirs.daily):
        one, two = ours.daily[metric.name][left], theirs.daily[metric.name][right]
        horizon = metric.overlap
        both = np.isfinite(one) & np.isfinite(two)
        found.append(
            Difference(
                metric,
                mean_interval(one[both], horizon),
                mean_interval(two[both], horizon),
                paired_interval(one, two, horizon),
            )
        )
    if not found:
        raise UsageError(
            f"{first.name} and {second.name} have no series of {' or '.join(m.shown for m in metrics)} in common: a "
            "comparison needs the metric unit by unit (report it with series=...)."
        )
    return found


def _caveat(window: str) -> str:
    return " (chosen on them, so both look too good)" if window == "validation" else ""


def _row(found: Difference, width: int) -> str:
    values = [found.first, found.second, found.difference]
    shown = "".join(f"{formatting.score(part.estimate if part else None):>9}" for part in values)
    return f"  {found.metric.shown:<{width}}{shown}   {formatting.between(found.difference)}"


def _sentence(found: Difference) -> str:
    if found.difference is None:
        return "Too few days in common for an interval."
    if found.difference.above_zero:
        return f"A has the higher {found.metric.shown}."
    if found.difference.below_zero:
        return f"B has the higher {found.metric.shown}."
    return f"The two are not distinguishable by {found.metric.shown}."
