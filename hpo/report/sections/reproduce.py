"""Reproduce it: command, seeds, versions, fingerprints, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping

from hpo.report import formatting
from hpo.report.document import Column, Section, Table
from hpo.report.evidence import CampaignEvidence
from hpo.report.findings import Findings


def build(evidence: CampaignEvidence, findings: Findings) -> Section:
    """The section."""
    champion = findings.champion
    rows = [
        _row("command", evidence.command, "table hpo.campaign, column config, less what is a default"),
        _row("campaign seed", evidence.seed, "table hpo.campaign, column seed"),
        _row("champion's training seed", champion.trainer_seed if champion else None, "runs/*/run.json"),
        _row("champion's run folder", champion.folder if champion else None, "table hpo.slot, column run_folder"),
        _row("data", evidence.data_source, "table hpo.campaign, column config"),
        *[
            _row(f"{k} fingerprint", v, "table hpo.campaign, column fingerprints")
            for k, v in evidence.fingerprints.items()
        ],
        *[_row(name, text, "where the report was made") for name, text in evidence.environment.items()],
        *[
            _row(name.replace("_", "-"), _joined(value), "the prepared panel")
            for name, value in evidence.data_summary.items()
            if name != "source"
        ],
    ]
    columns = [
        Column("what", "what", kind="text"),
        Column("value", "value", kind="text"),
        Column("where", "taken from", kind="text"),
    ]
    table = Table(
        "reproduction",
        "What it takes",
        columns,
        [row for row in rows if row["value"] not in ("", None)],
        "the places named in its last column",
    )
    config = Table(
        "configuration",
        "The campaign's configuration",
        [Column("setting", "setting", kind="text"), Column("value", "value", kind="text")],
        [{"setting": name, "value": value} for name, value in _flat(evidence.config).items()],
        "table hpo.campaign, column config",
    )
    lead = "With one worker the same command gives the same parameters and scores, bit for bit on a CPU."
    return Section("reproduce", "Reproduce it", lead, [table, config] if evidence.config else [table])


def _row(what: str, value: object, where: str) -> dict[str, object]:
    return {"what": what, "value": value, "where": where}


def _joined(value: object) -> object:
    return "; ".join(map(str, value)) if isinstance(value, list) and value and isinstance(value[0], str) else value


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings by dotted name."""
    found: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = formatting.value(value)
    return found
