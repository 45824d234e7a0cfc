"""What `hpo finalize` left: whether the refitted models are deployed, and the file that scores for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo.domain.campaign import Campaign
from hpo.domain.errors import EnvironmentFault
from hpo.runs.durable import read_sealed, sha256_of
from hpo.usecases.records import Records

FOLDER = "finals"
"""In the state folder: one folder for each campaign, or `A+B` for several together."""
RECORD = "final.json"
"""In the folder of what was refitted: `of`, member -> SHA-256 of the trial it repeats; `accepted`; `deployed`, the
file that scores, relative to the folder, and `digest`, its SHA-256; `figures`; `handed_over`: whether it is registered,
where it should be."""


def folder_of(records: Records, name: str) -> Path:
    """Where what was trained again of `A` or `A+B` lies."""
    return records.home / FOLDER / name


def members_of(campaigns: Sequence[Campaign]) -> dict[str, str]:
    """Name -> SHA-256 of the campaigns' members as they are crowned now."""
    crowned = [campaign.crowned for campaign in campaigns]
    return {name: m.sha256 for champion in crowned if champion for name, m in champion.members.items()}


def is_finalized(records: Records, campaigns: Sequence[Campaign]) -> bool:
    """Whether the campaigns were finalized to the end as they are crowned now, whether or not the refitted models were
    accepted."""
    try:
        record = read_sealed(_folder(records, campaigns) / RECORD)
    except (FileNotFoundError, EnvironmentFault):
        return False
    return bool(record["of"] == members_of(campaigns) and record["handed_over"])


def final_file(records: Records, campaigns: Sequence[Campaign]) -> Path | None:
    """What scores for the finalized campaigns; None where they were not finalized as they are crowned now, or the
    refitted models were not accepted.

    Raises:
        EnvironmentFault: the record or the file is damaged.
    """
    folder = _folder(records, campaigns)
    try:
        record = read_sealed(folder / RECORD)
    except FileNotFoundError:
        return None
    if record["of"] != members_of(campaigns) or not record["accepted"]:
        return None
    deployed = folder / str(record["deployed"])
    if not deployed.is_file() or sha256_of(deployed) != record["digest"]:
        names = " ".join(campaign.name for campaign in campaigns)
        raise EnvironmentFault(f"{deployed} is missing or damaged; make it again with `hpo finalize {names}`.")
    return deployed


def final_fault(records: Records, campaign: Campaign) -> str | None:
    """What is wrong with what the campaign was finalized to, if it was."""
    try:
        final_file(records, [campaign])
    except EnvironmentFault as error:
        return str(error)
    return None


def _folder(records: Records, campaigns: Sequence[Campaign]) -> Path:
    return folder_of(records, "+".join(campaign.name for campaign in campaigns))
