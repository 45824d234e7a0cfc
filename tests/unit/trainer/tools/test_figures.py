"""Pictures are made without a screen or a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.tools.figures import channel, chart, save_figure


def test_a_chart_becomes_a_picture(tmp_path: Path) -> None:
    rows = [{"rate": 1e-3, "loss": 1.0}, {"rate": 1e-2, "loss": 0.5}]
    encoding = {"x": channel("rate", "rate", scale={"type": "log"}), "y": channel("loss", "loss")}
    save_figure(chart("t", 200, 100, rows, {"mark": "line", "encoding": encoding}), tmp_path / "a.png")
    head = (tmp_path / "a.png").read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert int.from_bytes(head[16:20]) > 300


def test_what_is_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_figure(chart("t", 200, 100, [{"x": float("nan")}]), tmp_path / "a.png")
