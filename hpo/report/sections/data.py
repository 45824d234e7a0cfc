"""The data: what was recognised in them, and what they are warned of."""

from __future__ import annotations

from hpo.report import formatting
from hpo.report.document import Column, Section, Table
from hpo.report.evidence import CampaignEvidence

SOURCE = "the prepared panel"


def build(evidence: CampaignEvidence) -> Section | None:
    """The section; None where nothing is known of the data."""
    warnings, lines = evidence.data_warnings, evidence.data_lines
    if not warnings and not lines:
        return None
    lead = (
        f"{formatting.count(len(warnings), 'warning')}: see to them before anything is deployed."
        if warnings
        else "Nothing in the data was warned of."
    )
    tables = [
        Table("warnings", "Warnings", [Column("warning", "warning", kind="long")], _rows("warning", warnings), SOURCE),
        Table("recognised", "What was recognised", [Column("line", "line", kind="long")], _rows("line", lines), SOURCE),
    ]
    return Section("data", "The data", lead, [table for table in tables if table.rows])


def _rows(key: str, texts: tuple[str, ...]) -> list[dict[str, str]]:
    return [{key: text} for text in texts]


def as_text(evidence: CampaignEvidence) -> str:
    """The same as a text."""
    return "".join(f"{line}\n" for line in (*(f"Warning: {w}" for w in evidence.data_warnings), *evidence.data_lines))
