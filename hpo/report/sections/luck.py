"""How much of the champion's score is luck: overfitting, deflation, shrinkage, and how often the holdout was opened."""

from __future__ import annotations

import math

import numpy as np

from hpo.charts.axes import Axis
from hpo.charts.bars import column_chart
from hpo.charts.plots import Series, line_chart
from hpo.report import formatting
from hpo.report.document import Block, Chart, Column, Fact, Section, Table
from hpo.report.evidence import CampaignEvidence
from hpo.report.findings import Findings

NUM_BINS = 12

RANKING_SENTENCES = (
    (0.1, "Whichever half of the days chooses, its winner is ahead on the other half too: the ranking is real."),
    (0.4, "The ranking of the trials holds only partly from one half of the days to the other."),
    (1.1, "The winner of one half of the days is an average trial on the other: the ranking is mostly luck."),
)
"""What a probability of overfitting below each limit means."""


def build(evidence: CampaignEvidence, findings: Findings) -> Section:
    """The section; parts that too few trials or days allow no word on are absent."""
    blocks: list[Block] = [
        *_overfitting_facts(findings),
        *_deflated_facts(findings),
        *_shrinkage_facts(evidence, findings),
        _openings(evidence),
        *_logits(findings),
        *_shrinkage_chart(evidence, findings),
        *_leaders(evidence, findings),
    ]
    return Section("luck", "How much is luck", _lead(findings), blocks)


def _lead(findings: Findings) -> str:
    """What the figures say together."""
    said = []
    if findings.overfitting:
        probability = findings.overfitting.probability
        said.append(next(sentence for limit, sentence in RANKING_SENTENCES if probability < limit))
    if findings.deflated:
        deflated = findings.deflated
        beyond = "above" if deflated.ratio > deflated.hurdle else "not above"
        said.append(
            f"The champion's mean over its spread, {formatting.score(deflated.ratio, 3)}, is {beyond} the "
            f"{formatting.score(deflated.hurdle, 3)} that the best of {deflated.num_trials:,} without signal would "
            "show."
        )
    return " ".join(said)


def _overfitting_facts(findings: Findings) -> list[Fact]:
    found = findings.overfitting
    if found is None:
        return []
    method = f"{found.num_trials:,} complete trials; CSCV, {found.num_blocks} blocks"
    source = f"runs/*/daily, {findings.metric.name}, {method}"
    return [
        Fact(
            "overfitting_probability",
            "probability of overfitting",
            found.probability,
            formatting.percent(found.probability),
            source,
            f"{found.num_trials:,} complete trials, {found.num_days} days; 50 % is pure luck",
        )
    ]


def _deflated_facts(findings: Findings) -> list[Fact]:
    found = findings.deflated
    if found is None:
        return []
    source = f"runs/*/daily, {findings.metric.name}, all {found.num_trials:,} trials tried; deflated ratio"
    overlap = f"labels over {findings.metric.overlap} days overlap"
    return [
        Fact(
            "deflated_probability",
            "deflated score",
            found.probability,
            formatting.probability(found.probability),
            source,
            "probability that the champion's true score is above zero, the number tried allowed for",
        ),
        Fact(
            "trials_tried",
            "trials tried",
            {"tried": found.num_trials, "effective": found.effective_trials, "correlation": found.mean_correlation},
            f"{found.num_trials:,}",
            source,
            f"equivalent to {found.effective_trials:,.0f} independent trials; mean correlation of two "
            f"{formatting.score(found.mean_correlation, 2)}",
        ),
        Fact(
            "effective_days",
            "validation days",
            {"days": found.num_days, "effective": found.effective_days},
            f"{found.num_days}",
            source,
            f"equivalent to {found.effective_days:.0f} independent days: {overlap}",
        ),
    ]


def _shrinkage_facts(evidence: CampaignEvidence, findings: Findings) -> list[Fact]:
    found = findings.shrinkage
    if found is None or evidence.holdout is None:
        return []
    rank = (
        ""
        if math.isnan(found.rank_correlation)
        else f"; rank correlation of the two {formatting.score(found.rank_correlation, 2)}"
    )
    return [
        Fact(
            "shrinkage",
            f"kept of the top {found.num_leaders}",
            found,
            formatting.percent(found.kept),
            f"{evidence.holdout.source} over runs/*/daily, mean {findings.metric.name}",
            f"validation {formatting.score(found.validation)}, holdout {formatting.score(found.holdout)}{rank}",
        )
    ]


