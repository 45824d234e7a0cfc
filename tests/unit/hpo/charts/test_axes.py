"""Axes, and what hovering tells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpo.charts.axes import Axis, hover, place, x_channel, y_channel


def test_a_range_is_the_values_with_a_margin_unless_limits_are_given() -> None:
    assert y_channel(Axis("y"), [0.0, 1.0])["scale"]["domain"] == [-0.05, 1.05]
    assert y_channel(Axis("y", low=0.2, high=0.4), [0.0, 1.0])["scale"]["domain"] == [0.2, 0.4]
    assert y_channel(Axis("y"), [1.0, 2.0], include=0.0)["scale"]["domain"] == [-0.1, 2.1]
    low, high = x_channel(Axis("", "log"), [1e-4, 1e-2])["scale"]["domain"]
    assert low * high == pytest.approx(1e-6, rel=1e-4)
    assert low < 1e-4


def test_days_are_placed_in_universal_time() -> None:
    day = float(np.datetime64("2024-03-01").astype(int))
    assert place(Axis("", "date"), day) == 1_709_251_200_000
    assert x_channel(Axis("", "date"), [day])["scale"] == {"type": "utc"}


@pytest.mark.parametrize(("days", "step"), [(100, 1), (350, 2), (1000, 6), (6000, 60)])
def test_dates_are_marked_by_months(days: int, step: int) -> None:
    axis = x_channel(Axis("", "date"), [0.0, float(days)])["axis"]
    assert axis["tickCount"] == {"interval": "month", "step": step}
    assert axis["format"] == "%Y-%m"


def test_a_few_weeks_are_marked_by_days() -> None:
    assert x_channel(Axis("", "date"), [0.0, 30.0])["axis"]["format"] == "%Y-%m-%d"


def test_whole_numbers_have_no_ticks_between_them() -> None:
    assert x_channel(Axis("epoch", whole=True), [1.0, 3.0])["axis"]["values"] == [1, 2, 3]
    assert x_channel(Axis("epoch", whole=True), [1.0, 30.0])["axis"]["tickMinStep"] == 1


def test_what_is_told_is_the_same_list_for_every_row() -> None:
    says, tooltip = hover([{"trial": "1", "optim.lr": 0.123456}, {"trial": "2", "score": math.nan}])
    assert says[0] == {"says0": "1", "says1": 0.1235, "says2": None}
    assert says[1]["says0"] == "2"
    assert [(one["field"], one["title"]) for one in tooltip] == [
        ("says0", "trial"),
        ("says1", "optim.lr"),
        ("says2", "score"),
    ]
