"""Charts of a whole campaign: parallel coordinates over its settings, and the time line of its workers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from hpo.charts.axes import Said, hover
from hpo.charts.looks import Spec, colour, key, number, short, stroke

MOST_ROWS = 24
"""Workers with a row of their own on the time line."""

FEW = 6
"""As many distinct whole numbers are written out one by one."""


@dataclass(frozen=True)
class Setting:
    """One coordinate: a numeric range, or a list of categories, which a few whole numbers are too."""

    name: str
    values: tuple[float | str, ...]
    is_log: bool = False

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """In order of appearance, whole numbers in their own; empty for a numeric setting."""
        numbers = {value for value in self.values if isinstance(value, (int, float))}
        if len(numbers) < len(set(self.values)):
            return tuple(dict.fromkeys(str(value) for value in self.values))
        is_few = len(numbers) <= FEW and all(float(number).is_integer() for number in numbers)
        return tuple(short(number) for number in sorted(numbers)) if is_few else ()

    def category(self, value: float | str) -> str:
        """The category a value belongs to."""
        return value if isinstance(value, str) else short(value)

    def share(self, value: float | str) -> float:
        """Where a value lies between the coordinate's ends, 0 to 1; the middle where there is one value only."""
        if self.categories:
            at, low, high = float(self.categories.index(self.category(value))), 0.0, len(self.categories) - 1.0
        else:
            numbers = [float(value) for value in self.values]
            at, low, high = float(value), min(numbers), max(numbers)
            if self.is_log:
                at, low, high = math.log(at), math.log(low), math.log(high)
        return (at - low) / (high - low) if high > low else 0.5

    @property
    def labels(self) -> list[tuple[float, str]]:
        """(place, text) of what is written at the coordinate: every category, or both ends."""
        if self.categories:
            return [(self.share(name), name) for name in self.categories]
        ends = (min(map(float, self.values)), max(map(float, self.values)))
        return [(self.share(value), short(value)) for value in dict.fromkeys(ends)]


@dataclass(frozen=True)
class Trial:
    """A line across the coordinates. values: by name of the setting; the line passes over those it lacks."""

    values: Mapping[str, float | str]
    says: Mapping[str, Said] = field(default_factory=dict)
    link: str = ""


def parallel_chart(
    description: str, settings: Sequence[Setting], groups: Sequence[tuple[str, str, Sequence[Trial]]]
) -> Spec:
    """One level line per setting, under each other so that names never meet, and one line down through them per trial.

    groups: (name, look, trials), drawn in this order.
    """
    groups = [group for group in groups if group[2]]
    colours = key([name for name, _, _ in groups], [look for _, look, _ in groups], ["stroke"] * len(groups))
    down: Spec = {
        "type": "ordinal",
        "scale": {"domain": [setting.name for setting in settings], "type": "point", "padding": 0.6},
        "axis": {
            "title": None,
            "labelLimit": {"expr": "containerSize()[0] < 600 ? 105 : 220"},
            "labelExpr": "containerSize()[0] < 600 ? replace(datum.label, regexp('^.*[.]'), '') : datum.label",
            "grid": False,
        },
    }
    across: Spec = {"type": "quantitative", "scale": {"domain": [0, 1], "nice": False}, "axis": None}
    names = [{"row": s.name, "from": 0, "to": 1} for s in settings]
    layers: list[Spec] = [
        {
            "data": {"values": names},
            "mark": {"type": "rule", "color": colour("muted")},
            "encoding": {"y": {**down, "field": "row"}, "x": {**across, "field": "from"}, "x2": {"field": "to"}},
        }
    ]
    for name, look, trials in groups:
        says, tooltip = hover([trial.says for trial in trials])
        rows = [
            {"n": n, **said, **_line(settings, trial)} for n, (trial, said) in enumerate(zip(trials, says, strict=True))
        ]
        data = {"data": {"values": rows}}
        transform = {"transform": [{"flatten": ["row", "at"]}]}
        here: Spec = {
            "y": {**down, "field": "row"},
            "x": {**across, "field": "at"},
            "detail": {"field": "n"},
        }
        mark = {name: value for name, value in stroke(look).items() if name != "stroke"}
        seen = {**here, "color": {"datum": name, **colours}}
        layers.append({**data, **transform, "mark": {"type": "line", **mark}, "encoding": seen})
        if tooltip:
            broad = {"type": "line", "strokeWidth": 8, "opacity": 0, "cursor": "pointer", "stroke": colour("ink")}
            met = {**here, "tooltip": tooltip, "href": {"field": "link"}}
            layers.append({**data, **transform, "mark": broad, "encoding": met})
    layers += _written(settings, down, across)
    return {"description": description, "width": "container", "height": 34 * len(settings), "layer": layers}


