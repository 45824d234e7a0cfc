"""The answer first: the champion, its scores with their intervals, and how it compares with the default."""

from __future__ import annotations

from hpo.charts.bars import Whisker, interval_chart
from hpo.report import formatting
from hpo.report.document import Block, Chart, Column, Fact, Section, Table
from hpo.report.evidence import CampaignEvidence, TrialEvidence
from hpo.report.findings import Findings
from hpo.report.statistics.intervals import Interval


def build(evidence: CampaignEvidence, findings: Findings) -> Section:
    """The section; without a champion only what is missing."""
    champion = findings.champion
    if champion is None:
        return Section("answer", "The answer", "The search has no champion yet; what it has done so far follows below.")
    facts = [
        Fact(
            "champion",
            "champion",
            {"trial": champion.slot, "optuna_trial": champion.trial_number, "tier": champion.tier},
            f"trial {champion.slot}",
            "table hpo.campaign, column champion",
            f"tier {champion.tier}, {formatting.count(champion.num_parameters)} parameters",
        ),
        *_score_facts(evidence, findings, champion),
    ]
    blocks: list[Block] = [*facts, *_intervals(evidence, findings, champion), _parameters(evidence, champion)]
    return Section("answer", "The answer", _lead(findings), blocks)


def _lead(findings: Findings) -> str:
    basis = {
        "holdout": "The verdict rests on the holdout: days that played no part in selection.",
        "validation": "There is no holdout result: the verdict rests on validation days, adjusted for selection.",
    }
    return basis.get(findings.verdict.basis, "")


def _daily_source(trial: TrialEvidence, metric: str) -> str:
    return f"runs/{trial.folder}/daily, {metric}, mean of the score's epochs"


def _score_facts(evidence: CampaignEvidence, findings: Findings, champion: TrialEvidence) -> list[Fact]:
    metric = findings.metric.shown
    daily = _daily_source(champion, findings.metric.name)
    facts = [
        _interval_fact("validation", f"validation {metric}", findings.validation, f"{daily}; cosine estimator"),
    ]
    holdout_source = evidence.holdout.source if evidence.holdout else ""
    if findings.holdout:
        source = f"{holdout_source}, {findings.metric.name}; cosine estimator"
        facts.append(_interval_fact("holdout", f"holdout {metric} of {findings.deployed}", findings.holdout, source))
    gain = findings.gain_holdout or findings.gain_validation
    if gain:
        source = f"{holdout_source or daily}; paired by day, trials {champion.slot} and {evidence.default_slot}"
        facts.append(_interval_fact("gain", f"gain over the default, {findings.verdict.basis}", gain, source))
    if findings.share_of_ceiling is not None:
        facts.append(
            Fact(
                "share_of_ceiling",
                "share of the ceiling",
                findings.share_of_ceiling,
                formatting.percent(findings.share_of_ceiling),
                f"{holdout_source}: champion over the planted market's own expectation, mean {findings.metric.name}",
                f"the best possible holdout {metric} is {formatting.score(findings.ceiling)}",
            )
        )
    return [*facts, *_belief(evidence, findings)]


def _belief(evidence: CampaignEvidence, findings: Findings) -> list[Fact]:
    """Whether all this could be luck, in one figure; the next section has the rest."""
    found, overfitting = findings.deflated, findings.overfitting
    if found is None:
        return []
    note = f"deflated score: that it is above zero, {formatting.count(found.num_trials, 'trial')} tried"
    if overfitting:
        note += f"; probability of overfitting {formatting.percent(overfitting.probability)}"
    source = f"runs/*/daily, {findings.metric.name}, all {formatting.count(found.num_trials, 'trial')} tried"
    return [
        Fact("believable", "more than luck", found.probability, formatting.probability(found.probability), source, note)
    ]


def _interval_fact(key: str, label: str, interval: Interval | None, source: str) -> Fact:
    if interval is None:
        return Fact(key, label, None, formatting.ABSENT, source, "too few days for an interval")
    note = f"{formatting.percent(interval.level)} interval {formatting.between(interval)}, {interval.num_days} days"
    return Fact(key, label, interval, formatting.score(interval.estimate), source, note)


def _intervals(evidence: CampaignEvidence, findings: Findings, champion: TrialEvidence) -> list[Block]:
    deployed = findings.deployed.removeprefix("the ")
    named = {
        "champion, validation, as it looks": (findings.validation, "muted"),
        "champion, validation, adjusted for selection": (findings.validation_adjusted, "accent"),
        f"{deployed}, holdout": (findings.holdout, "accent"),
        "default, holdout": (findings.default_holdout, "second"),
        "champion − default, validation, adjusted for selection": (findings.gain_validation, "accent"),
        f"{deployed} − default, holdout": (findings.gain_holdout, "accent"),
    }
    rows = [(name, interval, css) for name, (interval, css) in named.items() if interval]
    if not rows:
        return []
    title = f"Mean {findings.metric.shown}, {formatting.percent(rows[0][1].level)} intervals"
    whiskers = [Whisker(name, interval.estimate, interval.low, interval.high, css) for name, interval, css in rows]
    source = _daily_source(champion, findings.metric.name)
    source += f"; {evidence.holdout.source}" if evidence.holdout else ""
    return [
        Chart(
            "intervals",
            title,
            interval_chart(
                "; ".join(f"{n}: {formatting.with_interval(i)}" for n, i, _ in rows),
                findings.metric.shown,
                whiskers,
            ),
            {name: interval for name, interval, _ in rows},
            source,
            "The grey interval ignores that the champion was chosen for these very days; the ones below it do not.",
            is_key=True,
        )
    ]


def _parameters(evidence: CampaignEvidence, champion: TrialEvidence) -> Table:
    """The champion's settings beside the default's."""
    default = evidence.default.settings if evidence.default else {}
    tier_of = {name: tier.number for tier in reversed(evidence.tiers) for name in tier.dimensions}
    rows = [
        {"setting": name, "champion": value, "default": default.get(name), "tier": tier_of.get(name)}
        for name, value in champion.settings.items()
    ]
    return Table(
        "parameters",
        "The champion's parameters",
        [
            Column("setting", "setting", kind="text"),
            Column("champion", "champion"),
            Column("default", "default"),
            Column("tier", "tier"),
        ],
        rows,
        f"runs/{champion.folder}/config.json",
        emphasised=frozenset(n for n, row in enumerate(rows) if row["default"] not in (None, row["champion"])),
    )
