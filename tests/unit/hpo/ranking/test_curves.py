"""The champion's curves in the report."""

from __future__ import annotations

from hpo.domain.campaign import Outcome
from hpo.ranking.curves import champions_training
from hpo.report.evidence import EpochEvidence, TrialEvidence


def test_the_table_says_what_the_curves_say() -> None:
    scores = [0.01, 0.03, 0.05, 0.06, 0.061, 0.04, 0.03, 0.02, 0.01]
    epochs = [
        EpochEvidence(n, score, 1.0, metrics={"train/loss": 1.0 - 0.02 * n, "train/loss_rank_ic": 0.99 - 0.02 * n})
        for n, score in enumerate(scores, 1)
    ]
    champion = TrialEvidence(7, 1, Outcome.COMPLETE, epochs=epochs, folder="slot-0007/attempt-1")
    table = champions_training(champion)
    assert table.title == "How trial 7, the single champion, was trained"
    assert table.source == "slot-0007/attempt-1/metrics.jsonl"
    assert table.rows[0]["finding"].startswith("Overfits: the validation score fell from +0.0570 (epochs 3 to 5)")
