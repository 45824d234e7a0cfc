"""Charts of series over epochs and days, of scatters and of many curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpo.charts.axes import HEIGHT, Axis, Said, frame, hover, place, told, without, x_channel, y_channel, zero_rule
from hpo.charts.looks import CROSS, Spec, colour, key, number, stroke

SMALL_HEIGHT = 130
MOST_POINTS = 500
"""Points of one line, evenly chosen with both ends."""

MANY = 250
"""Dots above which they are drawn smaller."""


@dataclass(frozen=True)
class Series:
    """One line. look: see `looks.stroke`. points: (x, y), NaN where the line is broken."""

    name: str
    look: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One line of many that look alike. says: what hovering tells of it. link: where a click leads."""

    points: Sequence[tuple[float, float]]
    says: Mapping[str, Said] = field(default_factory=dict)
    link: str = ""


@dataclass(frozen=True)
class Curves:
    """Lines that look alike. name: in the key; empty: none. ends: mark each line's last point with a cross."""

    name: str
    look: str
    curves: Sequence[Curve]
    ends: bool = False


@dataclass(frozen=True)
class Dot:
    """One point; see Curve."""

    x: float | str
    y: float
    says: Mapping[str, Said] = field(default_factory=dict)
    link: str = ""


@dataclass(frozen=True)
class Dots:
    """Points that look alike, circles or crosses. big: they stand out."""

    name: str
    look: str
    dots: Sequence[Dot]
    crossed: bool = False
    big: bool = False


def line_chart(description: str, x: Axis, y: Axis, series: Sequence[Series], zero: bool = False) -> Spec:
    """Lines over a common x; hovering reads all of them at the nearest x. zero: the y axis includes 0."""
    places = sorted({point[0] for line in series for point in line.points})
    kept = [places[n] for n in _positions(len(places))]
    values = [dict(line.points) for line in series]
    rows = [
        {"x": place(x, at), **{f"y{n}": number(line.get(at, math.nan)) for n, line in enumerate(values)}} for at in kept
    ]
    across = x_channel(x, kept, pad=0.01)
    up = y_channel(y, [point[1] for line in series for point in line.points], include=0.0 if zero else None)
    colours = key([line.name for line in series], [line.look for line in series], ["stroke"] * len(series))
    layers: list[Spec] = [zero_rule(up)] if zero else []
    layers += [
        {
            "mark": {"type": "line", **without(stroke(line.look), "stroke")},
            "encoding": {"x": across, "y": {**up, "field": f"y{n}"}, "color": {"datum": line.name, **colours}},
        }
        for n, line in enumerate(series)
    ]
    layers.append(_reading_line(x, across, [told(f"y{n}", line.name) for n, line in enumerate(series)]))
    return frame(description, y.label, HEIGHT, layers, {"values": rows})


def curve_chart(description: str, x: Axis, y: Axis, groups: Sequence[Curves]) -> Spec:
    """Many lines over a common x; hovering tells whose line it is."""
    points = [point for group in groups for curve in group.curves for point in curve.points]
    here = {
        "x": x_channel(x, [point[0] for point in points], pad=0.01),
        "y": {**y_channel(y, [point[1] for point in points]), "field": "y"},
    }
    shapes = [CROSS if group.ends else "stroke" for group in groups]
    colours = key([group.name for group in groups], [group.look for group in groups], shapes)
    layers = [layer for group in groups for layer in _curves(group, x, here, colours)]
    return frame(description, y.label, HEIGHT, layers)


def scatter_chart(
    description: str,
    x: Axis,
    y: Axis,
    groups: Sequence[Dots],
    lines: Sequence[Series] = (),
    small: bool = False,
    categories: Sequence[str] = (),
) -> Spec:
    """Points, and steps below them. small: for a grid of many. categories: x holds one of these, in this order."""
    groups = [group for group in groups if group.dots]
    dots = [dot for group in groups for dot in group.dots]
    ups = [dot.y for dot in dots] + [point[1] for line in lines for point in line.points]
    across: Spec = (
        _ordinal(categories, x.label)
        if categories
        else x_channel(x, [float(dot.x) for dot in dots], ticks=4 if small else 6)
    )
    here = {"x": across, "y": {**y_channel(y, ups, ticks=4 if small else 5), "field": "y"}}
    shapes = [CROSS if group.crossed else "circle" for group in groups] + ["stroke"] * len(lines)
    drawn: list[Dots | Series] = [*groups, *lines]
    colours = key([one.name for one in drawn], [one.look for one in drawn], shapes)
    layers = [_steps(line, x, here, colours) for line in lines] + [_dots(group, x, here, colours) for group in groups]
    return frame(description, y.label, SMALL_HEIGHT if small else HEIGHT, layers)


