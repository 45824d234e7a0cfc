"""Bars and intervals, as Vega-Lite draws them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hpo.charts.bars import Whisker, bar_chart, column_chart, interval_chart
from hpo.charts.looks import Spec

Marks = Callable[[Spec], list[dict[str, Any]]]


def test_columns_stand_on_zero_and_are_as_high_as_their_values(marks: Marks) -> None:
    found = [item for item in marks(column_chart("d", "x", "y", ["1", "2"], [2.0, -1.0])) if item["mark"] == "rect"]
    up, down = found
    assert up["height"] == pytest.approx(2 * down["height"])
    assert up["y"] + up["height"] == pytest.approx(down["y"])


def test_lying_bars_keep_the_order_of_their_names(marks: Marks) -> None:
    found = marks(bar_chart("d", "share, %", ["z", "a"], [75.0, 25.0]))
    first, second = (item for item in found if item["mark"] == "rect")
    assert first["y"] < second["y"]
    assert first["width"] == pytest.approx(3 * second["width"])


def test_an_interval_has_its_name_its_ends_and_its_estimate(marks: Marks) -> None:
    chart = interval_chart("d", "RankIC", [Whisker("a", 1.0, 0.0, 4.0), Whisker("b", 3.0, 2.0, 4.0, "second")])
    found = marks(chart)
    a, b = (item for item in found if item["mark"] == "rule" and item.get("strokeWidth") == 3)
    dots = [item for item in found if item["mark"] == "symbol"]
    ends, others = sorted((a["x"], a["x2"])), sorted((b["x"], b["x2"]))
    assert ends[1] == pytest.approx(others[1])
    assert dots[0]["x"] - ends[0] == pytest.approx((ends[1] - ends[0]) / 4)
    assert dots[1]["x"] - others[0] == pytest.approx((others[1] - others[0]) / 2)
    assert [item["stroke"] for item in (a, b)] == ["var(--accent)", "var(--second)"]
    assert {"a", "b"} <= {item.get("text") for item in found}
