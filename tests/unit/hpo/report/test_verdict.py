"""The verdict's rules, one by one, and on whole campaigns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hpo.report import CampaignEvidence, analyse
from hpo.report.statistics.deflation import DeflatedScore
from hpo.report.statistics.intervals import Interval
from hpo.report.verdict import Finding, Verdict, judge

MakeCampaign = Callable[..., CampaignEvidence]


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, (high - low) / 4, 0.95, 250, 5.0)


def deflated(probability: float) -> DeflatedScore:
    return DeflatedScore(probability, 0.2, 0.1, 20, 20.0, 0.8, 250, 250.0)


def verdict(
    holdout: Interval | None = None,
    probability: float = 0.5,
    gain: Interval | None = None,
    champion_is_default: bool = False,
) -> Verdict:
    return judge(
        metric="rank_ic",
        holdout=holdout,
        deflated=deflated(probability),
        gain=gain,
        champion_is_default=champion_is_default,
        num_tried=20,
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
            "no configuration is distinguishable from the default: the champion's difference is 0.002, "
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
            verdict(AROUND, probability=0.99, gain=interval(0.002, 0.010)),
            Finding.UNCONFIRMED,
            "not confirmed: the champion's validation rank_ic is more than luck, but on the holdout it is 0.005, "
            "95 % interval −0.010 to 0.020, which is not distinguishable from zero",
        ),
        (
            verdict(ABOVE, champion_is_default=True),
            Finding.DEFAULT_WINS,
            "no configuration of the 20 tried beat the default, which stays",
        ),
        (
            verdict(ABOVE),
            Finding.UNCOMPARED,
            "the champion's score is distinguishable from zero, but there is no finished default to compare it with",
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
