"""Where a step's time goes."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.tools.profiling import profile_steps


def test_the_profile_names_operators_and_splits_the_step(make_config: Any, make_data: Any) -> None:
    measured = profile_steps(make_config(), make_data(), steps=3)
    assert "aten::" in measured.table
    assert measured.gather > 0
    assert measured.step > 0
    assert measured.samples == pytest.approx(200, rel=0.5)
    assert "samples/s" in measured.advice
