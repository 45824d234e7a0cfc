"""What is known of campaigns on this machine: the ledger, and the files below the state folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.domain.campaign import Campaign
from hpo.domain.errors import UsageError, nearest
from hpo.domain.ports import ArtifactStore, Ledger, Tracker
from hpo.runs.archive import Archive
from hpo.runs.folder import campaign_folder
from hpo.runs.stored import StoredRuns

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


@dataclass(frozen=True)
class Records:
    """home: the state folder. artifacts: the store that run folders are uploaded to, None: they stay here."""

    home: Path
    ledger: Ledger
    artifacts: ArtifactStore | None = field(default=None, kw_only=True)

    @property
    def cache(self) -> Path:
        """Where prepared data lie."""
        return self.home / "cache"

    def find(self, name: str) -> Campaign:
        """The campaign of this name. UsageError if there is none, with the names there are."""
        campaign = self.ledger.find_campaign(name)
        if campaign is not None:
            return campaign
        names = [campaign.name for campaign in self.ledger.campaigns()]
        if not names:
            raise UsageError("There is no campaign yet; start one with `hpo run trials=20`.")
        raise UsageError(
            f"There is no campaign '{name}' (HPO_STUDY): there are {', '.join(names[:8])}.{nearest(name, names)}"
        )

    def runs(self, campaign: str) -> Path:
        """The campaign's folder of run folders."""
        return campaign_folder(self.home, campaign)

    def archive(self, campaign: Campaign) -> Archive:
        """The campaign's run folders as the ledger answers for them now."""
        return Archive(self.runs(campaign.name), self.ledger.checkpoints(campaign.id), self.stored(campaign))

    def stored(self, campaign: Campaign) -> StoredRuns | None:
        """The campaign's run folders in the store; None where there is no store."""
        if self.artifacts is None:
            return None
        return StoredRuns(self.artifacts, self.runs(campaign.name), f"runs/{unique_name([campaign])}")

    def check_store(self) -> None:
        """Raise StoreUnavailable, before anything is trained, where there is a store that cannot be used."""
        if self.artifacts is not None:
            self.artifacts.probe()


def unique_name(campaigns: Sequence[Campaign]) -> str:
    """What campaigns are called in a store that several databases may share: by their names, and when the ledger opened
    them."""
    born = "+".join(f"{campaign.name} {campaign.created_at}" for campaign in campaigns)
    names = "+".join(campaign.name for campaign in campaigns)
    return f"{names}-{hashlib.sha256(born.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Stores(Records):
    """The same with the other two stores, for what brings a campaign on or looks after it.

    storage: Optuna's. tracker: where the records are projected to.
    """

    storage: BaseStorage
    tracker: Tracker
