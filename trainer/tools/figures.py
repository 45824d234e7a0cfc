"""Vega-Lite charts that are drawn into files, without a screen or a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

CONFIG: Spec = {
    "background": "white",
    "font": "sans-serif",
    "axis": {"titleFontWeight": "normal", "labelLimit": 320},
    "title": {"anchor": "start", "fontWeight": "normal"},
    "line": {"color": "#0b5cad"},
    "bar": {"color": "#0b5cad"},
}


def chart(title: str, width: int, height: int, data: list[Spec], *layers: Spec) -> Spec:
    """Layers over common rows. width, height: of the drawing area, in pixels."""
    return {"title": title, "width": width, "height": height, "data": {"values": data}, "layer": list(layers)}


def channel(field: str, title: str | None, **more: Any) -> Spec:
    """A numeric x or y. title: of its axis. more: what else the channel has."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def save_figure(spec: Spec, path: Path) -> None:
    """Write a PNG."""
    import vl_convert

    path.write_bytes(vl_convert.vegalite_to_png(json.dumps(spec, allow_nan=False), scale=1.5, config=CONFIG))
