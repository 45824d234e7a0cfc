"""What a campaign ends with: the trial that its last tier decided for, and the committee around it."""

from __future__ import annotations

from typing import Any

from hpo.domain.campaign import Campaign
from hpo.domain.champion import Champion, Member, member_name
from hpo.domain.config import CommitteeConfig
from hpo.domain.failures import INFEASIBLE
from hpo.domain.trainable import Trainable
from hpo.report.collect import mean_daily
from hpo.runs.archive import Archive
from hpo.trainable.loading import load_trainable
from hpo.usecases.committee import Candidate, select


def choose(campaign: Campaign, archive: Archive) -> Champion:
    """The champion of a campaign whose tiers are all decided. It knows nothing of the holdout, and reads records that
    no longer change: chosen again it is the same.

    Raises:
        EnvironmentFault: the checkpoint that the ledger recorded for the single champion is not here, or another file
            is in its place.
    """
    decision = campaign.decisions[len(campaign.spec.tiers)]
    slot = decision["slot"]
    if slot is None:
        return Champion(None, decision["values"], decision["reason"])
    model, record = archive.model(slot), archive.record(slot, "model")
    assert record is not None, "its file was just compared with it"
    search = campaign.spec.config["search"]
    settings = CommitteeConfig.model_validate(search.get("committee", {}))
    return Champion(
        slot,
        decision["values"],
        decision["reason"],
        source=decision["source"],
        score=decision["score"],
        objective=search["objective"],
        last_epoch=record.epoch,
        run_folder=str(model.parent.relative_to(archive.home)),
        sha256=record.sha256,
        rule=settings.rule,
        members=_members(campaign, archive, slot, settings),
    )


def _members(campaign: Campaign, archive: Archive, single: int, settings: CommitteeConfig) -> dict[str, Member]:
    """The committee by name, every member with the same weight; the single champion alone where ranks say nothing."""
    trainable, search = load_trainable(campaign.spec.trainable), campaign.spec.config["search"]
    slots: tuple[int, ...] = (single,)
    if trainable.averages and settings.rule != "single":
        own = trainable.parse(search["trainer"])
        length, objective = trainable.length(own), search["objective"]
        found = _candidates(archive, trainable, length.score_epochs, objective)
        if single in {candidate.slot for candidate in found}:
            slots = select(
                found,
                single,
                rule=settings.rule,
                size=settings.size,
                horizon=campaign.spec.objective.overlap,
                num_epochs=length.num_epochs,
            )
    records = {slot: archive.record(slot, "model") for slot in slots}
    return {
        member_name(campaign.name, slot): Member(slot, 1 / len(slots), record.epoch, record.sha256)
        for slot, record in records.items()
        if record is not None
    }


def _candidates(archive: Archive, trainable: Trainable[Any], score_epochs: int, objective: str) -> list[Candidate]:
    """The finished trials whose recorded checkpoint and validation series are here."""
    found = []
    for slot in sorted({record.slot for record in archive.records if record.kind == "model"}):
        attempt = archive.attempt(slot)
        result = attempt.result() if attempt is not None else None
        if attempt is None or result is None or result.score is None or not archive.is_kept(slot):
            continue
        if str(result.reason).startswith(INFEASIBLE):
            continue
        epochs = [record.epoch for record in attempt.epochs()]
        daily = mean_daily(attempt, epochs[-score_epochs:], trainable)
        if objective in daily:
            found.append(Candidate(slot, result.outcome, result.score, len(epochs), daily[objective]))
    return found
