"""Reports: what a campaign found, how much of it is luck, and the page that says so.

slots = ledger.slots(campaign.id)
archive = Archive(runs, ledger.checkpoints(campaign.id))
holdout = measure(archive, candidates(campaign, slots, NUM_LEADERS), campaign.crowned, deployed, prepared.holdout)
evidence = collect(campaign, slots, archive, holdout)
findings = analyse(evidence)
written, lines = write_report(evidence, folder, findings), summary_lines(evidence, findings)
"""

from hpo.report.collect import candidates, collect
from hpo.report.evidence import (
    CampaignEvidence,
    EpochEvidence,
    HoldoutEvidence,
    TierEvidence,
    TrialEvidence,
)
from hpo.report.findings import NUM_LEADERS, Findings, analyse
from hpo.report.holdout import measure
from hpo.report.page import Written, build_report, render, write_report
from hpo.report.summary import summary_lines

__all__ = [
    "NUM_LEADERS",
    "CampaignEvidence",
    "EpochEvidence",
    "Findings",
    "HoldoutEvidence",
    "TierEvidence",
    "TrialEvidence",
    "Written",
    "analyse",
    "build_report",
    "candidates",
    "collect",
    "measure",
    "render",
    "summary_lines",
    "write_report",
]
