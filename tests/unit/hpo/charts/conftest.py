"""Charts as Vega-Lite understands them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import vl_convert

from hpo.charts.looks import CONFIG, Spec

Marks = Callable[[Spec], list[dict[str, Any]]]


@pytest.fixture
def marks(capfd: pytest.CaptureFixture[str]) -> Marks:
    """Draws a chart 400 pixels wide, refuses one that Vega-Lite warns of, and gives all its marks' items."""

    def draw(spec: Spec) -> list[dict[str, Any]]:
        placed = json.dumps(spec).replace('"width": "container"', '"width": 400')
        scene = vl_convert.vegalite_to_scenegraph(placed, config=CONFIG, show_warnings=True)
        said = capfd.readouterr()
        assert said.out + said.err == ""
        return list(items(scene["scenegraph"]))

    return draw


def items(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every item of a scene, with the type and the role of its mark."""
    for child in node.get("items", ()):
        if "marktype" in child:
            yield from items(child)
        else:
            yield {**child, "mark": node.get("marktype"), "role": node.get("role")}
            yield from items(child)
