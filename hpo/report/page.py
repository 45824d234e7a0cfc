"""The report's two forms, one HTML page and one JSON file, from the same document."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hpo import __version__
from hpo.charts.drawing import picture, script
from hpo.charts.looks import CONFIG
from hpo.report import formatting
from hpo.report.document import Report, Section, anchor, as_plain
from hpo.report.evidence import CampaignEvidence
from hpo.report.findings import Findings, analyse
from hpo.report.sections import answer, data, deployed, luck, reproduce, search


@dataclass(frozen=True)
class Written:
    """Where a report was written. pictures: of its key charts."""

    html: Path
    json: Path
    data: Path
    pictures: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        return self.html, self.json, self.data, *self.pictures


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
    """One self-contained HTML page: nothing is fetched, and no script runs but the two it carries."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"json": _json, "rank": formatting.rank, "columns": columns}
    scripts = [script(), _template("report.js")]
    return environment.from_string(_template("report.html.j2")).render(
        report=report,
        style=_template("report.css"),
        scripts=scripts,
        allowed=" ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts),
        config=CONFIG,
        anchor=anchor,
    )


def columns(number: int, most: int) -> int:
    """How many of a number of charts to draw side by side, so that the last row is as full as can be."""
    return min(range(min(most, number), 0, -1), key=lambda wide: (-number % wide) / wide + (wide < most - 1 < number))


def _template(name: str) -> str:
    return (files("hpo.report") / "templates" / name).read_text(encoding="utf-8")


def _json(anything: Any) -> Markup:
    """JSON for a `<script>` element: nothing in it can end the element."""
    text = json.dumps(anything, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def write_report(
    evidence: CampaignEvidence, folder: Path, findings: Findings | None = None, created_at: datetime | None = None
) -> Written:
    """Write report.html, report.json, report.data.txt (what was recognised in the data) and a picture of each key
    chart, `report.KEY.svg`, into folder, each complete or not at all. OSError if one cannot be written."""
    report = build_report(evidence, findings, created_at)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {folder / f"report.{chart.key}.svg": chart for chart in report.charts if chart.is_key}
    written = Written(folder / "report.html", folder / "report.json", folder / "report.data.txt", tuple(pictures))
    for path in set(folder.glob("report.*.svg")) - set(pictures):
        path.unlink()
    _replace(written.html, render(report))
    _replace(written.json, json.dumps(as_plain(report), ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    _replace(written.data, data.as_text(evidence))
    for path, chart in pictures.items():
        _replace(path, picture(chart.spec))
    return written


def _replace(path: Path, text: str) -> None:
    """Write beside the file and rename, so that a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
