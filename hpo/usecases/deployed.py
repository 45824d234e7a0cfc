"""The file that scores for a campaign: the single champion's checkpoint, or the manifest of its committee."""

from __future__ import annotations

from pathlib import Path

from hpo.domain.campaign import Campaign
from hpo.domain.champion import Champion, Member
from hpo.domain.errors import EnvironmentFault
from hpo.runs.archive import Archive
from hpo.runs.durable import writing
from hpo.trainable.loading import load_trainable
from hpo.usecases.records import Records

JOINED = "committee.json"
"""Beside a campaign's slots."""


def deployed_file(records: Records, campaign: Campaign, champion: Champion) -> Path:
    """What the trainable scores with, every member's bytes compared with what was crowned. A committee's file is made
    from the ledger's record whenever it is asked for.

    Raises:
        EnvironmentFault: naming the first member whose checkpoint is not here, or is another file.
    """
    archive = records.archive(campaign)
    if not champion.is_committee:
        assert champion.slot is not None, "a champion with a member has a slot"
        return archive.model(champion.slot)
    files = member_files(records, campaign, champion)
    joined = records.runs(campaign.name) / JOINED
    with writing(joined):
        load_trainable(campaign.spec.trainable).join(files, champion.weights, joined)
    return joined


def member_files(records: Records, campaign: Campaign, champion: Champion) -> dict[str, Path]:
    """Name -> checkpoint. Raises as `deployed_file`."""
    archive = records.archive(campaign)
    return {name: _file(archive, name, member) for name, member in champion.members.items()}


def _file(archive: Archive, name: str, member: Member) -> Path:
    try:
        path = archive.model(member.slot)
    except EnvironmentFault as error:
        raise EnvironmentFault(f"The committee's member {name} cannot be loaded. {error}") from error
    record = archive.record(member.slot, "model")
    if record is not None and record.sha256 != member.sha256:
        raise EnvironmentFault(
            f"The committee's member {name} was crowned with the SHA-256 {member.sha256[:12]}, and the ledger has "
            f"{record.sha256[:12]} for its checkpoint."
        )
    return path
