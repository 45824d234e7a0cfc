"""How far an estimate is drawn back."""

from __future__ import annotations

import math

import pytest

from hpo.report.statistics.shrinkage import shrinkage


def test_shrinkage() -> None:
    found = shrinkage([0.04, 0.03, 0.02], [0.01, 0.02, 0.03])
    assert found is not None
    assert found.kept == pytest.approx(2 / 3)
    assert found.rank_correlation == pytest.approx(-1)
    assert shrinkage([], []) is None
    flat = shrinkage([-0.01, -0.01, -0.01], [0.0, 0.1, 0.2])
    assert flat is not None
    assert math.isnan(flat.kept)
    assert math.isnan(flat.rank_correlation)
