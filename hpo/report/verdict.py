"""The verdict: which sentence a campaign has earned, by explicit rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hpo.report.statistics.deflation import DeflatedScore
from hpo.report.statistics.intervals import Interval
from hpo.report.words import between, percent, score

CONFIDENCE = 0.95
"""A deflated probability below this is not evidence."""


class Finding(StrEnum):
    """What was found; `hpo report` prints these words in its JSON."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    DEFAULT_WINS = "default_wins"
    UNCOMPARED = "uncompared"
    UNCONFIRMED = "unconfirmed"
    NOTHING = "nothing"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Verdict:
    """finding: the rule that applied; sentence: what a person is told; basis: which days it stands on."""

    finding: Finding
    sentence: str
    basis: str


def judge(
    *,
    metric: str,
    holdout: Interval | None,
    deflated: DeflatedScore | None,
    gain: Interval | None,
    champion_is_default: bool,
    num_tried: int,
    has_zero: bool = True,
) -> Verdict:
    """The verdict on a champion. The rules, in order; the first that applies decides.

    1. Is there anything? With a holdout: its interval lies above zero (the champion was not chosen on those days, so
       the number tried does not matter there). Without: the deflated probability is at least 95 %. If not: UNCONFIRMED
       where the validation score survives deflation and only the holdout does not bear it out; else NOTHING. Not asked
       where the metric has no value that a model without skill would have (has_zero).
    2. The champion is the default configuration: DEFAULT_WINS.
    3. The paired difference to the default on the same days (of the holdout; without one, of the validation with an
       interval that allows for the choice): above zero BETTER, below zero WORSE, else SAME. No difference
       could be computed: UNCOMPARED.

    holdout: of the champion's mean. gain: of champion minus default. num_tried: trials with a score, pruned included.
    """
    basis = "holdout" if holdout else "validation"
    survives = deflated is not None and deflated.probability >= CONFIDENCE
    if has_zero and not (holdout.above_zero if holdout else survives):
        if holdout and survives:
            return Verdict(
                Finding.UNCONFIRMED,
                f"not confirmed: the champion's validation {metric} is more than luck, but on the holdout it is "
                f"{score(holdout.estimate, 3)}, {percent(holdout.level)} interval {between(holdout, 3)}, "
                "which is not distinguishable from zero",
                basis,
            )
        return Verdict(
            Finding.NOTHING,
            f"nothing found: no configuration's {metric} is distinguishable from zero after accounting for the "
            f"number tried ({num_tried})",
            basis,
        )
    if champion_is_default:
        return Verdict(
            Finding.DEFAULT_WINS, f"no configuration of the {num_tried} tried beat the default, which stays", basis
        )
    if gain is None:
        return Verdict(
            Finding.UNCOMPARED,
            "the champion's score is distinguishable from zero, but there is no finished default to compare it with",
            basis,
        )
    return _against_default(gain, basis)


def _against_default(gain: Interval, basis: str) -> Verdict:
    """Rule 3."""
    size = score(abs(gain.estimate), 3)
    interval = f"{percent(gain.level)} interval {between(gain, 3)} on the same days ({basis})"
    if gain.above_zero:
        return Verdict(Finding.BETTER, f"better than the default by {size}, {interval}", basis)
    if gain.below_zero:
        return Verdict(Finding.WORSE, f"worse than the default by {size}: keep the default; {interval}", basis)
    return Verdict(
        Finding.SAME,
        "no configuration is distinguishable from the default: the champion's difference is "
        f"{score(gain.estimate, 3)}, {interval}",
        basis,
    )
