"""What is deployed, and who else could be: the committee's members, and everybody on the same holdout days."""

from __future__ import annotations

from hpo.report import formatting
from hpo.report.document import Block, Column, Section, Table
from hpo.report.evidence import CampaignEvidence
from hpo.report.findings import Findings


def build(evidence: CampaignEvidence, findings: Findings) -> Section:
    """The section."""
    blocks: list[Block] = [*_members(evidence, findings), *_rivals(evidence, findings)]
    return Section("deployed", "What to deploy", _lead(evidence, findings), blocks)


def _lead(evidence: CampaignEvidence, findings: Findings) -> str:
    judged = "What is deployed" if findings.verdict.recommended else "What was judged, and is not recommended,"
    lead = f"{judged} is the single champion."
    if len(evidence.members) > 1:
        lead = (
            f"{judged} is {findings.deployed}: the weighted mean of their daily ranks, horizon by horizon. "
            "Members were chosen by validation days alone."
        )
    return " ".join([lead, *(evidence.holdout.faults if evidence.holdout else ())])


def _members(evidence: CampaignEvidence, findings: Findings) -> list[Table]:
    """Every member by name."""
    if len(evidence.members) < 2:
        return []
    rows = []
    for name, member in evidence.members.items():
        trial = evidence.trial(member.slot)
        rows.append(
            {
                "member": name,
                "slot": trial.slot if trial else None,
                "weight": member.weight,
                "outcome": trial.outcome if trial else None,
                "epoch": member.epoch,
                "score": trial.score if trial else None,
            }
        )
    columns = [
        Column("member", "member", kind="text"),
        Column("slot", "trial", kind="slot"),
        Column("weight", "weight", formatting.score),
        Column("outcome", "outcome", kind="text"),
        Column("epoch", "epoch"),
        Column("score", f"validation {findings.metric.shown}", formatting.score),
    ]
    champion = frozenset(n for n, m in enumerate(evidence.members.values()) if m.slot == evidence.champion_slot)
    note = "The single champion stands out."
    return [Table("members", "The committee", columns, rows, "table hpo.campaign, column champion", note, champion)]


def _rivals(evidence: CampaignEvidence, findings: Findings) -> list[Table]:
    """Who ranked how well on the holdout."""
    if findings.holdout is None or evidence.holdout is None or not findings.rivals:
        return []
    rows = [{"name": findings.deployed, "holdout": findings.holdout.estimate, "interval": findings.holdout}] + [
        {
            "name": rival.name,
            "holdout": rival.holdout.estimate if rival.holdout else None,
            "interval": rival.holdout,
            "lead": rival.lead.estimate if rival.lead else None,
            "lead_interval": rival.lead,
        }
        for rival in findings.rivals
    ]
    columns = [
        Column("name", "who", kind="text"),
        Column("holdout", f"holdout {findings.metric.shown}", formatting.score),
        Column("interval", "interval", formatting.between),
        Column("lead", "less the first row", formatting.score),
        Column("lead_interval", "interval, paired by day", formatting.between),
    ]
    note = (
        "95 % intervals; contenders', who are trained once without a search, are wider: together they hold with 95 %."
    )
    return [Table("rivals", "On the same holdout days", columns, rows, evidence.holdout.source, note, frozenset({0}))]
