"""Pictures of the search: learning curves, history, importances, parallel coordinates, slices, time line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from hpo.charts.axes import Axis
from hpo.charts.bars import bar_chart
from hpo.charts.campaign_plots import MOST_ROWS, Bar, Setting, Trial, parallel_chart, timeline_chart
from hpo.charts.plots import Curve, Curves, Dot, Dots, Series, curve_chart, scatter_chart
from hpo.domain.campaign import Outcome
from hpo.report import formatting
from hpo.report.document import Chart, anchor
from hpo.report.evidence import CampaignEvidence, TrialEvidence
from hpo.report.findings import Findings
from hpo.report.importance import importances

MOST_CURVES = 120
"""Learning curves, and lines across the parallel coordinates, that are drawn of each kind: evenly chosen by score."""

SCORE = "score"
"""The last of the parallel coordinates."""

RESULTS = "runs/*/result.json and runs/*/config.json"
CURVES = "runs/*/metrics.jsonl, score by epoch"


def build(evidence: CampaignEvidence, findings: Findings) -> list[Chart]:
    """All charts that the evidence allows."""
    scored = [trial for trial in evidence.trials if trial.score is not None]
    if not scored:
        return []
    return [
        _learning_curves(evidence, findings),
        _history(evidence, findings, scored),
        *_importances(evidence),
        *_parallel(evidence, findings, scored),
        *_slices(evidence, findings, scored),
        *_timeline(evidence, findings),
    ]


def _says(trial: TrialEvidence, metric: str) -> dict[str, str | float | None]:
    """What hovering tells of a trial."""
    return {"trial": str(trial.slot), "outcome": trial.outcome and trial.outcome.value, metric: trial.score}


def _curve(trial: TrialEvidence, findings: Findings) -> Curve:
    points = [(float(epoch.epoch), epoch.score) for epoch in trial.epochs]
    return Curve(points, _says(trial, findings.metric.shown), anchor(trial.slot))


def _dot(trial: TrialEvidence, findings: Findings, x: float | str, **more: str | float | None) -> Dot:
    return Dot(x, trial.score or 0.0, {**_says(trial, findings.metric.shown), **more}, anchor(trial.slot))


def _sample(trials: Sequence[TrialEvidence]) -> list[TrialEvidence]:
    """At most MOST_CURVES of them, evenly over their scores."""
    ranked = sorted(trials, key=lambda trial: trial.score or 0.0)
    every = max(1, -(-len(ranked) // MOST_CURVES))
    return ranked[::-1][::every]


def _learning_curves(evidence: CampaignEvidence, findings: Findings) -> Chart:
    title = "Learning curves"
    special = {evidence.champion_slot, evidence.default_slot}
    by_outcome = {
        outcome: _sample([t for t in evidence.trials if t.outcome is outcome and t.epochs and t.slot not in special])
        for outcome in (Outcome.PRUNED, Outcome.COMPLETE)
    }
    groups = [
        Curves("complete", "muted faint", [_curve(t, findings) for t in by_outcome[Outcome.COMPLETE]]),
        Curves("pruned (×)", "second faint", [_curve(t, findings) for t in by_outcome[Outcome.PRUNED]], ends=True),
    ]
    if evidence.default and evidence.default is not evidence.champion:
        groups.append(Curves("default", "ink dashed", [_curve(evidence.default, findings)]))
    if evidence.champion:
        groups.append(Curves("champion", "accent thick", [_curve(evidence.champion, findings)]))
    groups = [group for group in groups if group.curves]
    data = {
        str(t.slot): {"outcome": t.outcome, "score": [e.score for e in t.epochs]}
        for t in evidence.trials
        if t.epochs and t.outcome in by_outcome
    }
    spec = curve_chart(
        "Validation score by epoch", Axis("epoch", whole=True), Axis(f"validation {findings.metric.shown}"), groups
    )
    drawn = sum(len(group.curves) for group in groups)
    note = "" if drawn == len(data) else f"{drawn} of {len(data)} curves drawn, evenly chosen by score."
    return Chart("learning_curves", title, spec, data, CURVES, note)


def _history(evidence: CampaignEvidence, findings: Findings, scored: Sequence[TrialEvidence]) -> Chart:
    title = "History"
    shown = {
        outcome: [_dot(t, findings, float(t.slot)) for t in scored if t.outcome is outcome]
        for outcome in (Outcome.PRUNED, Outcome.COMPLETE)
    }
    complete = [(float(dot.x), dot.y) for dot in shown[Outcome.COMPLETE]]
    best = list(zip((x for x, _ in complete), accumulate((y for _, y in complete), max), strict=True))
    spec = scatter_chart(
        "Score of every trial in order of slots, and the best so far",
        Axis("trial", whole=True),
        Axis(findings.metric.shown),
        [
            Dots("pruned, last epoch", "second faint", shown[Outcome.PRUNED], crossed=True),
            Dots("complete", "muted", shown[Outcome.COMPLETE]),
        ],
        [Series("best so far", "accent", best)],
    )
    rows = [{"slot": t.slot, "tier": t.tier, "outcome": t.outcome, "score": t.score} for t in scored]
    first = {
        tier.number: min((t.slot for t in evidence.trials if t.tier == tier.number), default=0)
        for tier in evidence.tiers
    }
    begins = ", ".join(f"{tier.name} from trial {first[tier.number]}" for tier in evidence.tiers if first[tier.number])
    return Chart("history", title, spec, rows, RESULTS, f"Tiers: {begins}.")


def _importances(evidence: CampaignEvidence) -> list[Chart]:
    """Per tier as the tier's decision has them, and over all complete trials."""
    charts = []
    for tier in evidence.tiers:
        shares = (tier.decision or {}).get("importances") or {}
        if shares:
            charts.append(
                _importance_chart(
                    f"importance_{tier.number}",
                    f"Importance in tier {tier.number}, {tier.name}",
                    shares,
                    "table hpo.tier, column decision, importances",
                )
            )
    complete = evidence.completed()
    overall = importances(complete, evidence.log_settings)
    if overall:
        charts.append(
            _importance_chart(
                "importance_all",
                f"Importance over all {len(complete)} complete trials",
                overall,
                f"{RESULTS}; PED-ANOVA, best quarter",
            )
        )
    return charts


