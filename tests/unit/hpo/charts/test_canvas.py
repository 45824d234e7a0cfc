"""Lines as elements of a picture."""

from __future__ import annotations

import math

from hpo.charts.canvas import polyline, thinned


def test_lines_are_broken_at_missing_values() -> None:
    assert polyline([(0, 1), (1, math.nan), (2, 3), (3, 4)]) == "M0.0 1.0M2.0 3.0L3.0 4.0"


def test_thinning_keeps_both_ends() -> None:
    assert thinned(3, 10) == [0, 1, 2]
    kept = thinned(10_000, 100)
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert len(kept) <= 100
