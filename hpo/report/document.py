"""A report before it has a form: facts, tables and charts in sections, each naming what it was taken from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

import numpy as np

from hpo.charts.looks import Spec
from hpo.report import formatting


@dataclass(frozen=True)
class Fact:
    """One figure. value: for machines; text: for people; source: the table or file it came from, and how."""

    key: str
    label: str
    value: Any
    text: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Column:
    """One column of a table. kind: numbers are aligned to the right; long text keeps a readable width; a slot, or
    several, lead to the trial's row."""

    key: str
    label: str
    show: Callable[[Any], str] = formatting.value
    kind: Literal["number", "text", "long", "slot"] = "number"


@dataclass(frozen=True)
class Table:
    """Rows of values by column key; a missing key is an empty cell. emphasised: positions of rows that stand out.
    is_index: its column `slot` is where links to a trial lead; a long list, folded until it is asked for."""

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    source: str
    note: str = ""
    emphasised: frozenset[int] = frozenset()
    is_index: bool = False


@dataclass(frozen=True)
class Chart:
    """What is drawn (a Vega-Lite specification) and the numbers it was made from. size: one of a few, the whole width,
    or one of many. is_key: it is also written as a picture of its own, which MLflow and optuna-dashboard show."""

    key: str
    title: str
    spec: Spec
    data: Any
    source: str
    note: str = ""
    size: Literal["normal", "wide", "small"] = "normal"
    is_key: bool = False


Block = Fact | Table | Chart


def anchor(slot: int) -> str:
    """The address, within the page, of a trial's row."""
    return f"#trial-{slot}"


@dataclass(frozen=True)
class Section:
    """lead: what the section says, in a sentence or two."""

    key: str
    title: str
    lead: str
    blocks: Sequence[Block] = ()

    @property
    def facts(self) -> list[Fact]:
        return [block for block in self.blocks if isinstance(block, Fact)]

    @property
    def tables(self) -> list[Table]:
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def charts(self) -> list[Chart]:
        return [block for block in self.blocks if isinstance(block, Chart)]


@dataclass(frozen=True)
class Report:
    """verdict: the sentence everything else supports; finding: the rule it came from; advice: what to deploy;
    recommended: whether that is what the campaign ends with; doubt: why none of it is to be believed. advice and doubt
    may be empty."""

    campaign: str
    finding: str
    verdict: str
    subtitle: str
    sections: Sequence[Section]
    created_at: datetime
    version: str
    links: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""
    recommended: bool = False
    doubt: str = ""

    @property
    def charts(self) -> list[Chart]:
        return [chart for section in self.sections for chart in section.charts]


def as_plain(report: Report) -> dict[str, Any]:
    """The report as plain JSON values: no picture, every figure with its `source`; absent numbers are null."""
    return {
        "campaign": report.campaign,
        "finding": report.finding,
        "verdict": report.verdict,
        "advice": report.advice,
        "recommended": report.recommended,
        "doubt": report.doubt,
        "created_at": report.created_at.isoformat(),
        "version": report.version,
        "links": dict(report.links),
        "sections": {section.key: _section(section) for section in report.sections},
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "lead": section.lead,
        "facts": {
            fact.key: {"label": fact.label, "value": plain(fact.value), "source": fact.source} for fact in section.facts
        },
        "tables": {
            table.key: {
                "title": table.title,
                "rows": [{c.key: plain(row.get(c.key)) for c in table.columns} for row in table.rows],
                "source": table.source,
            }
            for table in section.tables
        },
        "charts": {
            chart.key: {"title": chart.title, "data": plain(chart.data), "source": chart.source}
            for chart in section.charts
        },
    }


def plain(anything: Any) -> Any:
    """A value as JSON knows it; NaN and infinity become null, floats keep six significant digits."""
    match anything:
        case None | bool() | str():
            return anything
        case np.ndarray():
            return plain(anything.tolist())
        case np.generic():
            return plain(anything.item())
        case int():
            return anything
        case float():
            return float(f"{anything:.6g}") if math.isfinite(anything) else None
        case date():
            return anything.isoformat()
        case Mapping():
            return {str(key): plain(item) for key, item in anything.items()}
        case Sequence() | set() | frozenset():
            return [plain(item) for item in anything]
        case _ if dataclasses.is_dataclass(anything) and not isinstance(anything, type):
            return plain({f.name: getattr(anything, f.name) for f in dataclasses.fields(anything)})
        case _:
            raise TypeError(f"a report holds plain values, not {type(anything).__name__}")
