"""Reports: what a campaign found, how much of it is luck, and the page that says so."""

from hpo.report.collect import candidates, collect
from hpo.report.evidence import (
    CampaignEvidence,
    EpochEvidence,
    HoldoutEvidence,
    PanelScores,
    TierEvidence,
    TrialEvidence,
)
from hpo.report.findings import Findings, analyse
from hpo.report.page import build_report, render, write_report
from hpo.report.summary import summary_lines

__all__ = [
    "CampaignEvidence",
    "EpochEvidence",
    "Findings",
    "HoldoutEvidence",
    "PanelScores",
    "TierEvidence",
    "TrialEvidence",
    "analyse",
    "build_report",
    "candidates",
    "collect",
    "render",
    "summary_lines",
    "write_report",
]
