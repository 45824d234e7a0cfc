"""Charts of a whole campaign: parallel coordinates over its settings, and the time line of its workers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hpo.charts.canvas import Canvas
from hpo.charts.scales import Scale, short

WIDTH = 1100.0
MOST_ROWS = 24

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

    def scale(self, first: float, last: float) -> Scale:
        if self.categories:
            return Scale(0, max(len(self.categories) - 1, 0), first, last)
        numbers = [float(value) for value in self.values]
        return Scale(min(numbers), max(numbers), first, last, "log" if self.is_log else "linear")

    def position(self, value: float | str) -> float:
        """A value as the scale takes it."""
        if not self.categories:
            return float(value)
        return float(self.categories.index(value if isinstance(value, str) else short(value)))


def parallel_chart(
    title: str,
    description: str,
    settings: Sequence[Setting],
    groups: Sequence[tuple[str, str, Sequence[Mapping[str, float | str]]]],
) -> str:
    """One vertical line per setting and one line across them per trial.

    groups: (name, css, trials), drawn in this order; a trial maps setting names to values, and its line is lifted
    over settings it lacks.
    """
    top, bottom, left, right = 46.0, 296.0, 46.0, 1054.0
    canvas = Canvas(WIDTH, 350, title, description)
    gap = (right - left) / max(len(settings) - 1, 1)
    scales = [setting.scale(bottom, top) for setting in settings]
    for _, css, trials in groups:
        curves = [
            [
                (left + gap * n, scale(setting.position(trial[setting.name])) if setting.name in trial else math.nan)
                for n, (setting, scale) in enumerate(zip(settings, scales, strict=True))
            ]
            for trial in trials
        ]
        canvas.lines(curves, f"line {css}")
    for n, (setting, scale) in enumerate(zip(settings, scales, strict=True)):
        x = left + gap * n
        canvas.line([(x, top), (x, bottom)], "axis")
        canvas.text(x, 14 + 15 * (n % 2), setting.name.rpartition(".")[2], "label", "middle")
        side, anchor = (-4, "end") if n == len(settings) - 1 else (4, "start")
        for value, label in _ends(setting, scale):
            canvas.text(x + side, scale(value) + (-4 if value == scale.low else 12), label, "key halo", anchor)
    x = left - 20
    for name, css, trials in groups:
        if trials:
            canvas.line([(x, 330), (x + 18, 330)], f"line {css}")
            canvas.text(x + 23, 334, name, "key")
            x += 40 + 6.7 * len(name)
    return canvas.svg()


def _ends(setting: Setting, scale: Scale) -> list[tuple[float, str]]:
    """What is written at a coordinate: every category, or the two ends."""
    if setting.categories:
        return [(float(n), name[:14]) for n, name in enumerate(setting.categories)]
    return [(value, short(value)) for value in dict.fromkeys((scale.low, scale.high))]


@dataclass(frozen=True)
class Bar:
    """One trial on the time line: begin and end in seconds since the first."""

    row: str
    begin: float
    end: float
    css: str


def timeline_chart(title: str, description: str, bars: Sequence[Bar], keys: Sequence[tuple[str, str]]) -> str:
    """A row per worker, a bar per trial. keys: (css, name). Rows beyond the first 24 are left out, and it says so."""
    rows = sorted({bar.row for bar in bars})
    shown = rows[:MOST_ROWS]
    left, height_of_row = 196.0, 22.0
    bottom = 24 + height_of_row * len(shown)
    canvas = Canvas(WIDTH, bottom + 62, title, description)
    last = max((bar.end for bar in bars), default=1.0)
    unit, name = (1.0, "seconds") if last < 180 else (60.0, "minutes") if last < 3 * 3600 else (3600.0, "hours")
    across = Scale(0.0, last / unit, left, WIDTH - 16)
    canvas.x_axis(across, bottom, f"{name} since the first trial began", top=16, wanted=8)
    for number, row in enumerate(shown):
        y = 20 + height_of_row * number
        canvas.text(left - 8, y + 13, row if len(row) <= 18 else f"…{row[-17:]}", "tick", "end")
        for css in dict.fromkeys(css for css, _ in keys):
            boxes = [
                (across(bar.begin / unit), y, max(across(bar.end / unit) - across(bar.begin / unit) - 0.6, 0.6), 16.0)
                for bar in bars
                if bar.row == row and bar.css == css
            ]
            canvas.boxes(boxes, f"fill {css}")
    x = left
    for css, label in keys:
        canvas.boxes([(x, bottom + 44, 12, 10)], f"fill {css}")
        canvas.text(x + 18, bottom + 53, label, "key")
        x += 46 + 6.7 * len(label)
    if len(rows) > len(shown):
        canvas.text(WIDTH - 16, bottom + 53, f"{len(rows) - len(shown)} more workers not drawn", "key", "end")
    return canvas.svg()
