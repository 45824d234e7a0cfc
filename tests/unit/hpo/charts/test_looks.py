"""Colours, strokes and keys."""

from __future__ import annotations

import math
from importlib.resources import files

import pytest

from hpo.charts.looks import COLOURS, ROLES, key, number, padded, short, stroke


def test_a_page_sets_every_colour_for_light_dark_and_paper() -> None:
    style = (files("hpo.report") / "templates" / "report.css").read_text(encoding="utf-8")
    themes = style.split(":root {")[1:]
    assert len(themes) == 3
    for theme in themes:
        assert all(f"--{role}:" in theme.partition("}")[0] for role in COLOURS)
    assert set(ROLES) <= set(COLOURS)


def test_a_look_is_a_role_and_what_is_added() -> None:
    assert stroke("accent") == {"stroke": "var(--accent)", "strokeWidth": 1.4}
    assert stroke("muted thick dashed faint") == {
        "stroke": "var(--muted)",
        "strokeWidth": 2.6,
        "strokeDash": [5, 3],
        "opacity": 0.55,
    }


def test_a_key_has_the_names_in_order_and_as_many_columns_as_a_phone_has_room_for() -> None:
    found = key(["a", "", "b"], ["accent thick", "ink", "second"], ["stroke", "circle", "circle"])
    assert found["scale"] == {"domain": ["a", "b"], "range": ["var(--accent)", "var(--second)"]}
    assert found["legend"]["columns"] == 2
    assert key(["a name that is quite long"] * 3, ["ink"] * 3, ["stroke"] * 3)["legend"]["columns"] == 1
    assert key(["", ""], ["ink", "ink"], ["stroke", "stroke"])["legend"] is None


def test_ranges_and_numbers() -> None:
    assert padded([0.5, 0.5])[0] < 0.5 < padded([0.5, 0.5])[1]
    assert padded([math.nan]) == (0.0, 1.0)
    assert padded([2.0, 3.0], 0.0, include=0.0) == (0.0, 3.0)
    assert [short(v) for v in (0, 12_345, 0.25, 1e-6)] == ["0", "12,345", "0.25", "1e−6"]
    assert number(1 / 3) == pytest.approx(0.333333, abs=1e-12)
    assert number(math.inf) is None
