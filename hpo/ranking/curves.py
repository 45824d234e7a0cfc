"""What the champion's own training looked like, in the words of `trainer diagnose`."""

from __future__ import annotations

from hpo.report.document import Column, Table
from hpo.report.evidence import TrialEvidence
from trainer.tools.history import History


def champions_training(champion: TrialEvidence) -> Table:
    """A row for each finding about the single champion's curves."""
    history = History.of([epoch.score for epoch in champion.epochs], [dict(epoch.metrics) for epoch in champion.epochs])
    return Table(
        "training",
        f"How trial {champion.slot}, the single champion, was trained",
        [Column("finding", "its curves say", kind="long")],
        [{"finding": sentence} for sentence in history.findings],
        f"{champion.folder}/metrics.jsonl",
    )
