"""What both ledgers refuse, in the same words."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hpo.domain.campaign import CampaignSpec, CheckpointRecord, Claim, Outcome, SlotState, SlotView
from hpo.domain.errors import LeaseLost, Unfinished, UsageError


def plain_json(value: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The value as a reader of the ledger will get it back: lists for tuples, words for keys.

    Raises:
        ValueError: it is not JSON; NaN and infinity are not.
    """
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the {what} cannot be kept as JSON: {error}") from error
    return plain


def check_spec(spec: CampaignSpec) -> None:
    """ValueError unless the tiers are numbered 1..n and carry different names."""
    numbers = [tier.number for tier in spec.tiers]
    names = {tier.name for tier in spec.tiers}
    if not numbers or numbers != list(range(1, len(numbers) + 1)) or len(names) != len(numbers):
        raise ValueError(f"campaign {spec.name}: tiers must be numbered 1..n and named differently, not {spec.tiers}")


def check_result(claim: Claim, outcome: Outcome, score: float | None) -> None:
    """ValueError unless a slot may end like this: a finished trial has a finite score."""
    if score is not None and not math.isfinite(score):
        raise ValueError(f"slot {claim.slot}: the score {score} is not a number; a trial without one is FAILED")
    if score is None and outcome is not Outcome.FAILED:
        raise ValueError(f"slot {claim.slot}: a {outcome} trial needs a score; one without is FAILED")


def check_checkpoint(claim: Claim, record: CheckpointRecord) -> None:
    """ValueError unless the record is about the claimed slot and of a known kind."""
    if record.slot != claim.slot:
        raise ValueError(f"a checkpoint of slot {record.slot} cannot be recorded with the claim on slot {claim.slot}")
    if record.kind not in ("model", "result", "snapshot"):
        raise ValueError(f"slot {claim.slot}: a recorded file is 'model', 'result' or 'snapshot', not '{record.kind}'")


def lease_lost(claim: Claim) -> LeaseLost:
    return LeaseLost(f"Slot {claim.slot} is not held by claim {claim.fence} any more.")


def rebound(claim: Claim, bound: int, trial_number: int) -> ValueError:
    return ValueError(f"slot {claim.slot} owns trial {bound} for ever; it cannot be bound to trial {trial_number}")


def bound_elsewhere(claim: Claim, trial_number: int) -> ValueError:
    return ValueError(f"trial {trial_number} belongs to another slot of tier {claim.tier} than {claim.slot}")


def check_pause(claim: Claim, epoch: int) -> None:
    """ValueError unless a training may pause there: an epoch is what it goes on after."""
    if epoch < 1:
        raise ValueError(f"slot {claim.slot}: a trial is paused after an epoch, not after {epoch}")


def not_begun(claim: Claim) -> ValueError:
    return ValueError(f"slot {claim.slot} has no trial yet; there is nothing to pause")


def unfinished(what: str, count: int) -> Unfinished:
    return Unfinished(f"{what}: {count} slots are not done")


def not_failed(slots: Collection[int]) -> ValueError:
    return ValueError(f"not all of the slots {sorted(slots)} are FAILED; no other can be tried again")


def made_by_code(slots: Sequence[SlotView]) -> list[int]:
    """Numbers of the slots that hold what the campaign's code has made: a result, or epochs that a trial goes on from.
    With other code they could not be compared with the rest. A failed trial holds nothing."""
    return [
        view.slot
        for view in slots
        if view.state in (SlotState.RUNNING, SlotState.PAUSED)
        or (view.outcome is not Outcome.FAILED and (view.outcome or view.epoch))
    ]


def check_code(slots: Sequence[SlotView], code: str | None) -> None:
    """ValueError where a campaign with these slots cannot go on with other code."""
    if code is not None and (made := made_by_code(slots)):
        raise ValueError(f"the slots {made} hold what the code before has made; other code cannot go on with them")


def no_campaign(campaign_id: int) -> ValueError:
    return ValueError(f"there is no campaign with the id {campaign_id}")


def no_tier(campaign_id: int, tier: int) -> ValueError:
    return ValueError(f"campaign {campaign_id} has no tier {tier}")


def with_epochs(config: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """A campaign's frozen configuration with another budget in epochs, the one setting that may grow."""
    return {**config, "search": {**config["search"], "epochs": epochs}}


def budget_too_small(name: str, budget: int, asked: int) -> UsageError:
    return UsageError(
        f"The campaign '{name}' already has {budget} trials; HPO_TRIALS={asked} would take some away. "
        f"Give {budget} or more, or choose another HPO_STUDY."
    )


def worked_on(name: str) -> UsageError:
    """The refusal to delete what somebody works on."""
    return UsageError(
        f"Somebody works on the campaign '{name}'; stop it with Ctrl-C (or wait until its lease has run out, where its "
        "machine is gone), and delete it then."
    )
