"""Positions and ticks of an axis."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpo.charts.scales import Scale, padded, round_step, short


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-0.011, 0.031, ["−0.01", "0.00", "0.01", "0.02", "0.03"]),
        (0.0, 12_000.0, ["0", "5,000", "10,000"]),
        (0.0303, 0.0304, ["0.03030", "0.03032", "0.03034", "0.03036", "0.03038", "0.03040"]),
    ],
)
def test_linear_ticks_are_round(low: float, high: float, labels: list[str]) -> None:
    assert [label for _, label in Scale(low, high, 0, 100).ticks()] == labels


def test_log_ticks_and_positions() -> None:
    scale = Scale(1e-5, 1e-2, 0, 300, "log")
    assert scale(1e-4) == pytest.approx(100)
    assert [label for _, label in scale.ticks()] == ["1e−5", "1e−4", "0.001", "0.01"]
    narrow = Scale(2e-4, 7e-4, 0, 1, "log").ticks()
    assert len(narrow) >= 2


def test_date_ticks_are_months_or_years() -> None:
    first, last = (float(np.datetime64(day, "D").astype(int)) for day in ("2022-11-15", "2023-07-20"))
    assert [label for _, label in Scale(first, last, 0, 1, "date").ticks()] == [
        "2023-01",
        "2023-03",
        "2023-05",
        "2023-07",
    ]
    decade = Scale(first, first + 3000, 0, 1, "date").ticks()
    assert decade[0] == (float(np.datetime64("2024-01-01").astype(int)), "2024")


def test_degenerate_ranges() -> None:
    assert padded([0.5, 0.5])[0] < 0.5 < padded([0.5, 0.5])[1]
    assert padded([math.nan]) == (0.0, 1.0)
    assert padded([2.0, 3.0], 0.0, include=0.0) == (0.0, 3.0)
    assert Scale(1, 1, 0, 10)(1) == 5
    assert round_step(0.03) == pytest.approx(0.05)
    assert [short(v) for v in (0, 12_345, 0.25, 1e-6)] == ["0", "12,345", "0.25", "1e−6"]
