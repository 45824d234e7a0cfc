"""Members of finished campaigns trained again with more of the data: each kept in a folder of its own, so that what was
broken off goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.domain.campaign import Campaign, derive_seed
from hpo.domain.champion import Champion, Member
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.domain.settings import flatten, nest
from hpo.domain.trainable import Prepared, Trainable
from hpo.trainable.loading import load_trainable
from hpo.usecases.campaigns import frozen_config, prepare_data
from hpo.usecases.deployed import deployed_file
from hpo.usecases.records import Records
from hpo.usecases.refit.record import folder_of

LONGEST = 200

Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """A finished campaign among those that are trained again."""

    campaign: Campaign
    champion: Champion
    trainable: Trainable[Any]
    prepared: Prepared
    unrefitted: Path

    @property
    def holdout(self) -> Path:
        assert self.prepared.holdout is not None, "asked when the part was made"
        return self.prepared.holdout


def open_parts(records: Records, names: Sequence[str]) -> list[Part]:
    """The campaigns, each with what it deploys.

    Raises:
        UsageError: one is not complete, has no champion or no holdout, or they do not train the same thing.
    """
    if len(set(names)) < len(names):
        raise UsageError(f"{' '.join(names)}: a campaign is named twice; name each once.")
    parts = [_open(records, records.find(name)) for name in names]
    for part in parts[1:]:
        if part.trainable.name != parts[0].trainable.name or not part.trainable.averages:
            raise UsageError(
                f"The campaigns '{parts[0].campaign.name}' and '{part.campaign.name}' cannot end in one committee: "
                "their scores are not averaged by ranks."
            )
    return parts


def _open(records: Records, campaign: Campaign) -> Part:
    champion = campaign.crowned
    if champion is None or champion.slot is None:
        raise UsageError(
            f"The campaign '{campaign.name}' has no champion yet; finish it with `hpo resume study={campaign.name}`."
        )
    config, _ = frozen_config(campaign)
    prepared = prepare_data(records.cache, config)
    if prepared.fingerprint != campaign.spec.fingerprints["data"]:
        raise UsageError(
            f"The data of the campaign '{campaign.name}' are not those it was run on any more; put them back, or run a "
            "campaign on the new ones."
        )
    if prepared.holdout is None:
        raise UsageError(f"The campaign '{campaign.name}' has no holdout, so that nothing could be judged on it.")
    trainable = load_trainable(campaign.spec.trainable)
    return Part(campaign, champion, trainable, prepared, deployed_file(records, campaign, champion))


def label(parts: Sequence[Part]) -> str:
    """What the parts are called together. UsageError where that is too long for a folder."""
    joined = "+".join(part.campaign.name for part in parts)
    if len(joined) > LONGEST:
        raise UsageError(f"The campaigns' names are too long together ({len(joined)} letters); name fewer.")
    return joined


class Refits:
    """Trains all members again with `num_seeds` seeds each, the first of which is the member's own."""

    def __init__(self, records: Records, parts: Sequence[Part], num_seeds: int, say: Say) -> None:
        self._records, self._parts, self._num_seeds, self._say = records, parts, num_seeds, say
        self.folder = folder_of(records, label(parts))
        self.made_of: dict[Path, list[Path]] = {}
        """What scores -> all files that it needs, itself among them."""

    @property
    def num_members(self) -> int:
        """Models of one committee."""
        return self._num_seeds * sum(len(part.champion.members) for part in self._parts)

    def committee(self, known: int) -> Path:
        """What scores after training on all that was known before unit `known` of the holdout. Members that are
        trained already are not trained again; each campaign counts the same."""
        files: dict[str, Path] = {}
        weights: dict[str, float] = {}
        for part in self._parts:
            for name, member in part.champion.members.items():
                for number in range(self._num_seeds):
                    refitted = f"{name}/{number + 1}" if self._num_seeds > 1 else name
                    files[refitted] = self._refit(part, member, number, known, len(files) + 1)
                    weights[refitted] = member.weight / self._num_seeds / len(self._parts)
        target = next(iter(files.values()))
        if len(files) > 1:
            target = self.folder / f"known-{known:05d}-seeds-{self._num_seeds}.json"
            self._parts[0].trainable.join(files, weights, target)
        self.made_of[target] = sorted({*files.values(), target})
        return target

    def _refit(self, part: Part, member: Member, number: int, known: int, place: int) -> Path:
        settings = self._settings(part, member.slot, number)
        name = f"{part.campaign.name}-{member.slot:04d}-{number + 1}"
        folder = self.folder / f"known-{known:05d}" / name
        folder.mkdir(parents=True, exist_ok=True)
        self._say(
            f"  {place} of {self.num_members}: trial {member.slot} of {part.campaign.name}, {known} holdout days known"
        )
        return part.trainable.refit(settings, part.prepared, known, member.epoch, folder)

    def _settings(self, part: Part, slot: int, number: int) -> Any:
        archive = self._records.archive(part.campaign)
        attempt = archive.intact(slot)
        if attempt is None:
            raise EnvironmentFault(archive.whereabouts(slot))
        plain = flatten(attempt.config())
        seeds = [name for name, what in part.trainable.follows.items() if what == "seed"]
        if number:
            plain.update({name: derive_seed(plain[name], "refit", number) for name in seeds})
        return part.trainable.parse(nest(plain))