def _openings(evidence: CampaignEvidence) -> Fact:
    number = evidence.num_holdout_openings
    if number == 0:
        note = "nothing has been measured on it"
    elif number <= 2:
        note = "for the champion and for this page: nothing was chosen by it"
    else:
        note = "each look that leads to another choice makes its intervals a little too hopeful"
    source = "table hpo.campaign, column num_holdout_openings"
    return Fact("holdout_openings", "holdout opened", number, formatting.count(number, "time"), source, note)


def _logits(findings: Findings) -> list[Chart]:
    found = findings.overfitting
    if found is None:
        return []
    ranks = 1 / (1 + np.exp(-found.logits))
    shares = np.histogram(ranks, bins=NUM_BINS, range=(0, 1))[0] / len(ranks)
    edges = [f"{(n + 0.5) / NUM_BINS:.0%}".replace("%", "") for n in range(NUM_BINS)]
    title = "Where the best of one half stands on the other"
    return [
        Chart(
            "cscv_ranks",
            title,
            column_chart(
                f"Share of halvings by relative rank; {formatting.percent(found.probability)} are in the lower half",
                "relative rank on the other half, % (100: best)",
                "share of halvings",
                edges,
                shares.tolist(),
            ),
            {"relative_rank": edges, "share": shares},
            f"runs/*/daily, {findings.metric.name}; {len(ranks):,} ways to halve {found.num_blocks} blocks of days",
            "Flat: choosing was luck. All at the right: the best is the best on any days.",
        )
    ]


def _shrinkage_chart(evidence: CampaignEvidence, findings: Findings) -> list[Chart]:
    if len(findings.leaders) < 2 or evidence.holdout is None:
        return []
    title = f"Validation and holdout of the top {len(findings.leaders)}"
    champion = findings.champion.slot if findings.champion else 0
    validation = [(float(n), leader.validation) for n, leader in enumerate(findings.leaders, 1)]
    holdout = [(float(n), leader.holdout) for n, leader in enumerate(findings.leaders, 1)]
    return [
        Chart(
            "shrinkage",
            title,
            line_chart(
                "Mean scores of the leaders in order of their validation score",
                Axis("place by validation score", low=0.8, high=len(findings.leaders) + 0.2, whole=True),
                Axis(f"mean {findings.metric.shown}"),
                [Series("validation", "muted thick", validation), Series("holdout", "accent thick", holdout)],
                zero=True,
            ),
            {"champion_slot": champion, "leaders": findings.leaders},
            f"runs/*/daily and {evidence.holdout.source}, mean {findings.metric.name}",
            "The gap between the two lines is selection bias.",
            is_key=True,
        )
    ]


def _leaders(evidence: CampaignEvidence, findings: Findings) -> list[Table]:
    if not findings.leaders or evidence.holdout is None:
        return []
    rows = []
    for leader in findings.leaders:
        trial = evidence.trial(leader.slot)
        changed = {} if trial is None else _changed(evidence, dict(trial.settings))
        row = {"slot": leader.slot, "validation": leader.validation, "holdout": leader.holdout, "settings": changed}
        rows.append(row)
    champion = findings.champion.slot if findings.champion else None
    return [
        Table(
            "leaders",
            "The leaders",
            [
                Column("slot", "trial", kind="slot"),
                Column("validation", "validation", formatting.score),
                Column("holdout", "holdout", formatting.score),
                Column("settings", "differs from the default in", formatting.settings, kind="long"),
            ],
            rows,
            f"runs/*/daily, runs/*/config.json and {evidence.holdout.source}, mean {findings.metric.name}",
            emphasised=frozenset(n for n, row in enumerate(rows) if row["slot"] == champion),
        )
    ]


def _changed(evidence: CampaignEvidence, settings: dict[str, object]) -> dict[str, object]:
    default = evidence.default.settings if evidence.default else {}
    return {name: value for name, value in settings.items() if default.get(name) != value}
