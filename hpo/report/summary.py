"""What the terminal says of a campaign at the end of a run."""

from __future__ import annotations

from hpo.report import formatting
from hpo.report.evidence import CampaignEvidence
from hpo.report.findings import Findings, analyse


def summary_lines(evidence: CampaignEvidence, findings: Findings | None = None) -> list[str]:
    """Plain lines: doubt, recommendation, verdict, champion, scores with intervals, how much is luck.

    findings: where already at hand.
    """
    found = findings or analyse(evidence)
    counts = evidence.outcomes()
    advice = found.verdict.advice
    lines = [evidence.doubt] if evidence.doubt else []
    lines += [f"Recommendation: {advice}."] if advice else []
    lines.append(f"Verdict: {found.verdict.sentence}.")
    champion = found.champion
    if champion is not None:
        lines += [
            f"Champion: trial {champion.slot}, {formatting.settings(champion.settings or champion.params)}",
            f"Validation {found.metric.shown}: {formatting.with_interval(found.validation)}"
            + (
                f"; adjusted for selection: {formatting.between(found.validation_adjusted)}"
                if found.validation_adjusted
                else ""
            ),
        ]
    if len(evidence.members) > 1:
        lines.append(f"Committee: the mean of the daily ranks of {', '.join(evidence.members)}")
    if found.holdout:
        lines.append(f"Holdout {found.metric.shown} of {found.deployed}: {formatting.with_interval(found.holdout)}")
    lines += [
        f"  {rival.name}: {formatting.score(rival.holdout.estimate if rival.holdout else None)}; "
        f"less {found.deployed}: {formatting.with_interval(rival.lead)}"
        for rival in found.rivals
    ]
    lines += [f"Warning: {fault}" for fault in (evidence.holdout.faults if evidence.holdout else ())]
    if found.share_of_ceiling is not None:
        lines.append(
            f"Ceiling: {formatting.percent(found.share_of_ceiling)} of the best possible holdout {found.metric.shown}, "
            f"{formatting.score(found.ceiling)}"
        )
    if found.deflated:
        luck = f"Luck: deflated score {formatting.probability(found.deflated.probability)}"
        if found.overfitting:
            luck += f", probability of overfitting {formatting.percent(found.overfitting.probability)}"
        lines.append(f"{luck}, {formatting.count(found.num_tried, 'trial')} tried")
    lines.append(
        f"Trials: {counts['complete']:,} complete, {counts['pruned']:,} pruned, {counts['failed']:,} failed; "
        f"pruning saved {formatting.duration(sum(trial.seconds_saved for trial in evidence.trials))} of training"
    )
    return lines
