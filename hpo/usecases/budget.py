"""A budget in epochs: the trials it begins with, and those that what pruning saved pays for."""

from __future__ import annotations

from hpo.domain.campaign import Campaign, Outcome, SlotView
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.domain.ports import Ledger
from hpo.usecases.campaigns import length_of
from hpo.usecases.records import Records


def planned(config: SearchConfig) -> SearchConfig:
    """With the number of trials that a budget in epochs pays for where none is pruned. UsageError where that is not one
    whole trial."""
    if config.epochs is None:
        return config
    num_epochs = length_of(config).num_epochs
    if config.epochs < num_epochs:
        raise UsageError(
            f"epochs={config.epochs}: a single trial has {num_epochs} epochs; give that many or more (HPO_EPOCHS)."
        )
    return config.model_copy(update={"trials": config.epochs // num_epochs})


def affordable(ledger: Ledger, campaign: Campaign, config: SearchConfig) -> int:
    """How many further whole trials the epochs pay for that are left once every trial so far is done: 0 where the
    budget is one of trials.

    A trial that is not done counts as a whole one; so does one that failed, or trials that fail at once would be
    followed by others for ever.
    """
    if config.epochs is None:
        return 0
    num_epochs = length_of(config).num_epochs
    used = sum(_used(slot, num_epochs) for slot in ledger.slots(campaign.id))
    return max(0, (config.epochs - used) // num_epochs)


def grown(stores: Records, campaign: Campaign, config: SearchConfig) -> tuple[Campaign, int]:
    """The campaign as it is now, after trials were added for what is left of its epochs, and how many those are. Of
    several sittings that end together one adds them."""
    with stores.ledger.exclusive(f"budget of {campaign.name}"):
        current = stores.find(campaign.name)
        more = affordable(stores.ledger, current, config)
        if more:
            current = stores.ledger.raise_budget(current.id, current.spec.budget + more)
        return current, more


def _used(slot: SlotView, num_epochs: int) -> int:
    counts = slot.outcome in (Outcome.COMPLETE, Outcome.PRUNED) and slot.epoch is not None
    return (slot.epoch or 0) if counts else num_epochs
