"""A worker: claim a slot, keep its lease while the trial runs, finish it, take the next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from hpo.domain.campaign import Campaign, CampaignState, Claim, WorkerIdentity
from hpo.domain.config import WorkerConfig
from hpo.domain.errors import LeaseLost, StoreUnavailable, Unfinished
from hpo.domain.ports import Clock, Ledger
from hpo.engine.objective import Objective

IDLE = timedelta(seconds=0.5)
"""First pause before asking again when the rest of the tier is running elsewhere. Each pause is twice the one before,
up to the time between two renewals, so that a thousand idle workers leave the database to those that work."""
RENEWALS_PER_LEASE = 4

logger = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews a claim in the background; `lost` is set once the slot is somebody else's."""

    def __init__(self, ledger: Ledger, claim: Claim, lease: timedelta) -> None:
        self._ledger, self._claim, self._lease = ledger, claim, lease
        self._ended = threading.Event()
        self.lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._ended.wait(self._lease.total_seconds() / RENEWALS_PER_LEASE):
            try:
                self._ledger.renew(self._claim, self._lease)
            except LeaseLost:
                self.lost.set()
                return
            except StoreUnavailable as error:
                # The trial trains on; whether the slot is still ours is decided when the database is back.
                logger.warning("lease of slot %d not renewed: %s", self._claim.slot, error)


class Worker:
    """Works on one campaign until nothing is left to do, or it is told to drain."""

    def __init__(
        self,
        ledger: Ledger,
        objective: Objective,
        campaign: Campaign,
        identity: WorkerIdentity,
        settings: WorkerConfig,
        clock: Clock,
        is_dead: Callable[[WorkerIdentity], bool],
        drain: threading.Event,
    ) -> None:
        self._ledger, self._objective, self._campaign = ledger, objective, campaign
        self._settings, self._clock, self._is_dead, self._drain = settings, clock, is_dead, drain
        self._worker_id = ledger.register_worker(campaign.id, identity)
        self._pause = IDLE

    def run(self) -> None:
        """Return when the campaign has no unfinished slot, or after `drain` was set."""
        try:
            while not self._drain.is_set():
                # First of all: what a dead worker left comes before anything new, so that one worker repeats the order.
                self._ledger.expire_dead(self._campaign.id, self._is_dead)
                claim = self._ledger.claim(self._campaign.id, self._worker_id, self._settings.lease)
                if claim is not None:
                    self._pause = IDLE
                    self._work(claim)
                elif not self._advance():
                    return
        finally:
            self._objective.close()

    def _work(self, claim: Claim) -> None:
        logger.info("slot %d (tier %d) claimed, fence %d", claim.slot, claim.tier, claim.fence)
        if claim.num_losses:
            logger.warning("slot %d lost %d workers in a row before it finished an epoch", claim.slot, claim.num_losses)
        started = self._clock.monotonic()
        limit = self._settings.trial_timeout

        with LeaseKeeper(self._ledger, claim, self._settings.lease) as keeper:

            def stop() -> bool:
                return self._drain.is_set() or keeper.lost.is_set()

            def overdue() -> bool:
                return limit is not None and self._clock.monotonic() - started > limit.total_seconds()

            try:
                self._objective.run(claim, stop, overdue)
            except LeaseLost:
                logger.warning("slot %d belongs to another worker now; its trial here was stopped", claim.slot)

    def _advance(self) -> bool:
        """Decide a finished tier, or wait for those who finish it. False: nothing is left to do."""
        campaign = self._ledger.find_campaign(self._campaign.name)
        if campaign is None or campaign.state is CampaignState.COMPLETE:
            return False
        unfinished = self._ledger.unfinished_tiers(campaign.id)
        for tier in campaign.spec.tiers:
            if tier.number in unfinished:
                break
            if tier.number not in campaign.decisions:
                with suppress(Unfinished):  # somebody has raised the budget since we looked
                    self._ledger.decide_tier(campaign.id, tier.number, self._objective.decide(campaign, tier.number))
                return True
        if not unfinished:
            return False
        self._drain.wait(self._pause.total_seconds())
        self._pause = min(2 * self._pause, self._settings.lease / RENEWALS_PER_LEASE)
        return True
