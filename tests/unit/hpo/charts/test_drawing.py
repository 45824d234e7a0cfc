"""Pictures and the script, made without a browser and without network."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hpo.charts.axes import Axis
from hpo.charts.drawing import picture, script
from hpo.charts.plots import Series, line_chart

CHART = line_chart("d", Axis("epoch"), Axis("RankIC"), [Series("a", "accent", [(1, 2), (2, 3)])])


def test_a_picture_has_its_own_colours_and_nothing_to_hover() -> None:
    svg = picture(CHART)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "var(" not in svg
    assert "#0b5cad" in svg
    assert 'opacity="0"' not in svg
    assert "voronoi" not in svg


def test_pictures_under_each_other_are_one() -> None:
    said = " ".join(ElementTree.fromstring(picture({"vconcat": [CHART, CHART]})).itertext())
    assert said.count("RankIC") == 2


def test_the_script_ends_no_element_and_fetches_nothing() -> None:
    text = script()
    assert "</script" not in text
    assert "<!--" not in text
    assert re.search(r"\bimport\s*[({\"']", text) is None
    assert 500_000 < len(text) < 1_500_000
