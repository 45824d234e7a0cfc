"""Charts of named numbers: upright bars, lying bars, and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.charts.axes import HEIGHT, Axis, frame, told, without, y_channel, zero_rule
from hpo.charts.looks import Spec, colour, number, padded


def column_chart(description: str, x_label: str, y_label: str, names: Sequence[str], values: Sequence[float]) -> Spec:
    """Upright bars from zero, one per name."""
    rows = [{"name": name, "value": number(value)} for name, value in zip(names, values, strict=True)]
    axis = {"title": x_label, "labelAngle": 0}
    across: Spec = {"field": "name", "type": "ordinal", "sort": None, "title": x_label, "axis": axis}
    up = {**y_channel(Axis(y_label), values, include=0.0, pad=0.08), "field": "value"}
    bars = {
        "mark": {"type": "bar", "color": colour("accent")},
        "encoding": {
            "x": {**across, "scale": {"paddingInner": 0.3, "paddingOuter": 0.15}},
            "y": up,
            "tooltip": [without(across, "sort", "axis"), told("value", y_label)],
        },
    }
    return frame(description, y_label, HEIGHT, [bars, zero_rule(up)], {"values": rows})


def bar_chart(description: str, x_label: str, names: Sequence[str], values: Sequence[float]) -> Spec:
    """Lying bars with their names before them, for shares and other lists of named numbers."""
    rows = [{"name": name, "value": number(value)} for name, value in zip(names, values, strict=True)]
    down: Spec = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 150}}
    bars = {
        "mark": {"type": "bar", "color": colour("accent")},
        "encoding": {
            "y": {**down, "scale": {"paddingInner": 0.35, "paddingOuter": 0.2}},
            "x": {"field": "value", "type": "quantitative", "axis": {"title": x_label, "grid": True, "tickCount": 5}},
            "tooltip": [{**without(down, "sort", "axis"), "title": "name"}, told("value", x_label)],
        },
    }
    return frame(description, "", 22 * max(len(names), 1), [bars], {"values": rows})


@dataclass(frozen=True)
class Whisker:
    """One row of an interval chart."""

    name: str
    estimate: float
    low: float
    high: float
    look: str = "accent"


def interval_chart(description: str, x_label: str, whiskers: Sequence[Whisker]) -> Spec:
    """Estimates with their intervals under each other, each below its name, and a line at zero."""
    rows: list[Spec] = [
        {
            "name": w.name,
            "estimate": number(w.estimate),
            "low": number(w.low),
            "high": number(w.high),
            "look": w.look.split()[0],
        }
        for w in whiskers
    ]
    ends = [value for w in whiskers for value in (w.low, w.high)]
    low, high = padded(ends, 0.05, include=0.0)
    across: Spec = {
        "type": "quantitative",
        "scale": {"domain": [number(low), number(high)], "nice": False},
        "axis": {"title": x_label, "grid": True, "tickCount": 5},
    }
    down: Spec = {"field": "name", "type": "nominal", "sort": None, "axis": None}
    looks = list(dict.fromkeys(row["look"] for row in rows))
    coloured = {
        "field": "look",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": looks, "range": [colour(look) for look in looks]},
    }
    tooltip = [
        {"field": "name", "title": "of", "type": "nominal"},
        *[told(name, name) for name in ("estimate", "low", "high")],
    ]
    written = {"type": "text", "align": "left", "fontSize": 12, "yOffset": -8, "limit": {"expr": "width"}}
    named: Spec = {"y": down, "x": {"value": 0}, "text": {"field": "name"}}
    shared: Spec = {"y": down, "color": coloured, "tooltip": tooltip}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "color": colour("soft")},
            "data": {"values": [{}]},
            "encoding": {"x": {**across, "datum": 0}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 3, "yOffset": 7},
            "encoding": {**shared, "x": {**across, "field": "low"}, "x2": {"field": "high"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1, "yOffset": 7},
            "encoding": {**shared, "x": {**across, "field": "estimate"}},
        },
        {"mark": {**written, "stroke": colour("paper"), "strokeWidth": 3}, "encoding": named},
        {"mark": {**written, "color": colour("ink")}, "encoding": named},
    ]
    return frame(description, "", 38 * len(whiskers), layers, {"values": rows})
