"""Charts of series over epochs and days, of scatters, bars and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.charts.canvas import Canvas, thinned
from hpo.charts.scales import Kind, Scale, padded

WIDTH, HEIGHT = 380.0, 245.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 26.0, 40.0
MOST_POINTS = 600


@dataclass(frozen=True)
class Curves:
    """Lines that look alike.

    css: `accent`, `second`, `third`, `fourth`, `muted`, `ink`, with `thick`, `dashed`, `faint`. name: at the key below
    the chart; empty: none. ends: mark each line's last point with a cross.
    """

    name: str
    css: str
    lines: Sequence[Sequence[tuple[float, float]]]
    ends: bool = False


@dataclass(frozen=True)
class Axis:
    """label: with its unit. low, high: limits, None: from the data."""

    label: str
    kind: Kind = "linear"
    low: float | None = None
    high: float | None = None


def line_chart(title: str, description: str, x: Axis, y: Axis, curves: Sequence[Curves], zero: bool = False) -> str:
    """Lines over a common x. zero: the y axis includes 0."""
    keys = _key_rows(curves, WIDTH)
    canvas = Canvas(WIDTH, HEIGHT + 16 * len(keys), title, description)
    points = [point for group in curves for line in group.lines for point in line]
    across = _scale(x, [p[0] for p in points], LEFT, WIDTH - RIGHT, pad=0.01)
    up = _scale(y, [p[1] for p in points], HEIGHT - BOTTOM, TOP, include=0.0 if zero else None)
    canvas.y_axis(up, LEFT, WIDTH - RIGHT, y.label)
    canvas.x_axis(across, HEIGHT - BOTTOM, x.label)
    for group in curves:
        drawn = [
            [(across(a), up(b)) for a, b in (line[n] for n in thinned(len(line), MOST_POINTS))] for line in group.lines
        ]
        canvas.lines(drawn, f"line {group.css}")
        if group.ends:
            canvas.crosses([line[-1] for line in drawn if line], f"line {group.css}")
    _keys(canvas, keys)
    return canvas.svg()


@dataclass(frozen=True)
class Dots:
    """Points that look alike. shape: `dots` or `crosses`."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]
    shape: str = "dots"


def scatter_chart(
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    dots: Sequence[Dots],
    curves: Sequence[Curves] = (),
    small: bool = False,
    categories: Sequence[str] = (),
) -> str:
    """Points, and lines over them. small: for a grid of many. categories: x holds positions in this list."""
    width, height = (300.0, 200.0) if small else (WIDTH, HEIGHT)
    keys = [] if small else _key_rows([*dots, *curves], width)
    canvas = Canvas(width, height + 16 * len(keys), title, description)
    points = [p for group in dots for p in group.points] + [p for group in curves for line in group.lines for p in line]
    if categories:
        x = Axis(x.label, "linear", -0.5, len(categories) - 0.5)
    across = _scale(x, [p[0] for p in points], LEFT, width - RIGHT)
    up = _scale(y, [p[1] for p in points], height - BOTTOM, TOP)
    canvas.y_axis(up, LEFT, width - RIGHT, y.label, wanted=4 if small else 5)
    if categories:
        canvas.text((LEFT + width - RIGHT) / 2, height - BOTTOM + 31, x.label, "label", "middle")
        for position, name in enumerate(categories):
            canvas.text(across(position), height - BOTTOM + 15, name[:12], "tick", "middle")
    else:
        canvas.x_axis(across, height - BOTTOM, x.label, wanted=4 if small else 5)
    for group in curves:
        canvas.lines([[(across(a), up(b)) for a, b in line] for line in group.lines], f"line {group.css}")
    for marks in dots:
        placed = [(across(a), up(b)) for a, b in marks.points if math.isfinite(a) and math.isfinite(b)]
        if marks.shape == "crosses":
            canvas.crosses(placed, f"line {marks.css}")
        else:
            canvas.dots(placed, marks.css)
    _keys(canvas, keys)
    return canvas.svg()


