"""Series, curves and scatters, as Vega-Lite draws them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from hpo.charts.axes import Axis
from hpo.charts.looks import CROSS, Spec
from hpo.charts.plots import MOST_POINTS, Curve, Curves, Dot, Dots, Series, curve_chart, line_chart, scatter_chart

Marks = Callable[[Spec], list[dict[str, Any]]]

X, Y = Axis("epoch"), Axis("RankIC", low=0.0, high=10.0)


def drawn(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in found if item["mark"] == kind and item["role"] == "mark"]


def test_lines_stand_where_their_values_are_and_are_broken_where_there_is_none(marks: Marks) -> None:
    line = Series("a", "accent thick", [(1, 2), (2, math.nan), (3, 4)])
    found = drawn(marks(line_chart("d", X, Y, [line])), "line")
    assert [item["y"] for item in found if item["defined"]] == [pytest.approx(0.8 * 190), pytest.approx(0.6 * 190)]
    assert [item["defined"] for item in found] == [True, False, True]
    assert {item["stroke"] for item in found} == {"var(--accent)"}
    assert {item["strokeWidth"] for item in found} == {2.6}


def test_hovering_reads_every_series_at_once(marks: Marks) -> None:
    series = [Series("a", "accent", [(1, 2), (2, 3)]), Series("b", "second", [(1, 5), (2, 6)])]
    rules = [item for item in drawn(marks(line_chart("d", X, Y, series)), "rule") if item.get("opacity") == 0]
    assert [item["description"] for item in rules] == ["x: 1; epoch: 1; a: 2; b: 5", "x: 2; epoch: 2; a: 3; b: 6"]


def test_a_date_is_told_as_it_is_written_wherever_the_reader_lives(marks: Marks) -> None:
    chart = line_chart("d", Axis("", "date"), Y, [Series("a", "accent", [(19_783.0, 1.0), (19_784.0, 2.0)])])
    told = [item["description"] for item in drawn(marks(chart), "rule") if "date" in item.get("description", "")]
    assert "2024-03-01" in told[0]
    assert "2024-03-02" in told[1]


def test_long_series_are_thinned_with_both_ends() -> None:
    chart = line_chart("d", X, Y, [Series("a", "accent", [(float(n), 1.0) for n in range(10_000)])])
    kept = [row["x"] for row in chart["data"]["values"]]
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert len(kept) <= MOST_POINTS


def test_a_curve_is_met_by_a_broad_line_that_tells_whose_it_is_and_leads_there(marks: Marks) -> None:
    curves = [Curve([(1.0, 1.0), (2.0, 2.0)], {"trial": str(n)}, f"#trial-{n}") for n in (7, 8)]
    found = drawn(marks(curve_chart("d", X, Y, [Curves("pruned", "second faint", curves, ends=True)])), "line")
    met = [item for item in found if item["opacity"] == 0]
    told = {item["description"].partition("trial: ")[2] for item in met}
    assert told == {"7; link: #trial-7", "8; link: #trial-8"}
    assert {item["strokeWidth"] for item in met} == {9}
    assert {item["opacity"] for item in found} == {0, 0.55}
    assert {item["stroke"] for item in found} == {"var(--second)"}


def test_a_curve_that_was_cut_off_ends_in_a_cross(marks: Marks) -> None:
    groups = [Curves("pruned", "second", [Curve([(1.0, 1.0), (2.0, 5.0)])], ends=True)]
    (cross,) = drawn(marks(curve_chart("d", X, Y, groups)), "symbol")
    assert cross["shape"] == CROSS
    assert cross["y"] == pytest.approx(0.5 * 190)


def test_points_stand_where_their_values_are(marks: Marks) -> None:
    dots = [Dot(1.0, 2.0, {"trial": "1"}, "#trial-1"), Dot(2.0, math.nan), Dot(3.0, 8.0)]
    chart = scatter_chart("d", Axis("", low=0.0, high=4.0), Y, [Dots("all", "muted", dots)])
    found = drawn(marks(chart), "symbol")
    assert [(item["x"], item["y"]) for item in found] == [(100, pytest.approx(152)), (300, pytest.approx(38))]
    assert found[0]["description"].endswith("trial: 1; link: #trial-1")


def test_what_is_not_there_is_not_in_the_key(marks: Marks) -> None:
    groups = [Dots("pruned", "second", []), Dots("complete", "muted", [Dot(1.0, 1.0)])]
    labels = [item["text"] for item in marks(scatter_chart("d", X, Y, groups)) if item["role"] == "legend-label"]
    assert labels == ["complete"]


def test_categories_keep_their_order(marks: Marks) -> None:
    dots = [Dot("b", 1.0), Dot("a", 1.0)]
    found = drawn(marks(scatter_chart("d", Axis(""), Y, [Dots("", "muted", dots)], categories=["b", "a"])), "symbol")
    assert found[0]["x"] < found[1]["x"]


def test_the_best_so_far_is_a_staircase(marks: Marks) -> None:
    best = Series("best so far", "accent", [(1.0, 1.0), (2.0, 3.0)])
    found = drawn(marks(scatter_chart("d", X, Y, [Dots("all", "muted", [Dot(1.0, 1.0)])], [best])), "line")
    assert {item["interpolate"] for item in found} == {"step-after"}
