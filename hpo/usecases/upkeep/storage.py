"""Finished trials that lie on this machine and not in the store of artifacts: named, and uploaded."""

from __future__ import annotations

from hpo.domain.campaign import Campaign
from hpo.runs.folder import Attempt
from hpo.usecases.records import Records


def not_stored(records: Records, campaign: Campaign) -> list[int]:
    """The finished trials whose run folder is here, and not in the store. StoreUnavailable where that is away."""
    stored = records.stored(campaign)
    if stored is None:
        return []
    there, archive = stored.everything(), records.archive(campaign)
    finished = [record for record in archive.records if record.kind == "result"]
    return [each.slot for each in finished if not stored.has(each, there) and archive.path(each).is_file()]


def upload_rest(records: Records, campaign: Campaign) -> int:
    """Upload them; how many they were. StoreUnavailable where the store is away."""
    stored, archive = records.stored(campaign), records.archive(campaign)
    slots = not_stored(records, campaign)
    for slot in slots:
        record = archive.record(slot, "result")
        assert stored is not None, "there are trials that it does not have"
        assert record is not None, "a finished trial has one"
        stored.put_finished(Attempt(archive.path(record).parent))
    return len(slots)