def _importance_chart(key: str, title: str, shares: Mapping[str, float], source: str) -> Chart:
    percents = [100 * share for share in shares.values()]
    spec = bar_chart("Share of what separates the best quarter from the rest", "share, %", list(shares), percents)
    return Chart(key, title, spec, dict(shares), source, "From few trials this is a hint, not a measurement.")


def _coordinate(value: Any) -> float | str:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _varying(evidence: CampaignEvidence, scored: Sequence[TrialEvidence]) -> list[Setting]:
    """Settings with at least two values among the trials."""
    names = dict.fromkeys(name for trial in scored for name in trial.settings)
    found = []
    for name in names:
        values = tuple(_coordinate(t.settings[name]) for t in scored if t.settings.get(name) is not None)
        if len(set(values)) > 1:
            found.append(Setting(name, values, name in evidence.log_settings))
    return found


def _parallel(evidence: CampaignEvidence, findings: Findings, scored: Sequence[TrialEvidence]) -> list[Chart]:
    complete = [trial for trial in scored if trial.outcome is Outcome.COMPLETE]
    settings = _varying(evidence, complete)
    if len(settings) < 2:
        return []
    scores = tuple(trial.score or 0.0 for trial in complete)
    settings.append(Setting(SCORE, scores))
    ranked = sorted(complete, key=lambda trial: -(trial.score or 0.0))
    num_best = max(1, len(ranked) // 10)
    lines = {
        t.slot: {
            **{s.name: _coordinate(t.settings[s.name]) for s in settings if s.name in t.settings},
            SCORE: t.score or 0.0,
        }
        for t in complete
    }
    champion = [evidence.champion] if evidence.champion in complete else []

    def drawn(trials: Sequence[TrialEvidence]) -> list[Trial]:
        return [Trial(lines[t.slot], _says(t, findings.metric.shown), anchor(t.slot)) for t in trials]

    groups = [
        ("other complete trials", "muted faint", drawn(_sample(ranked[num_best:]))),
        ("best tenth", "second faint", drawn([t for t in _sample(ranked[:num_best]) if t not in champion])),
        ("champion", "accent thick", drawn([t for t in champion if t])),
    ]
    title = "Parallel coordinates"
    spec = parallel_chart("One line per complete trial across its settings to its score", settings, groups)
    data = [{"slot": t.slot, **lines[t.slot]} for t in ranked]
    return [Chart("parallel", title, spec, data, RESULTS, size="wide")]


def _slices(evidence: CampaignEvidence, findings: Findings, scored: Sequence[TrialEvidence]) -> list[Chart]:
    """Score against each setting. Pruned trials count with their last score."""
    charts = []
    for setting in _varying(evidence, scored):
        present = [trial for trial in scored if trial.settings.get(setting.name) is not None]
        at = partial(_at, setting, findings)
        points = {
            outcome: [at(t) for t in present if t.outcome is outcome] for outcome in (Outcome.PRUNED, Outcome.COMPLETE)
        }
        chosen = findings.champion
        spec = scatter_chart(
            f"Score against {setting.name}; crosses were pruned",
            Axis("", "log" if setting.is_log and not setting.categories else "linear"),
            Axis(findings.metric.shown),
            [
                Dots("", "second faint", points[Outcome.PRUNED], crossed=True),
                Dots("", "muted", points[Outcome.COMPLETE]),
                Dots("", "accent", [at(chosen)] if chosen in present else [], big=True),
            ],
            small=True,
            categories=setting.categories,
        )
        data = [{"slot": t.slot, "value": t.settings[setting.name], "score": t.score} for t in present]
        charts.append(Chart(f"slice_{setting.name}", setting.name, spec, data, RESULTS, size="small"))
    return charts


def _at(setting: Setting, findings: Findings, trial: TrialEvidence) -> Dot:
    value = _coordinate(trial.settings[setting.name])
    place = setting.category(value) if setting.categories else value
    return _dot(trial, findings, place, **{setting.name: value})


def _timeline(evidence: CampaignEvidence, findings: Findings) -> list[Chart]:
    looks = {Outcome.COMPLETE: "accent", Outcome.PRUNED: "second", Outcome.FAILED: "third"}
    timed = [t for t in evidence.trials if t.started_at and t.finished_at and t.outcome]
    if not timed:
        return []
    begin = min(t.started_at for t in timed if t.started_at)
    bars = [
        Bar(
            t.worker or "worker",
            (t.started_at - begin).total_seconds(),
            (t.finished_at - begin).total_seconds(),
            t.outcome.value,
            {**_says(t, findings.metric.shown), "worker": t.worker, "seconds": round(t.seconds, 1)},
            anchor(t.slot),
        )
        for t in timed
        if t.started_at and t.finished_at and t.outcome
    ]
    title = "Time line of the workers"
    keys = [(looks[outcome], outcome.value) for outcome in Outcome if any(t.outcome is outcome for t in timed)]
    spec = timeline_chart("When each worker trained which trial", bars, keys)
    data = [
        {"slot": t.slot, "worker": t.worker, "started_at": t.started_at, "finished_at": t.finished_at} for t in timed
    ]
    hidden = len({bar.row for bar in bars}) - MOST_ROWS
    note = f"{formatting.count(hidden, 'more worker')} not drawn." if hidden > 0 else ""
    return [Chart("timeline", title, spec, data, "table hpo.slot, columns started_at and finished_at", note, "wide")]