def _curves(group: Curves, x: Axis, here: Spec, colours: Spec) -> list[Spec]:
    """The lines, their ends, and over them what the pointer meets: broad lines that are not seen."""
    says, tooltip = hover([curve.says for curve in group.curves])
    rows: list[Spec] = []
    for n, (curve, said) in enumerate(zip(group.curves, says, strict=True)):
        kept = [curve.points[i] for i in _positions(len(curve.points))]
        at, values = [place(x, point[0]) for point in kept], [number(point[1]) for point in kept]
        rows.append({"n": n, "link": curve.link, **said, "x": at, "y": values})
    data: Spec = {"data": {"values": rows}, "transform": [{"flatten": ["x", "y"]}]}
    line: Spec = {**here, "detail": {"field": "n"}}
    look = stroke(group.look)
    seen = {"type": "line", **without(look, "stroke")}
    layers: list[Spec] = [{**data, "mark": seen, "encoding": {**line, "color": {"datum": group.name, **colours}}}]
    if group.ends:
        last = {"values": [{"x": row["x"][-1], "y": row["y"][-1]} for row in rows if row["x"]]}
        cross = {"type": "point", "shape": CROSS, "size": 40, "strokeWidth": 1.4, "opacity": 0.8}
        layers.append({"data": last, "mark": {**cross, "color": look["stroke"]}, "encoding": here})
    if tooltip:
        broad = {"type": "line", "strokeWidth": 9, "opacity": 0, "cursor": "pointer", "stroke": look["stroke"]}
        met = {**line, "tooltip": tooltip, "href": {"field": "link"}}
        layers.append({**data, "mark": broad, "encoding": met})
    return layers


def _dots(group: Dots, x: Axis, here: Spec, colours: Spec) -> Spec:
    shown = [dot for dot in group.dots if math.isfinite(dot.y)]
    says, tooltip = hover([dot.says for dot in shown])
    rows = [
        {"x": dot.x if isinstance(dot.x, str) else place(x, dot.x), "y": number(dot.y), "link": dot.link, **said}
        for dot, said in zip(shown, says, strict=True)
    ]
    size = 90 if group.big else 26 if len(rows) <= MANY else 10
    mark: Spec = {"type": "point", "shape": "circle", "filled": True, "size": size, "opacity": 0.85}
    if group.crossed:
        mark |= {"shape": CROSS, "filled": False, "strokeWidth": 1.4}
    encoding: Spec = {**here, "href": {"field": "link"}, "tooltip": tooltip}
    if group.name:
        encoding["color"] = {"datum": group.name, **colours}
    else:
        mark["color"] = colour(group.look.split()[0])
    return {"data": {"values": rows}, "mark": {**mark, "cursor": "pointer"}, "encoding": encoding}


def _steps(line: Series, x: Axis, here: Spec, colours: Spec) -> Spec:
    rows = [{"x": place(x, a), "y": number(b)} for a, b in line.points]
    mark = {"type": "line", **without(stroke(line.look), "stroke"), "interpolate": "step-after"}
    return {"data": {"values": rows}, "mark": mark, "encoding": {**here, "color": {"datum": line.name, **colours}}}


def _ordinal(categories: Sequence[str], label: str) -> Spec:
    scale = {"domain": list(categories), "type": "point", "padding": 0.5}
    axis = {"title": label or None, "labelAngle": 0, "labelLimit": 70}
    return {"field": "x", "type": "ordinal", "scale": scale, "axis": axis}


def _reading_line(x: Axis, across: Spec, values: Sequence[Spec]) -> Spec:
    """The upright line that follows the pointer from x to x, with what all series are there."""
    at: Spec = {**without(across, "axis", "scale"), "title": x.label or "date"}
    if x.kind == "date":
        at |= {"timeUnit": "utcyearmonthdate", "format": "%Y-%m-%d"}
    nearest = {"type": "point", "fields": ["x"], "nearest": True, "on": "pointerover", "clear": "pointerout"}
    return {
        "params": [{"name": "pointed", "select": nearest}],
        "mark": {"type": "rule", "color": colour("soft")},
        "encoding": {
            "x": across,
            "opacity": {"condition": {"param": "pointed", "empty": False, "value": 0.7}, "value": 0},
            "tooltip": [at, *values],
        },
    }


def _positions(count: int) -> list[int]:
    """At most about MOST_POINTS positions of 0..count-1, evenly spaced, first and last included."""
    if count <= MOST_POINTS:
        return list(range(count))
    return sorted({round(n * (count - 1) / (MOST_POINTS - 1)) for n in range(MOST_POINTS)})
