"""The verdict's rules, one by one, and on whole campaigns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpo.ranking.metrics import with_derived
from hpo.report import CampaignEvidence, analyse, build_report, render, summary_lines
from hpo.report.statistics.deflation import DeflatedScore
from hpo.report.statistics.intervals import Interval
from hpo.report.verdict import Finding, Rival, Verdict, judge

MakeCampaign = Callable[..., CampaignEvidence]


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, (high - low) / 4, 0.95, 250, 16)


def deflated(probability: float) -> DeflatedScore:
    return DeflatedScore(probability, 0.2, 0.1, 20, 20.0, 0.8, 250, 250.0)


def verdict(
    holdout: Interval | None = None,
    probability: float = 0.5,
    gain: Interval | None = None,
    champion_is_default: bool = False,
    **more: Any,
) -> Verdict:
    return judge(
        metric="rank_ic",
        holdout=holdout,
        deflated=deflated(probability),
        gain=gain,
        champion_is_default=champion_is_default,
        num_tried=20,
        **more,
    )


ABOVE, AROUND = interval(0.01, 0.03), interval(-0.01, 0.02)


@pytest.mark.parametrize(
    ("found", "finding", "sentence"),
    [
        (
            verdict(ABOVE, gain=interval(0.002, 0.010)),
            Finding.BETTER,
            "better than the default by 0.006, 95 % interval 0.002 to 0.010 on the same days (holdout)",
        ),
        (
            verdict(ABOVE, gain=interval(-0.002, 0.006)),
            Finding.SAME,
            "no configuration is distinguishable from the default: the difference of the champion is 0.002, "
            "95 % interval −0.002 to 0.006 on the same days (holdout)",
        ),
        (
            verdict(ABOVE, gain=interval(-0.012, -0.004)),
            Finding.WORSE,
            "worse than the default by 0.008: keep the default; "
            "95 % interval −0.012 to −0.004 on the same days (holdout)",
        ),
        (
            verdict(AROUND, gain=interval(0.002, 0.010)),
            Finding.NOTHING,
            "nothing found: no configuration's rank_ic is distinguishable from zero after accounting for the number "
            "tried (20)",
        ),
        (
            verdict(AROUND, probability=0.97, gain=interval(0.002, 0.010)),
            Finding.NOTHING,
            "nothing found: no configuration's rank_ic is distinguishable from zero after accounting for the "
            "number tried (20)",
        ),
        (
            verdict(AROUND, probability=0.99, gain=interval(0.002, 0.010)),
            Finding.UNCONFIRMED,
            "not confirmed: the champion's validation rank_ic is more than luck, but on the holdout the champion "
            "has 0.005, 95 % interval −0.010 to 0.020, which is not distinguishable from zero",
        ),
        (
            verdict(ABOVE, champion_is_default=True),
            Finding.DEFAULT_WINS,
            "no configuration of the 20 tried beat the default, which stays",
        ),
        (
            verdict(ABOVE),
            Finding.UNCOMPARED,
            "the score of the champion is distinguishable from zero, but there is no finished default to compare it "
            "with",
        ),
        (
            verdict(None, probability=0.97, gain=interval(0.002, 0.010)),
            Finding.BETTER,
            "better than the default by 0.006, 95 % interval 0.002 to 0.010 on the same days (validation)",
        ),
        (
            verdict(None, probability=0.94, gain=interval(0.002, 0.010)),
            Finding.NOTHING,
            "nothing found: no configuration's rank_ic is distinguishable from zero after accounting for the number "
            "tried (20)",
        ),
    ],
)
def test_rules(found: Verdict, finding: Finding, sentence: str) -> None:
    assert found.finding is finding
    assert found.sentence == sentence


LIGHTGBM = "LightGBM with defaults"


def rival(low: float, high: float, own: Interval = ABOVE, name: str = LIGHTGBM) -> Rival:
    return Rival(name, own, interval(low, high))


@pytest.mark.parametrize(
    ("found", "finding", "advice"),
    [
        (
            verdict(ABOVE, gain=interval(0.002, 0.010), contenders=[rival(0.001, 0.007)]),
            Finding.CONTENDER_WINS,
            "LightGBM with defaults is better by 0.004 (0.001 to 0.007): deploy that",
        ),
        (
            verdict(AROUND, contenders=[rival(0.001, 0.007), rival(0.005, 0.009, name="ridge")]),
            Finding.CONTENDER_WINS,
            "ridge is better by 0.007 (0.005 to 0.009): deploy that",
        ),
        (
            verdict(AROUND, contenders=[rival(0.001, 0.007, own=AROUND)]),
            Finding.NOTHING,
            "deploy nothing: nothing found",
        ),
        (
            verdict(ABOVE, gain=interval(0.002, 0.010), contenders=[rival(-0.003, 0.001), rival(-0.009, -0.001)]),
            Finding.BETTER,
            "deploy the champion; the best contender, LightGBM with defaults, is not distinguishable (−0.001, −0.003 "
            "to 0.001)",
        ),
        (
            verdict(ABOVE, gain=interval(-0.002, 0.010), deployed="the committee of 9 trials"),
            Finding.SAME,
            "deploy the committee of 9 trials",
        ),
        (
            verdict(ABOVE, gain=interval(-0.010, 0.002), deployed="the committee of 9 trials"),
            Finding.SAME,
            "deploy the default",
        ),
        (verdict(ABOVE, gain=interval(-0.002, 0.010)), Finding.SAME, "deploy the default"),
        (verdict(ABOVE, gain=interval(-0.012, -0.004)), Finding.WORSE, "deploy the default"),
        (verdict(None, probability=0.97, contenders=[rival(0.001, 0.007)]), Finding.UNCOMPARED, None),
    ],
)
def test_what_to_deploy(found: Verdict, finding: Finding, advice: str | None) -> None:
    assert found.finding is finding
    assert advice is None or found.advice == advice
    is_ours = found.advice.startswith(("deploy the champion", "deploy the committee"))
    assert found.recommended is is_ours


def test_a_committee_is_what_is_judged(made_up: CampaignEvidence, committee_factory: MakeCampaign) -> None:
    campaign = committee_factory(made_up)
    found = analyse(campaign)

    assert found.holdout is not None
    assert campaign.holdout is not None
    assert campaign.holdout.committee is not None
    assert found.holdout.estimate == pytest.approx(float(np.nanmean(campaign.holdout.committee["rank_ic"])))
    assert found.deployed == f"the committee of {len(campaign.members)} trials"
    single, default = (campaign.holdout.daily[slot or 0]["rank_ic"] for slot in (campaign.champion_slot, 1))
    leads = {rival.name: rival.lead for rival in found.rivals}
    for name, series in (("the single champion", single), ("the default configuration", default)):
        lead = leads[name]
        assert lead is not None
        assert lead.estimate == pytest.approx(float(np.mean(series - campaign.holdout.committee["rank_ic"])), abs=1e-6)


def test_several_contenders_share_one_level(made_up: CampaignEvidence, committee_factory: MakeCampaign) -> None:
    """Each of ten is given a wider interval, so that luck is as rare among ten as with one."""
    assert made_up.holdout is not None
    series = made_up.holdout.daily[1]
    alone, many = (analyse(committee_factory(made_up, **{f"c{n}": series for n in range(count)})) for count in (1, 10))
    width = [
        next(r.lead.high - r.lead.low for r in found.rivals if r.name == "c0" and r.lead) for found in (alone, many)
    ]

    assert width[1] > 1.3 * width[0]
    assert list(alone.rivals) == sorted(alone.rivals, key=lambda r: -r.holdout.estimate if r.holdout else 0.0)


def test_null_markets_end_with_nothing_found(campaign_factory: MakeCampaign) -> None:
    findings = [analyse(campaign_factory(seed, gain=0.0, level=0.0)).verdict.finding for seed in range(20)]
    assert findings.count(Finding.NOTHING) >= 18


def test_a_better_configuration_is_named_with_its_gain(campaign_factory: MakeCampaign) -> None:
    found = analyse(campaign_factory(1, gain=0.02, level=0.04))
    assert found.verdict.finding is Finding.BETTER
    assert found.gain_holdout is not None
    assert found.gain_holdout.low <= 0.02 <= found.gain_holdout.high
    assert found.overfitting is not None
    assert found.overfitting.probability < 0.1
    assert found.champion is not None
    assert found.champion.slot == 20


def test_without_a_holdout_the_choice_is_allowed_for(made_up: CampaignEvidence) -> None:
    with_holdout, without = analyse(made_up), analyse(replace(made_up, holdout=None))
    assert without.verdict.basis == "validation"
    assert without.holdout is None
    assert without.gain_validation == with_holdout.gain_validation
    assert without.gain_validation is not None
    assert with_holdout.gain_holdout is not None
    width = without.gain_validation.high - without.gain_validation.low
    assert width > 1.2 * (with_holdout.gain_holdout.high - with_holdout.gain_holdout.low)


def test_an_unfinished_campaign_has_no_verdict(made_up: CampaignEvidence) -> None:
    found = analyse(replace(made_up, champion_slot=None))
    assert found.verdict.finding is Finding.UNFINISHED
    assert found.champion is None


def test_trials_on_other_days_are_not_compared(made_up: CampaignEvidence) -> None:
    odd = made_up.trials[1]
    shorter = replace(odd, daily={name: series[:-1] for name, series in odd.daily.items()})
    mixed = replace(made_up, trials=[made_up.trials[0], shorter, *made_up.trials[2:]])
    assert analyse(mixed).num_tried == analyse(made_up).num_tried - 1


def test_pruned_trials_count_as_tried_but_not_for_overfitting(made_up: CampaignEvidence) -> None:
    found, outcomes = analyse(made_up), made_up.outcomes()
    assert outcomes == {"complete": 13, "pruned": 6, "failed": 1, "unfinished": 0}
    assert found.num_tried == 19
    assert found.overfitting is not None
    assert found.overfitting.num_trials == 13


@pytest.mark.parametrize("objective", ["icir_5d", "rank_ic_5d", "rank_ic"])
def test_every_objective_has_its_own_name_and_a_verdict(campaign_factory: MakeCampaign, objective: str) -> None:
    campaign = campaign_factory(gain=0.04)
    chosen = next(metric for metric in campaign.metrics if metric.name == objective)
    trials = [replace(trial, daily=_derived(trial.daily)) for trial in campaign.trials]
    assert campaign.holdout is not None
    daily = {slot: _derived(series) for slot, series in campaign.holdout.daily.items()}
    holdout = replace(campaign.holdout, daily=daily)
    campaign = replace(campaign, objective=chosen, trials=trials, holdout=holdout)
    found = analyse(campaign)
    assert found.verdict.finding is Finding.BETTER
    assert found.holdout is not None
    assert found.holdout.estimate == pytest.approx(float(np.nanmean(daily[campaign.champion_slot or 0][objective])))
    said = "\n".join(summary_lines(campaign, found))
    assert f"Validation {chosen.shown}: " in said
    assert chosen.shown in {"ICIR, 5 days", "RankIC, 5 days", "RankIC"}
    others = {metric.shown for metric in campaign.metrics} - {chosen.shown}
    assert not any(f"Validation {other}: " in said for other in others)
    page = render(build_report(campaign))
    assert f"validation {chosen.shown}" in page
    assert objective == "rank_ic" or "validation RankIC<" not in page


def _derived(daily: Mapping[str, Any]) -> Mapping[str, Any]:
    return with_derived({name: series for name, series in daily.items() if name.endswith("d")})
