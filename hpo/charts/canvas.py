"""An SVG picture in the making: a frame with axes, and the few kinds of marks that charts are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from hpo.charts.scales import Scale

Point = tuple[float, float]

GLYPH = 7.7
"""Width of a character, on the safe side: pictures are laid out without knowing the reader's font."""

MANY = 250
"""Dots in one element above which they are drawn smaller."""


class Canvas:
    """Collects SVG elements. Coordinates in pixels of a viewBox of width x height; text is 12 pixels high."""

    def __init__(self, width: float, height: float, title: str, description: str) -> None:
        self.width, self.height = width, height
        self._title, self._description = title, description
        self._parts: list[str] = []

    def svg(self) -> str:
        """The finished picture; its title and description are read out by screen readers."""
        return (
            f'<svg class="chart" role="img" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'style="--natural:{self.width:g}px" xmlns="http://www.w3.org/2000/svg">'
            f"<title>{escape(self._title)}</title><desc>{escape(self._description)}</desc>{''.join(self._parts)}</svg>"
        )

    def text(self, x: float, y: float, content: str, css: str = "tick", anchor: str = "start") -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(content)}</text>'
        )

    def path(self, d: str, css: str) -> None:
        if d:
            self._parts.append(f'<path d="{d}" class="{css}"/>')

    def line(self, points: Sequence[Point], css: str) -> None:
        """One polyline; broken where a coordinate is NaN."""
        self.path(polyline(points), css)

    def lines(self, curves: Iterable[Sequence[Point]], css: str) -> None:
        """Many polylines as one element."""
        self.path("".join(polyline(curve) for curve in curves), css)

    def dots(self, points: Iterable[Point], css: str) -> None:
        """Many dots as one element: zero-length strokes with round ends; smaller where there are hundreds."""
        marks = [f"M{x:.1f} {y:.1f}h0" for x, y in points]
        self.path("".join(marks), f"dots {css}{' fine' if len(marks) > MANY else ''}")

    def crosses(self, points: Iterable[Point], css: str, arm: float = 2.5) -> None:
        """Many x marks as one element."""
        span = 2 * arm
        marks = (f"M{x - arm:.1f} {y - arm:.1f}l{span:g} {span:g}m0 {-span:g}l{-span:g} {span:g}" for x, y in points)
        self.path("".join(marks), css)

    def boxes(self, boxes: Iterable[tuple[float, float, float, float]], css: str) -> None:
        """Many rectangles (x, y, width, height) as one element."""
        self.path("".join(f"M{x:.1f} {y:.1f}h{w:.1f}v{h:.1f}h{-w:.1f}z" for x, y, w, h in boxes if w > 0), css)

    def x_axis(self, scale: Scale, bottom: float, label: str, top: float | None = None, wanted: int = 5) -> None:
        """Ticks and label below `bottom`; light grid lines up to `top` where given."""
        for value, text in scale.ticks(wanted):
            x = scale(value)
            if top is not None:
                self.line([(x, bottom), (x, top)], "grid")
            half = GLYPH * len(text) / 2
            self.text(min(max(x, half), self.width - half), bottom + 15, text, "tick", "middle")
        self.line([(scale.first, bottom), (scale.last, bottom)], "axis")
        if label:
            self.text((scale.first + scale.last) / 2, bottom + 31, label, "label", "middle")

    def y_axis(self, scale: Scale, left: float, right: float, label: str, wanted: int = 5) -> None:
        """Horizontal grid lines with ticks left of them; the label stands above the axis, so that it reads level."""
        for value, text in scale.ticks(wanted):
            y = scale(value)
            self.line([(left, y), (right, y)], "zero" if value == 0 else "grid")
            self.text(left - 6, y + 3.8, text, "tick", "end")
        self.text(2, min(scale.first, scale.last) - 11, label, "label")


def polyline(points: Sequence[Point]) -> str:
    """Path data of one line, lifted over NaN."""
    parts, pen = [], "M"
    for x, y in points:
        if x != x or y != y:
            pen = "M"
            continue
        parts.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return "".join(parts)


def thinned(count: int, most: int) -> list[int]:
    """At most about `most` positions of 0..count-1, evenly spaced, first and last included."""
    if count <= most:
        return list(range(count))
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})
