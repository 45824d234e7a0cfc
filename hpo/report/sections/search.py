"""The search: what each tier decided and why, where the budget went, and what the trials looked like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hpo.domain.campaign import Outcome
from hpo.domain.failures import INFEASIBLE
from hpo.report import formatting
from hpo.report.document import Block, Column, Fact, Section, Table
from hpo.report.evidence import CampaignEvidence, TierEvidence, TrialEvidence
from hpo.report.findings import Findings
from hpo.report.sections import search_charts

MOST_ROWS = 25
"""Trials listed in the table of the best."""


def build(evidence: CampaignEvidence, findings: Findings) -> Section:
    """The section."""
    counts = evidence.outcomes()
    lead = (
        f"{formatting.count(len(evidence.trials), 'trial')} in {formatting.count(len(evidence.tiers), 'tier')}: "
        f"{counts['complete']:,} complete, {counts['pruned']:,} pruned, {counts['failed']:,} failed"
        + (f", {counts['unfinished']} not finished." if counts["unfinished"] else ".")
    )
    blocks: list[Block] = [
        *_cost_facts(evidence),
        _tiers(evidence),
        *_failures(evidence),
        *_infeasible(evidence),
        *_devices(evidence),
        *_by_parent(evidence, findings),
        _best(evidence, findings),
        *search_charts.build(evidence, findings),
        *_every(evidence, findings),
    ]
    return Section("search", "The search", lead, blocks)


def _cost_facts(evidence: CampaignEvidence) -> list[Fact]:
    spent = sum(trial.seconds for trial in evidence.trials)
    saved = sum(trial.seconds_saved for trial in evidence.trials)
    epochs = sum(len(trial.epochs) for trial in evidence.trials)
    skipped = sum(
        max(trial.planned_epochs - len(trial.epochs), 0) for trial in evidence.trials if trial.outcome is Outcome.PRUNED
    )
    source = "runs/*/metrics.jsonl, seconds and number of epochs"
    interruptions = sum(trial.num_interruptions for trial in evidence.trials)
    return [
        Fact("device_hours", "training time", spent / 3600, formatting.duration(spent), source, f"{epochs:,} epochs"),
        Fact(
            "device_hours_saved",
            "saved by pruning",
            saved / 3600,
            formatting.duration(saved),
            f"{source}; epochs not trained at each pruned trial's own pace",
            f"{formatting.count(skipped, 'epoch')} not trained, "
            f"{formatting.percent(saved / (saved + spent) if saved + spent else 0.0)} of the full cost",
        ),
        Fact(
            "interruptions",
            "interruptions survived",
            interruptions,
            formatting.count(interruptions),
            "table hpo.slot, column fence",
            "times a trial was taken up again",
        ),
        *_pauses(evidence),
    ]


def _pauses(evidence: CampaignEvidence) -> list[Fact]:
    """Where the scheduler pauses trials at all."""
    number = sum(trial.num_pauses for trial in evidence.trials)
    source = "table hpo.slot, column pauses"
    said = "times the scheduler put a trial off; it went on after the same epoch"
    return [Fact("pauses", "pauses", number, formatting.count(number), source, said)] if number else []


def _tiers(evidence: CampaignEvidence) -> Table:
    return Table(
        "tiers",
        "What each tier decided, and why",
        [
            Column("tier", "tier", kind="text"),
            Column("trials", "trials"),
            Column("score", "score", formatting.score),
            Column("decided", "decided", formatting.settings, kind="long"),
            Column("why", "why", kind="long"),
        ],
        [_tier_row(tier) for tier in evidence.tiers],
        "table hpo.tier, column decision",
    )


def _tier_row(tier: TierEvidence) -> dict[str, Any]:
    decision = tier.decision or {}
    values: Mapping[str, Any] = decision.get("values") or {}
    return {
        "tier": f"{tier.number} {tier.name}",
        "trials": tier.num_slots,
        "score": decision.get("score"),
        "decided": {name: values[name] for name in tier.dimensions if name in values},
        "why": decision.get("reason", "not decided yet"),
    }


def _failures(evidence: CampaignEvidence) -> list[Table]:
    failed = [trial for trial in evidence.trials if trial.outcome is Outcome.FAILED]
    kinds = Counter((trial.reason or "unknown").split(":", 1)[0].strip() for trial in failed)
    if not failed:
        return []
    rows = [
        {
            "kind": kind,
            "trials": number,
            "slots": [trial.slot for trial in failed if (trial.reason or "unknown").startswith(kind)][:20],
            "example": next(
                trial.reason or "unknown" for trial in failed if (trial.reason or "unknown").startswith(kind)
            ),
        }
        for kind, number in kinds.most_common()
    ]
    columns = [
        Column("kind", "kind", kind="text"),
        Column("trials", "number"),
        Column("slots", "trials", kind="slot"),
        Column("example", "in its own words", kind="long"),
    ]
    return [Table("failures", "Failures by kind", columns, rows, "table hpo.slot, column reason")]


def _infeasible(evidence: CampaignEvidence) -> list[Table]:
    """Trials that have a score and may not be chosen."""
    start = f"{INFEASIBLE}: "
    rows = [
        {"trial": trial.slot, "score": trial.score, "broken": trial.reason.removeprefix(start)}
        for trial in evidence.trials
        if trial.reason is not None and trial.reason.startswith(start)
    ]
    columns = [
        Column("trial", "trial", kind="slot"),
        Column("score", "validation score", formatting.score),
        Column("broken", "breaks", kind="long"),
    ]
    title = "Trials that break a constraint, and cannot be chosen"
    return [Table("infeasible", title, columns, rows, "table hpo.slot, column reason")] if rows else []


def _devices(evidence: CampaignEvidence) -> list[Table]:
    """Where not all trials were trained alike, which of them on what."""
    found: dict[str, list[int]] = {}
    for trial in evidence.trials:
        if trial.device is not None:
            found.setdefault(trial.device, []).append(trial.slot)
    columns = [
        Column("device", "trained on", kind="long"),
        Column("number", "trials"),
        Column("trials", "which", kind="long"),
    ]
    rows = [
        {"device": device, "number": len(slots), "trials": ", ".join(map(str, slots))}
        for device, slots in sorted(found.items(), key=lambda row: -len(row[1]))
    ]
    title = "Trials were trained in different arithmetic: the same seed would not give the same bits"
    return [Table("devices", title, columns, rows, "runs/*/result.json, device")] if len(rows) > 1 else []


def _by_parent(evidence: CampaignEvidence, findings: Findings) -> list[Table]:
    """The best trial under each value of a setting on which it depends whether others exist."""
    rows = []
    choosable = [trial for trial in evidence.completed() if not str(trial.reason).startswith(INFEASIBLE)]
    for parent in evidence.parents:
        for value in dict.fromkeys(t.settings[parent] for t in evidence.trials if parent in t.settings):
            trials = [trial for trial in evidence.trials if trial.settings.get(parent) == value]
            best = next((trial for trial in choosable if trial.settings.get(parent) == value), None)
            rows.append(
                {
                    "setting": parent,
                    "value": value,
                    "trials": len(trials),
                    "complete": sum(trial.outcome is Outcome.COMPLETE for trial in trials),
                    "score": best and best.score,
                    "best": best and best.slot,
                }
            )
    columns = [
        Column("setting", "setting", kind="text"),
        Column("value", "value", kind="text"),
        Column("trials", "trials"),
        Column("complete", "complete"),
        Column("score", f"best {findings.metric.shown}", formatting.score),
        Column("best", "its trial", kind="slot"),
    ]
    title = "The best under each choice that other dimensions depend on"
    note = f"`hpo compare {evidence.name}#A {evidence.name}#B` compares two trials on the same days."
    source = "runs/*/result.json and runs/*/config.json"
    return [Table("by_parent", title, columns, rows, source, note)] if rows else []


def _best(evidence: CampaignEvidence, findings: Findings) -> Table:
    best = evidence.completed()[:MOST_ROWS]
    rows = [
        {
            "place": place,
            "slot": trial.slot,
            "tier": trial.tier,
            "score": trial.score,
            "epoch": trial.last_epoch,
            "parameters": trial.num_parameters,
            "seconds": trial.seconds,
            "settings": _changed(evidence, trial),
        }
        for place, trial in enumerate(best, 1)
    ]
    return Table(
        "best",
        f"The best {len(rows)} trials" if len(best) == MOST_ROWS else "Complete trials, best first",
        [
            Column("place", "place"),
            Column("slot", "trial", kind="slot"),
            Column("tier", "tier"),
            Column("score", findings.metric.shown, formatting.score),
            Column("epoch", "last epoch"),
            Column("parameters", "parameters", formatting.count),
            Column("seconds", "time", formatting.duration),
            Column("settings", "differs from the default in", formatting.settings, kind="long"),
        ],
        rows,
        "runs/*/result.json and runs/*/config.json",
        emphasised=frozenset(n for n, row in enumerate(rows) if row["slot"] == evidence.champion_slot),
    )


def _every(evidence: CampaignEvidence, findings: Findings) -> list[Table]:
    """All trials in order of their slots: where links to a trial lead."""
    rows = [
        {
            "slot": trial.slot,
            "tier": trial.tier,
            "outcome": trial.outcome.value if trial.outcome else "unfinished",
            "score": trial.score,
            "epochs": len(trial.epochs),
            "seconds": trial.seconds,
            "settings": _changed(evidence, trial),
            "folder": trial.folder or None,
        }
        for trial in evidence.trials
    ]
    columns = [
        Column("slot", "trial", kind="slot"),
        Column("tier", "tier"),
        Column("outcome", "outcome", kind="text"),
        Column("score", findings.metric.shown, formatting.score),
        Column("epochs", "epochs"),
        Column("seconds", "time", formatting.duration),
        Column("settings", "differs from the default in", formatting.settings, kind="long"),
        Column("folder", "folder", kind="text"),
    ]
    chosen = frozenset(n for n, row in enumerate(rows) if row["slot"] == evidence.champion_slot)
    source = "table hpo.slot, runs/*/result.json and runs/*/config.json"
    return (
        [Table("trials", f"All {len(rows)} trials", columns, rows, source, "", chosen, is_index=True)] if rows else []
    )


def _changed(evidence: CampaignEvidence, trial: TrialEvidence) -> dict[str, Any]:
    """The trial's settings that are not the default's."""
    default = evidence.default.settings if evidence.default else {}
    return {name: value for name, value in trial.settings.items() if default.get(name) != value}
