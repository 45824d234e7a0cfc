"""What failures say: of a trial, or of what the search stands on; which are tried again, and when to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from hpo.domain.campaign import Outcome, SlotState, SlotView
from hpo.domain.errors import EnvironmentFault, HpoError, UsageError

RETRIABLE = ("error", "poison", "out_of_memory", "rank_lost", "timeout")
"""Reasons that may lie in the code or the machine: such slots can be tried again. The others (`non_finite`,
`missing_metric`, `does_not_fit`) are what the configuration itself came to."""
INFEASIBLE = "infeasible"
"""First word of the reason of a trial that was trained and breaks a constraint of the space: it is not chosen."""
SUSPECT = 3
"""Lost workers in a row, without an epoch finished in between, from which on a trial is named."""
ALIKE = 3
"""Trials that fail alike, before any other has ended, after which the rest of the budget is spared."""


def word(slot: SlotView) -> str:
    """The stable word of a slot's reason."""
    return str(slot.reason).partition(":")[0]


def is_infeasible(slot: SlotView) -> bool:
    """Whether the slot's trial has a score, and breaks a constraint."""
    return word(slot) == INFEASIBLE


def is_choosable(slot: SlotView) -> bool:
    """Whether the slot's trial is complete and keeps the constraints."""
    return slot.outcome is Outcome.COMPLETE and not is_infeasible(slot)


def retriable(slots: Sequence[SlotView]) -> list[int]:
    """Numbers of the slots that can be tried again."""
    return [slot.slot for slot in slots if slot.outcome is Outcome.FAILED and word(slot) in RETRIABLE]


def hopeless(study: str, slots: Sequence[SlotView], before: Collection[int] = ()) -> HpoError | None:
    """What a sitting ends with where every trial so far has failed: all of the campaign's, or at least ALIKE of this
    sitting's and for one reason. before: the slots that were done when the sitting began."""
    done = [slot for slot in slots if slot.state is SlotState.DONE]
    if not done or any(slot.outcome is not Outcome.FAILED for slot in done):
        return None
    new = [slot for slot in done if slot.slot not in before]
    is_alike = len(new) >= ALIKE and len({word(slot) for slot in new}) == 1
    if len(done) < len(slots) and not is_alike:
        return None
    ((commonest, count),) = Counter(map(word, done)).most_common(1)
    example = next(slot for slot in done if word(slot) == commonest)
    said = f"All {len(done)} trials of the campaign '{study}' so far failed, {count} of them with '{commonest}'"
    if len(done) < len(slots):
        said += ", and the others were not tried"
    said += f". Trial {example.slot}: {str(example.reason).rstrip('.')}."
    if commonest in RETRIABLE:
        remedy = f"Mend the cause, then give them another try: `hpo resume study={study} --retry-failed`."
        return EnvironmentFault(f"{said} {remedy}")
    return UsageError(f"{said} Start another campaign with other settings or data (HPO_STUDY=...).")


def suspects(slots: Sequence[SlotView]) -> list[SlotView]:
    """Unfinished slots whose workers were lost again and again."""
    return [slot for slot in slots if slot.state is not SlotState.DONE and slot.num_losses >= SUSPECT]


def suspicion(slot: SlotView) -> str:
    """What to make of such a slot."""
    return (
        f"Trial {slot.slot} has lost {slot.num_losses} workers in a row without finishing an epoch; if it takes them "
        f"down (memory?), give it up with worker.max_losses={slot.num_losses}."
    )
