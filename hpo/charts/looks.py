"""What all charts have in common: colours by role, fonts, axes. A page sets the colours, light or dark, as CSS
variables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

COLOURS: Mapping[str, str] = {
    "paper": "#ffffff",
    "ink": "#1c1e21",
    "soft": "#5b6066",
    "grid": "#e6e6e1",
    "muted": "#9aa0a6",
    "accent": "#0b5cad",
    "second": "#b4540a",
    "third": "#0a7d62",
    "fourth": "#97417f",
}
"""Role -> its colour on white paper, for pictures outside a page that has its own."""

ROLES = ("ink", "muted", "accent", "second", "third", "fourth")
"""What lines, points and bars may look like."""

FONT = 'system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif'


def colour(role: str) -> str:
    """How a specification names a colour."""
    return f"var(--{role})"


CONFIG: Spec = {
    "background": "transparent",
    "padding": {"left": 0, "top": 4, "right": 4, "bottom": 2},
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": colour("soft"),
        "labelFontSize": 11,
        "titleColor": colour("ink"),
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": colour("grid"),
        "domainColor": colour("muted"),
        "tickColor": colour("muted"),
        "labelOverlap": "greedy",
        "labelSeparation": 5,
    },
    "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
    "axisX": {"grid": False, "labelFlush": 16},
    "title": {
        "anchor": "start",
        "frame": "bounds",
        "color": colour("ink"),
        "fontSize": 12,
        "fontWeight": "normal",
        "offset": 8,
    },
    "legend": {
        "orient": "bottom",
        "direction": "horizontal",
        "title": None,
        "labelColor": colour("ink"),
        "labelFontSize": 12,
        "labelLimit": 320,
        "symbolOpacity": 1,
        "symbolSize": 60,
        "symbolStrokeWidth": 2,
        "offset": 6,
    },
    "line": {"strokeJoin": "round"},
    "text": {"fontSize": 11},
}
"""Vega-Lite's configuration of every chart."""


CROSS = "M-.6,-.6L.6,.6M.6,-.6L-.6,.6"
"""The shape of a cross that stands on its legs, as an SVG path."""


def stroke(look: str) -> Spec:
    """Mark properties of a line. look: a role of ROLES with `thick`, `dashed`, `faint` where wanted."""
    role, *more = look.split()
    found: Spec = {"stroke": colour(role), "strokeWidth": 2.6 if "thick" in more else 1.4}
    if "dashed" in more:
        found["strokeDash"] = [5, 3]
    if "faint" in more:
        found["opacity"] = 0.55
    return found


def key(names: Sequence[str], looks: Sequence[str], shapes: Sequence[str]) -> Spec:
    """A colour channel whose legend lists the names in this order. shapes: `stroke`, `circle`, `square` or CROSS."""
    shown = [(name, look.split(), shape) for name, look, shape in zip(names, looks, shapes, strict=True) if name]
    scale = {"domain": [name for name, _, _ in shown], "range": [colour(look[0]) for _, look, _ in shown]}
    if not shown:
        return {"scale": scale, "legend": None}
    widest = max(len(name) for name, _, _ in shown)
    symbols = {name: shape for name, _, shape in shown}
    dashes = {name: [4, 2] if "dashed" in look else [1, 0] for name, look, _ in shown}
    legend: Spec = {
        "columns": max(1, min(len(shown), int(320 / (28 + 6.4 * widest)))),
        "symbolType": {"expr": f"({json.dumps(symbols)})[datum.label]"},
        "symbolDash": {"expr": f"({json.dumps(dashes)})[datum.label]"},
    }
    return {"scale": scale, "legend": legend}


def number(value: float) -> float | None:
    """A value as charts hold it: six significant digits, None for what is not a number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def padded(values: Sequence[float], pad: float = 0.05, include: float | None = None) -> tuple[float, float]:
    """The range of the finite values with a margin of `pad` of its width; a single value gets a range around it."""
    found = [value for value in values if math.isfinite(value)]
    if include is not None:
        found.append(include)
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    margin = (high - low) * pad if high > low else abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def short(value: float) -> str:
    """A number at the end of an axis, in few characters."""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}".replace("-", "−")
