"""Pictures that both user interfaces show of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.charts.axes import Axis
from hpo.charts.drawing import picture
from hpo.charts.plots import Series, line_chart
from hpo.runs.entries import EpochRecord

LOOKS = ("accent", "third", "second")
"""Of the metrics drawn beside the objective, in turn."""


def learning_curve(records: Sequence[EpochRecord], run: Mapping[str, Any]) -> bytes:
    """An SVG: the objective and the metrics beside it by epoch, and below them the training loss. run: the attempt's
    run.json, which names them."""
    objective = run.get("objective", "score")
    upper = [Series(objective, "ink thick", [(float(record.epoch), record.score) for record in records])]
    upper += [
        _series(records, name, label, LOOKS[n % len(LOOKS)])
        for n, (name, label) in enumerate(run.get("curves", {}).items())
    ]
    lower = [_series(records, "train/loss", "training loss", "ink")]
    parts = [
        line_chart(
            f"{label} by epoch", Axis("epoch", whole=True), Axis(label), [series for series in drawn if series.points]
        )
        for label, drawn in ((objective, upper), ("training loss", lower))
        if drawn[0].points
    ]
    return picture({"vconcat": parts, "resolve": {"scale": {"color": "independent"}}}).encode()


def _series(records: Sequence[EpochRecord], metric: str, label: str, look: str) -> Series:
    points = [(float(record.epoch), record.metrics[metric]) for record in records if metric in record.metrics]
    return Series(label, look, points)
