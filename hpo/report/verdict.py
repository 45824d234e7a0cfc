"""The verdict: which sentence a campaign has earned, by explicit rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hpo.report.formatting import between, percent, score
from hpo.report.statistics.deflation import DeflatedScore
from hpo.report.statistics.intervals import Interval

CONFIDENCE = 0.95
"""A deflated probability below this is not evidence, where validation days are all there is."""

CONFIDENCE_BESIDE_HOLDOUT = 0.975
"""The same where there is a holdout. It is asked as well, with 2.5 % error on the side that counts, so that a market
without signal is given another verdict than "nothing found" in 5 % of campaigns."""


class Finding(StrEnum):
    """What was found; `hpo report` prints these words in its JSON."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    DEFAULT_WINS = "default_wins"
    CONTENDER_WINS = "contender_wins"
    UNCOMPARED = "uncompared"
    UNCONFIRMED = "unconfirmed"
    NOTHING = "nothing"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Verdict:
    """finding: the rule that applied; sentence: what a person is told; basis: which days it stands on; advice: what to
    deploy, empty where there is nothing to say yet. recommended: whether that is what the campaign ends with."""

    finding: Finding
    sentence: str
    basis: str
    advice: str = ""
    recommended: bool = False


@dataclass(frozen=True)
class Rival:
    """Somebody else on the same holdout days. holdout: of its mean; lead: its mean less the champion's, paired.

    Where several contenders are judged at once, their intervals are that much wider: together they hold with 95 %.
    """

    name: str
    holdout: Interval | None
    lead: Interval | None


def judge(
    *,
    metric: str,
    holdout: Interval | None,
    deflated: DeflatedScore | None,
    gain: Interval | None,
    champion_is_default: bool,
    num_tried: int,
    has_zero: bool = True,
    deployed: str = "the champion",
    contenders: Sequence[Rival] = (),
) -> Verdict:
    """The verdict on a champion. The rules, in order; the first that applies decides.

    1. A contender (trained without a search) is better on the same holdout days, its paired interval above zero, and
       its own above zero too: CONTENDER_WINS, the best of them.
    2. Is there anything? With a holdout: its interval lies above zero (the champion was not chosen on those days, so
       the number tried does not matter there). Without: the deflated probability is at least 95 %. If not: UNCONFIRMED
       where the validation score survives deflation (with 97.5 %, as two questions share the error) and only the
       holdout does not bear it out; else NOTHING. Not asked where the metric has no value that a model without skill
       would have (has_zero).
    3. The champion is the default configuration: DEFAULT_WINS.
    4. The paired difference to the default on the same days (of the holdout; without one, of the validation with an
       interval that allows for the choice): above zero BETTER, below zero WORSE, else SAME. No difference
       could be computed: UNCOMPARED.

    holdout: of the mean of what would be deployed, which `deployed` names. gain: the same minus default. num_tried:
    trials with a score, pruned included.
    """
    basis = "holdout" if holdout else "validation"
    winner = _winner(contenders)
    if holdout and winner:
        return _for_contender(winner, deployed, basis)
    needed = CONFIDENCE_BESIDE_HOLDOUT if holdout else CONFIDENCE
    survives = deflated is not None and deflated.probability >= needed
    if has_zero and not (holdout.above_zero if holdout else survives):
        return _nothing(metric, holdout, deployed, num_tried, survives, basis)
    if champion_is_default:
        sentence = f"no configuration of the {num_tried} tried beat the default, which stays"
        return Verdict(Finding.DEFAULT_WINS, sentence, basis, f"deploy the default{_beside(contenders)}", True)
    if gain is None:
        return Verdict(
            Finding.UNCOMPARED,
            f"the score of {deployed} is distinguishable from zero, but there is no finished default to compare it "
            "with",
            basis,
            f"deploy {deployed}{_beside(contenders)}",
            True,
        )
    return _against_default(gain, basis, deployed, contenders)


def _winner(contenders: Sequence[Rival]) -> Rival | None:
    """The best contender of those that are certainly ahead."""
    ahead = [c for c in contenders if c.lead and c.lead.above_zero and c.holdout and c.holdout.above_zero]
    return max(ahead, key=lambda c: c.lead.estimate if c.lead else 0.0, default=None)


def _for_contender(winner: Rival, deployed: str, basis: str) -> Verdict:
    """Rule 1."""
    assert winner.lead is not None, "a winner has a lead"
    size = f"{score(winner.lead.estimate, 3)} ({between(winner.lead, 3)})"
    sentence = (
        f"{winner.name}, without a search, is better than {deployed} by {size}, "
        f"{percent(winner.lead.level, 1)} interval on the same days ({basis})"
    )
    advice = f"{winner.name} is better by {size}: deploy that"
    return Verdict(Finding.CONTENDER_WINS, sentence, basis, advice)


def _nothing(
    metric: str, holdout: Interval | None, deployed: str, num_tried: int, survives: bool, basis: str
) -> Verdict:
    """Rule 2."""
    if holdout and survives:
        sentence = (
            f"not confirmed: the champion's validation {metric} is more than luck, but on the holdout {deployed} has "
            f"{score(holdout.estimate, 3)}, {percent(holdout.level)} interval {between(holdout, 3)}, "
            "which is not distinguishable from zero"
        )
        return Verdict(Finding.UNCONFIRMED, sentence, basis, "deploy nothing: not confirmed")
    sentence = (
        f"nothing found: no configuration's {metric} is distinguishable from zero after accounting for the "
        f"number tried ({num_tried})"
    )
    return Verdict(Finding.NOTHING, sentence, basis, "deploy nothing: nothing found")


def _against_default(gain: Interval, basis: str, deployed: str, contenders: Sequence[Rival]) -> Verdict:
    """Rule 4."""
    size = score(abs(gain.estimate), 3)
    interval = f"{percent(gain.level)} interval {between(gain, 3)} on the same days ({basis})"
    beside = _beside(contenders)
    if gain.above_zero:
        sentence = f"better than the default by {size}, {interval}"
        return Verdict(Finding.BETTER, sentence, basis, f"deploy {deployed}{beside}", True)
    if gain.below_zero:
        sentence = f"worse than the default by {size}: keep the default; {interval}"
        return Verdict(Finding.WORSE, sentence, basis, f"deploy the default{beside}")
    sentence = (
        f"no configuration is distinguishable from the default: the difference of {deployed} is "
        f"{score(gain.estimate, 3)}, {interval}"
    )
    # Averaging needs no proof against one of its own members; a single choice does.
    better = deployed if deployed.startswith("the committee") and gain.estimate >= 0 else "the default"
    return Verdict(Finding.SAME, sentence, basis, f"deploy {better}{beside}", better == deployed)


def _beside(contenders: Sequence[Rival]) -> str:
    """Where the best of the contenders stands, if any was judged."""
    measured = [contender for contender in contenders if contender.lead]
    best = max(measured, key=lambda contender: contender.lead.estimate if contender.lead else 0.0, default=None)
    if best is None or best.lead is None:
        return ""
    what = "behind" if best.lead.below_zero else "not distinguishable"
    return f"; the best contender, {best.name}, is {what} ({score(best.lead.estimate, 3)}, {between(best.lead, 3)})"
