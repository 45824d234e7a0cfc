"""Axes and frames, and what hovering tells, the same for every kind of chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpo.charts.looks import Spec, colour, number, padded

HEIGHT = 190
"""Of the drawing area, in pixels."""

DAY = 86_400_000
"""Milliseconds."""

PRECISE = ".4~g"
"""How hovering writes a number: four significant digits."""


Said = str | float | None
"""What hovering may tell."""


@dataclass(frozen=True)
class Axis:
    """label: with its unit. Dates are days since 1970. low, high: limits, None: from the data. whole: of whole
    numbers."""

    label: str
    kind: Literal["linear", "log", "date"] = "linear"
    low: float | None = None
    high: float | None = None
    whole: bool = False


def frame(description: str, y_label: str, height: int, layers: Sequence[Spec], data: Spec | None = None) -> Spec:
    """A chart as wide as the place it is given. height: of the drawing area. y_label: written above it."""
    spec: Spec = {"description": description, "width": "container", "height": height, "layer": list(layers)}
    if y_label:
        spec["title"] = y_label
    if data is not None:
        spec["data"] = data
    return spec


def zero_rule(up: Spec) -> Spec:
    """A line at zero, once."""
    return {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "color": colour("soft")},
        "encoding": {"y": {**without(up, "field"), "datum": 0}},
    }


def x_channel(axis: Axis, values: Sequence[float], pad: float = 0.05, ticks: int = 6) -> Spec:
    """The x of the field `x`, over the range of the values."""
    shown: Spec = {"title": axis.label or None, "tickCount": ticks}
    if axis.whole:
        shown |= {"format": "d", "tickMinStep": 1}
        if values and max(values) - min(values) <= ticks:
            shown["values"] = list(range(math.ceil(min(values)), math.floor(max(values)) + 1))
    if axis.kind == "date":
        days = max(values, default=0.0) - min(values, default=0.0)
        step = next((step for step in (1, 2, 3, 6, 12, 24) if days / 30.4 / step <= ticks), 60)
        by_month = {"format": "%Y-%m", "tickCount": {"interval": "month", "step": step}}
        shown |= by_month if days > 60 else {"format": "%Y-%m-%d", "tickCount": 3}
        return {"field": "x", "type": "temporal", "scale": {"type": "utc"}, "axis": shown}
    return {"field": "x", "type": "quantitative", "scale": _scale(axis, values, pad), "axis": shown}


def y_channel(
    axis: Axis, values: Sequence[float], include: float | None = None, pad: float = 0.05, ticks: int = 5
) -> Spec:
    """The y of whichever field, over the range of the values; its label is the frame's. include: is in the range."""
    scale = _scale(axis, values, pad, include)
    return {"type": "quantitative", "scale": scale, "axis": {"title": None, "tickCount": ticks, "grid": True}}


def _scale(axis: Axis, values: Sequence[float], pad: float, include: float | None = None) -> Spec:
    if axis.kind == "log":
        low, high = map(math.exp, padded([math.log(v) for v in values if v > 0], pad))
    else:
        low, high = padded(values, pad, include)
    low, high = (axis.low if axis.low is not None else low), (axis.high if axis.high is not None else high)
    return {"type": axis.kind, "domain": [number(low), number(high)], "nice": False, "zero": False}


def place(axis: Axis, at: float) -> float | None:
    """A position on the axis as charts hold it."""
    return int(at * DAY) if axis.kind == "date" else number(at)


def hover(said: Sequence[Mapping[str, Said]]) -> tuple[list[dict[str, Said]], list[Spec]]:
    """(fields of each row; the tooltip that shows them). Names are no fields: a dot in one would be a path."""
    names = list(dict.fromkeys(name for one in said for name in one))
    tooltip: list[Spec] = [{"field": f"says{n}", "title": name, "type": "nominal"} for n, name in enumerate(names)]
    return [{f"says{n}": _short(one.get(name)) for n, name in enumerate(names)} for one in said], tooltip


def told(name: str, title: str) -> Spec:
    """A number in a tooltip."""
    return {"field": name, "title": title, "type": "quantitative", "format": PRECISE}


def without(spec: Spec, *names: str) -> Spec:
    """The specification less some of its parts."""
    return {name: value for name, value in spec.items() if name not in names}


def _short(value: Said) -> Said:
    return float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value
