"""Whole pictures."""

from __future__ import annotations

import re

from hpo.charts.plots import Axis, Curves, line_chart


def test_a_thousand_curves_are_one_element() -> None:
    curves = [[(0.0, float(n)), (1.0, float(n + 1))] for n in range(1000)]
    svg = line_chart("t", "d", Axis("x"), Axis("y"), [Curves("all", "muted", curves)])
    drawn = re.findall(r'<path d="([^"]*)" class="line muted"', svg)
    assert len(drawn) == 2  # the curves, and their key
    assert drawn[0].count("M") == 1000
