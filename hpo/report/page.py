"""The report's two forms, one HTML page and one JSON file, from the same document."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import jinja2

from hpo import __version__
from hpo.report.document import Report, Section, as_plain
from hpo.report.evidence import CampaignEvidence
from hpo.report.findings import Findings, analyse
from hpo.report.sections import answer, data, deployed, luck, reproduce, search


@dataclass(frozen=True)
class Written:
    """Where a report was written."""

    html: Path
    json: Path
    data: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return self.html, self.json, self.data


def build_report(
    evidence: CampaignEvidence, findings: Findings | None = None, created_at: datetime | None = None
) -> Report:
    """The document of a campaign. findings: `analyse(evidence)` where the caller has it already."""
    found = findings or analyse(evidence)
    sections: list[Section | None] = [
        answer.build(evidence, found),
        deployed.build(evidence, found) if found.champion else None,
        luck.build(evidence, found) if found.champion else None,
        search.build(evidence, found),
        *evidence.own_sections(evidence, found),
        data.build(evidence),
        reproduce.build(evidence, found),
    ]
    return Report(
        campaign=evidence.name,
        finding=found.verdict.finding.value,
        verdict=found.verdict.sentence,
        advice=found.verdict.advice,
        recommended=found.verdict.recommended,
        doubt=evidence.doubt,
        subtitle=f"{evidence.data_source}, judged by {evidence.objective.shown}",
        sections=[section for section in sections if section],
        created_at=created_at or datetime.now(UTC),
        version=__version__,
        links=evidence.links,
    )


def render(report: Report) -> str:
    """One self-contained HTML page: no scripts, nothing fetched."""
    templates = files("hpo.report") / "templates"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((templates / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(report=report, style=(templates / "report.css").read_text(encoding="utf-8"))


def write_report(
    evidence: CampaignEvidence, folder: Path, findings: Findings | None = None, created_at: datetime | None = None
) -> Written:
    """Write report.html, report.json and report.data.txt (what was recognised in the data) into folder, each complete
    or not at all. OSError if it cannot be written."""
    report = build_report(evidence, findings, created_at)
    folder.mkdir(parents=True, exist_ok=True)
    written = Written(folder / "report.html", folder / "report.json", folder / "report.data.txt")
    _replace(written.html, render(report))
    _replace(written.json, json.dumps(as_plain(report), ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    _replace(written.data, data.as_text(evidence))
    return written


def _replace(path: Path, text: str) -> None:
    """Write beside the file and rename, so that a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
