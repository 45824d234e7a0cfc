"""What a campaign ends with: the trials whose ranks are deployed, and the single one the search decided for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


def member_name(campaign: str, slot: int) -> str:
    """What a member is called everywhere, and asked for with `hpo compare`: `night#7`."""
    return f"{campaign}#{slot}"


@dataclass(frozen=True)
class Member:
    """A trial whose daily ranks count. epoch, sha256: of its checkpoint; weight: above zero, all add up to 1."""

    slot: int
    weight: float
    epoch: int
    sha256: str


@dataclass(frozen=True)
class Champion:
    """What is deployed, chosen without the holdout.

    slot: the single trial that the last tier decided for; None where no trial is complete, and then there are no
    members. source: `<study>#<trial>` of it; score: its validation score by objective, smoothed; last_epoch, sha256:
    of its checkpoint; run_folder: relative to the state folder. members: name -> member, one or more; with more than
    one, what is deployed is the mean of their daily ranks. rule: how members were chosen, a row of
    `hpo.usecases.committee.RULES`. finals: of what was trained again and uploaded, by the campaigns it is of (`night`,
    `night+day`) the SHA-256 of its record.
    """

    slot: int | None
    values: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    source: str | None = None
    score: float | None = None
    objective: str | None = None
    last_epoch: int | None = None
    run_folder: str | None = None
    sha256: str | None = None
    rule: str = "single"
    members: Mapping[str, Member] = field(default_factory=dict)
    finals: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_committee(self) -> bool:
        return len(self.members) > 1

    @property
    def slots(self) -> tuple[int, ...]:
        """Of the single champion and the members, in order."""
        single = () if self.slot is None else (self.slot,)
        return tuple(sorted({*single, *(member.slot for member in self.members.values())}))

    @property
    def weights(self) -> dict[str, float]:
        """Name -> weight."""
        return {name: member.weight for name, member in self.members.items()}

    def as_plain(self) -> dict[str, Any]:
        """Plain JSON, as the ledger keeps it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Champion:
        """The inverse of `as_plain`."""
        members = {name: Member(**member) for name, member in plain.get("members", {}).items()}
        return cls(**{**plain, "members": members})
