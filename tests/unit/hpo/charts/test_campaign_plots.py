"""Parallel coordinates and the time line, as Vega-Lite draws them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from hpo.charts.campaign_plots import MOST_ROWS, Bar, Setting, Trial, parallel_chart, timeline_chart
from hpo.charts.looks import Spec

Marks = Callable[[Spec], list[dict[str, Any]]]

RATE = Setting("optim.lr", (1e-4, 1e-2, 1e-3), is_log=True)
WIDTH = Setting("model.hidden_size", (64.0, 16.0, 32.0))
SCHEDULE = Setting("optim.schedule", ("cosine", "constant"))
SCORE = Setting("score", (0.01, 0.03))


def test_a_value_lies_between_the_ends_of_its_setting() -> None:
    assert RATE.share(1e-3) == pytest.approx(0.5)
    assert [WIDTH.share(value) for value in (16.0, 32.0, 64.0)] == [0.0, 0.5, 1.0]
    assert SCHEDULE.share("constant") == 1.0
    assert Setting("one", (2.5, 2.5)).share(2.5) == 0.5
    assert Setting("mixed", (1.0, "auto")).categories == ("1.0", "auto")


def test_categories_are_all_written_and_ranges_at_their_ends() -> None:
    assert WIDTH.labels == [(0.0, "16"), (0.5, "32"), (1.0, "64")]
    assert [text for _, text in RATE.labels] == ["1e−4", "0.01"]


def test_names_under_each_other_never_meet(marks: Marks) -> None:
    settings = [Setting(f"a.very.long.name_{n}", (0.0, 0.5)) for n in range(30)]
    trial = Trial({setting.name: 0.5 for setting in settings})
    found = marks(parallel_chart("d", settings, [("all", "muted", [trial])]))
    levels = sorted(item["y"] for item in found if item["role"] == "axis-label")
    assert len(levels) == 30
    assert min(b - a for a, b in pairwise(levels)) > 20


def test_a_trial_is_a_line_down_through_its_settings_and_passes_over_those_it_lacks(marks: Marks) -> None:
    trial = Trial({"optim.lr": 1e-4, "optim.schedule": "constant", "score": 0.02}, {"trial": "3"}, "#trial-3")
    found = marks(parallel_chart("d", [SCORE, SCHEDULE, WIDTH, RATE], [("champion", "accent thick", [trial])]))
    seen = [item for item in found if item["mark"] == "line" and item.get("opacity") != 0]
    met = [item for item in found if item["mark"] == "line" and item.get("opacity") == 0]
    assert [item["x"] for item in seen] == [pytest.approx(share * 400) for share in (0.5, 1.0, 0.0)]
    assert [item["y"] for item in seen] == sorted(item["y"] for item in seen)
    assert met[0]["description"].endswith("trial: 3; link: #trial-3")


def test_values_are_cut_to_the_room_they_have(marks: Marks) -> None:
    many = Setting("kind", tuple(f"a long category {n}" for n in range(8)))
    found = marks(parallel_chart("d", [many, SCORE], [("all", "muted", [Trial({"kind": many.values[0]})])]))
    written = [item for item in found if item["mark"] == "text" and str(item.get("text")).startswith("a long")]
    assert len({item["x"] for item in written}) == 8
    assert {item["limit"] for item in written} == {400 / 8 - 6}


def test_bars_begin_and_end_when_their_trials_did(marks: Marks) -> None:
    bars = [Bar("w1", 0.0, 600.0, "complete", {"trial": "1"}), Bar("w2", 600.0, 1200.0, "pruned", {"trial": "2"})]
    found = marks(timeline_chart("d", bars, [("accent", "complete"), ("second", "pruned")]))
    first, second = (item for item in found if item["mark"] == "rect")
    assert (first["x"], first["width"]) == (pytest.approx(0), pytest.approx(200))
    assert (second["x"], second["width"]) == (pytest.approx(200), pytest.approx(200))
    assert [item["fill"] for item in (first, second)] == ["var(--accent)", "var(--second)"]
    assert "minutes since the first trial began" in {item.get("text") for item in found}


def test_more_workers_than_rows_are_left_out(marks: Marks) -> None:
    bars = [Bar(f"w{n:03}", 0.0, 1.0, "complete") for n in range(MOST_ROWS + 5)]
    found = marks(timeline_chart("d", bars, [("accent", "complete")]))
    assert sum(item["mark"] == "rect" for item in found) == MOST_ROWS
