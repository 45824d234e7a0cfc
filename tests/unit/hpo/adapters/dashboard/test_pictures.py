"""A learning curve for those who look at a trial in a browser."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

from hpo.adapters.dashboard.pictures import learning_curve
from hpo.runs.entries import EpochRecord

TIME = datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def epoch(number: int, **metrics: float) -> EpochRecord:
    return EpochRecord(number, TIME, 0.1 * number, 2.0, metrics)


def test_a_learning_curve_is_a_small_picture() -> None:
    run = {"objective": "ICIR, 5 days", "curves": {"valid/rank_ic_5d": "RankIC, 5 days"}}
    picture = learning_curve([epoch(1), epoch(2, **{"train/loss": 1.0, "valid/rank_ic_5d": 0.1})], run)
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg")
    said = " ".join(root.itertext())
    assert all(name in said for name in ("ICIR, 5 days", "RankIC, 5 days", "training loss", "epoch"))
    assert "training loss" not in " ".join(ElementTree.fromstring(learning_curve([epoch(1)], run)).itertext())
    assert len(picture) < 40_000
    assert root.attrib["width"].isdigit()