def _line(settings: Sequence[Setting], trial: Trial) -> Spec:
    met = [setting for setting in settings if setting.name in trial.values]
    return {
        "link": trial.link,
        "row": [setting.name for setting in met],
        "at": [number(setting.share(trial.values[setting.name])) for setting in met],
    }


def _written(settings: Sequence[Setting], down: Spec, across: Spec) -> list[Spec]:
    """Values at the coordinates, each cut to the room it has, on a halo that keeps the lines off them."""
    rows = [
        {
            "row": setting.name,
            "at": number(place),
            "text": text,
            "room": number(1 / len(setting.labels)),
            "side": "left" if place < 0.01 else "right" if place > 0.99 else "center",
        }
        for setting in settings
        for place, text in setting.labels
    ]
    mark: Spec = {
        "type": "text",
        "fontSize": 10.5,
        "yOffset": -8,
        "align": {"expr": "datum.side"},
        "limit": {"expr": "width * datum.room - 6"},
    }
    encoding: Spec = {"y": {**down, "field": "row"}, "x": {**across, "field": "at"}, "text": {"field": "text"}}
    halo = {**mark, "stroke": colour("paper"), "strokeWidth": 3, "strokeJoin": "round"}
    told = {**encoding, "tooltip": {"field": "text"}}
    return [
        {"data": {"values": rows}, "mark": halo, "encoding": encoding},
        {"data": {"values": rows}, "mark": {**mark, "color": colour("soft")}, "encoding": told},
    ]


@dataclass(frozen=True)
class Bar:
    """One trial on the time line: begin and end in seconds since the first. name: which of the keys it belongs to."""

    row: str
    begin: float
    end: float
    name: str
    says: Mapping[str, Said] = field(default_factory=dict)
    link: str = ""


def timeline_chart(description: str, bars: Sequence[Bar], keys: Sequence[tuple[str, str]]) -> Spec:
    """A row per worker, a bar per trial. keys: (look, name). Rows beyond the first MOST_ROWS are left out."""
    rows = sorted({bar.row for bar in bars})[:MOST_ROWS]
    last = max((bar.end for bar in bars), default=1.0)
    unit, name = (1.0, "seconds") if last < 180 else (60.0, "minutes") if last < 3 * 3600 else (3600.0, "hours")
    colours = key([label for _, label in keys], [look for look, _ in keys], ["square"] * len(keys))
    drawn = [bar for bar in bars if bar.row in rows]
    says, tooltip = hover([bar.says for bar in drawn])
    values = [
        {
            "row": bar.row,
            "begin": number(bar.begin / unit),
            "end": number(bar.end / unit),
            "name": bar.name,
            "link": bar.link,
            **said,
        }
        for bar, said in zip(drawn, says, strict=True)
    ]
    layer: Spec = {
        "mark": {"type": "bar", "stroke": colour("paper"), "strokeWidth": 0.6, "cursor": "pointer"},
        "encoding": {
            "y": {
                "field": "row",
                "type": "nominal",
                "scale": {"domain": rows, "paddingInner": 0.25},
                "axis": {"title": None, "labelLimit": {"expr": "containerSize()[0] < 600 ? 90 : 180"}},
            },
            "x": {
                "field": "begin",
                "type": "quantitative",
                "scale": {"domain": [0, number(last / unit)], "nice": False},
                "axis": {"title": f"{name} since the first trial began", "grid": True, "tickCount": 8},
            },
            "x2": {"field": "end"},
            "color": {"field": "name", "type": "nominal", **colours},
            "href": {"field": "link"},
            "tooltip": tooltip,
        },
    }
    return {
        "description": description,
        "width": "container",
        "height": 22 * len(rows),
        "data": {"values": values},
        "layer": [layer],
    }
