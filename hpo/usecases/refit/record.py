"""What `hpo finalize` left: whether the refitted models are deployed, and the file that scores for them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hpo.domain.campaign import Campaign
from hpo.domain.errors import EnvironmentFault
from hpo.runs.durable import read_sealed, sha256_of, writing
from hpo.runs.stored import fetch
from hpo.usecases.records import Records, unique_name

FOLDER = "finals"
"""In the state folder: one folder for each campaign, or `A+B` for several together."""
RECORD = "final.json"
"""In the folder of what was refitted: `of`, member -> SHA-256 of the trial it repeats; `accepted`; `deployed`, the
file that scores, relative to the folder, and `digest`, its SHA-256; `files`: all that it needs, relative -> SHA-256;
`figures`; `handed_over`: whether it is registered, where it should be."""


def folder_of(records: Records, name: str) -> Path:
    """Where what was trained again of `A` or `A+B` lies."""
    return records.home / FOLDER / name


def put_final(records: Records, campaigns: Sequence[Campaign]) -> None:
    """Upload what was trained again of these campaigns, where there is a store of artifacts. Before that the ledger
    keeps, with each champion, the digest of the record: what another machine has of it is older from now on.

    Raises:
        StoreUnavailable: the store is away.
    """
    if records.artifacts is None:
        return
    folder, prefix, name = _folder(records, campaigns), _prefix(campaigns), _name(campaigns)
    root = sha256_of(folder / RECORD)
    for campaign in campaigns:
        current = records.find(campaign.name)
        if current.crowned is not None and members_of([current]) == members_of([campaign]):
            plain = replace(current.crowned, finals={**current.crowned.finals, name: root}).as_plain()
            with suppress(ValueError):  # its budget was raised: it will crown anew
                records.ledger.complete_campaign(campaign.id, plain)
    digests = {**read_sealed(folder / RECORD)["files"], RECORD: root}
    records.artifacts.put({f"{prefix}/{each}.{digest}": folder / each for each, digest in digests.items()})


def bring_final(records: Records, campaigns: Sequence[Campaign]) -> None:
    """Fetch what was trained again of these campaigns on another machine, unless it is here as the ledger has it.

    Raises:
        EnvironmentFault: the store does not have it, or other bytes. StoreUnavailable: it is away.
    """
    crowned, name, prefix = campaigns[0].crowned, _name(campaigns), _prefix(campaigns)
    root = None if crowned is None else crowned.finals.get(name)
    folder = _folder(records, campaigns)
    here = folder / RECORD
    if records.artifacts is None or root is None or (here.is_file() and sha256_of(here) == root):
        return
    new = folder.parent / f".new-{uuid.uuid4().hex}"
    try:
        with writing(new):
            new.mkdir(parents=True)
        fetch(records.artifacts, {f"{prefix}/{RECORD}.{root}": (new / RECORD, root)})
        digests = read_sealed(new / RECORD)["files"]
        for each in digests:
            (new / each).parent.mkdir(parents=True, exist_ok=True)
        fetch(records.artifacts, {f"{prefix}/{each}.{sha}": (new / each, sha) for each, sha in digests.items()})
        for each in (*digests, RECORD):  # the record last
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            (new / each).replace(folder / each)
    except FileNotFoundError:
        raise EnvironmentFault(
            f"The models that `hpo finalize {name.replace('+', ' ')}` refitted on another machine are not in "
            f"{records.artifacts.where}; run it again, there or here."
        ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def places_of_finals(records: Records, campaign: Campaign) -> list[str]:
    """Where in the store lies what was trained again of the campaign, alone or together with others."""
    finals = campaign.crowned.finals if campaign.crowned else {}
    found = [[records.ledger.find_campaign(each) for each in name.split("+")] for name in finals]
    return [_prefix([each for each in campaigns if each is not None]) for campaigns in found]


def members_of(campaigns: Sequence[Campaign]) -> dict[str, str]:
    """Name -> SHA-256 of the campaigns' members as they are crowned now."""
    crowned = [campaign.crowned for campaign in campaigns]
    return {name: m.sha256 for champion in crowned if champion for name, m in champion.members.items()}


def is_finalized(records: Records, campaigns: Sequence[Campaign]) -> bool:
    """Whether the campaigns were finalized to the end as they are crowned now, whether or not the refitted models were
    accepted."""
    try:
        bring_final(records, campaigns)
        record = read_sealed(_folder(records, campaigns) / RECORD)
    except (FileNotFoundError, EnvironmentFault):
        return False
    return bool(record["of"] == members_of(campaigns) and record["handed_over"])


def final_file(records: Records, campaigns: Sequence[Campaign]) -> Path | None:
    """What scores for the finalized campaigns; None where they were not finalized as they are crowned now, or the
    refitted models were not accepted.

    Raises:
        EnvironmentFault: the record or the file is damaged, or neither here nor in the store of artifacts.
    """
    bring_final(records, campaigns)
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
    return folder_of(records, _name(campaigns))


def _name(campaigns: Sequence[Campaign]) -> str:
    return "+".join(campaign.name for campaign in campaigns)


def _prefix(campaigns: Sequence[Campaign]) -> str:
    """Their place in the store."""
    return f"{FOLDER}/{unique_name(campaigns)}"