def column_chart(
    title: str, description: str, x_label: str, y_label: str, names: Sequence[str], values: Sequence[float]
) -> str:
    """Upright bars from zero, one per name."""
    canvas = Canvas(WIDTH, HEIGHT, title, description)
    up = Scale(*padded(values, 0.08, include=0.0), HEIGHT - BOTTOM, TOP)
    slot = (WIDTH - LEFT - RIGHT) / max(len(names), 1)
    canvas.y_axis(up, LEFT, WIDTH - RIGHT, y_label)
    boxes = [
        (LEFT + slot * (n + 0.15), min(up(v), up(0)), slot * 0.7, abs(up(v) - up(0)))
        for n, v in enumerate(values)
        if math.isfinite(v)
    ]
    canvas.boxes(boxes, "fill accent")
    widest = 8 + 7 * max((len(name) for name in names), default=0)
    every = max(1, math.ceil(widest / slot))
    for position in range(0, len(names), every):
        canvas.text(LEFT + slot * (position + 0.5), HEIGHT - BOTTOM + 15, names[position], "tick", "middle")
    canvas.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 31, x_label, "label", "middle")
    return canvas.svg()


def bar_chart(title: str, description: str, x_label: str, names: Sequence[str], values: Sequence[float]) -> str:
    """Lying bars with their names before them, for shares and other lists of named numbers."""
    row, left = 22.0, 156.0
    height = TOP + row * len(names) + BOTTOM
    canvas = Canvas(WIDTH, height, title, description)
    across = Scale(*padded(values, 0.0, include=0.0), left, WIDTH - RIGHT - 30)
    canvas.x_axis(across, height - BOTTOM, x_label, top=TOP, wanted=4)
    for position, (name, value) in enumerate(zip(names, values, strict=True)):
        y = TOP + row * position
        canvas.text(left - 8, y + 14, _cut(name, 24), "tick", "end")
        canvas.boxes([(min(across(0), across(value)), y + 4, abs(across(value) - across(0)), row - 8)], "fill accent")
    return canvas.svg()


@dataclass(frozen=True)
class Whisker:
    """One row of an interval chart."""

    name: str
    estimate: float
    low: float
    high: float
    css: str = "accent"


def interval_chart(title: str, description: str, x_label: str, whiskers: Sequence[Whisker]) -> str:
    """Estimates with their intervals under each other, and a line at zero."""
    row = 36.0
    height = 8 + row * len(whiskers) + BOTTOM
    canvas = Canvas(WIDTH, height, title, description)
    ends = [value for w in whiskers for value in (w.low, w.high)]
    across = Scale(*padded(ends, 0.05, include=0.0), 14, WIDTH - 14)
    canvas.x_axis(across, height - BOTTOM, x_label, top=8)
    canvas.line([(across(0), 8), (across(0), height - BOTTOM)], "zero")
    for position, whisker in enumerate(whiskers):
        y = 8 + row * position
        canvas.text(14, y + 12, whisker.name, "key halo")
        canvas.line([(across(whisker.low), y + 23), (across(whisker.high), y + 23)], f"line thick {whisker.css}")
        canvas.dots([(across(whisker.estimate), y + 23)], f"big {whisker.css}")
    return canvas.svg()


def _scale(
    axis: Axis, values: Sequence[float], first: float, last: float, pad: float = 0.05, include: float | None = None
) -> Scale:
    if axis.kind == "log":
        low, high = padded([math.log(v) for v in values if v > 0], pad)
        low, high = math.exp(low), math.exp(high)
    else:
        low, high = padded(values, pad, include)
    return Scale(
        axis.low if axis.low is not None else low, axis.high if axis.high is not None else high, first, last, axis.kind
    )


def _key_rows(groups: Sequence[Curves | Dots], width: float) -> list[list[tuple[float, str, str]]]:
    """Keys that fit side by side: rows of (x, css, name)."""
    rows: list[list[tuple[float, str, str]]] = []
    x = LEFT
    for group in (group for group in groups if group.name):
        space = 30 + 6.7 * len(group.name)
        if not rows or x + space > width:
            rows.append([])
            x = LEFT
        cross = isinstance(group, Dots) and group.shape == "crosses"
        rows[-1].append(
            (x, f"{'cross' if cross else 'dot' if isinstance(group, Dots) else 'line'} {group.css}", group.name)
        )
        x += space
    return rows


def _keys(canvas: Canvas, rows: Sequence[Sequence[tuple[float, str, str]]]) -> None:
    """The key below the chart."""
    for number, row in enumerate(rows):
        y = canvas.height - 16 * (len(rows) - number) + 8
        for x, css, name in row:
            shape, look = css.split(" ", 1)
            if shape == "line":
                canvas.line([(x, y), (x + 16, y)], f"line {look}")
            elif shape == "cross":
                canvas.crosses([(x + 8, y)], f"line {look}")
            else:
                canvas.dots([(x + 8, y)], look)
            canvas.text(x + 21, y + 3.8, name, "key")


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
