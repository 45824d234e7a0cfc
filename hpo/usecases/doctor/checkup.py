"""Has a campaign's stores examined and mended, and says what was found: `hpo doctor`, and the start of `hpo resume`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hpo.domain.campaign import Campaign, CampaignState
from hpo.domain.errors import EnvironmentFault, InvariantBroken, UsageError
from hpo.domain.failures import suspects, suspicion
from hpo.trainable.loading import load_trainable
from hpo.usecases import conclusion
from hpo.usecases.campaigns import frozen_config, prepare_data
from hpo.usecases.doctor.examination import Check, Doctor, Mendable
from hpo.usecases.host import Host
from hpo.usecases.records import Records, Stores
from hpo.usecases.refit.record import final_fault
from hpo.usecases.upkeep.storage import not_stored, upload_rest


def check_up(
    stores: Stores,
    host: Host,
    campaign: Campaign,
    say: Callable[[str], None],
    *,
    repair: bool,
    heard: Callable[[Mapping[str, Any]], None] | None = None,
) -> None:
    """Say every invariant with the number of things it was asked of; mend first where `repair`.

    heard: is told the same as plain JSON instead.

    Raises:
        InvariantBroken: something does not hold. StoreUnavailable: the store of artifacts cannot be used.
    """
    stores.check_store()
    doctor = _doctor(stores, host, campaign)
    done: list[str] = []
    if repair:
        done = [*doctor.repair(campaign.name), *_make_again(stores, host, campaign, say if heard is None else _nobody)]
    checks = [*doctor.examine(campaign.name), *_derived(stores, campaign)]
    if heard is not None:
        heard({"campaign": campaign.name, "repairs": done, "checks": [asdict(check) for check in checks]})
        say = _nobody
    for line in (done or ["nothing had to be mended"]) if repair else ():
        say(f"Repair: {line}.")
    for check in checks:
        say(f"{'BROKEN' if check.breaches else 'holds ':6}  {check.num_checked:6}  {check.rule}")
        for breach in check.breaches:
            say(f"                - {breach}")
    breaches = [breach for check in checks for breach in check.breaches]
    if breaches:
        raise InvariantBroken(
            f"The campaign '{campaign.name}' breaks {len(breaches)} of its invariants. {_remedy(campaign, breaches)}"
        )


def _nobody(line: str) -> None:
    """Hears a line, and does nothing."""


def _remedy(campaign: Campaign, breaches: Sequence[str]) -> str:
    """What helps: the repair where it mends something, and what it cannot mend."""
    num_mendable = sum(isinstance(breach, Mendable) for breach in breaches)
    rest = "What it cannot mend needs the named file, or the database, from a copy."
    if not num_mendable:
        return "None of it can be made again: it needs the named files, or the database, from a copy."
    command = f"`hpo doctor study={campaign.name} --repair`"
    if num_mendable == len(breaches):
        return f"{command} mends them."
    return f"{command} mends {num_mendable} of them. {rest}"


def _derived(records: Records, campaign: Campaign) -> list[Check]:
    """What can be made again from the run folders and the source of the data."""
    concluded, panel = conclusion.faults(records, campaign), _panel_faults(records, campaign)
    final = final_fault(records, campaign)
    return [
        Check("the report and the mark of the conclusion are whole", 1, tuple(map(Mendable, concluded))),
        Check("the prepared panel is whole", 1, tuple(map(Mendable, panel))),
        Check("the refitted models are whole", 1, () if final is None else (final,)),
        *([] if records.artifacts is None else [_stored(records, campaign)]),
    ]


def _stored(records: Records, campaign: Campaign) -> Check:
    """Whether a finished trial outlives this machine."""
    breaches = [Mendable(f"trial {slot} lies on this machine alone") for slot in not_stored(records, campaign)]
    return Check("finished trials are in the store of artifacts", campaign.spec.budget, tuple(breaches))


def _panel_faults(records: Records, campaign: Campaign) -> list[str]:
    """Of the campaign's panel in the cache, if it has been prepared here."""
    trainable = load_trainable(campaign.spec.trainable)
    return list(trainable.data_faults(records.cache, campaign.spec.fingerprints["data"]))


def _make_again(stores: Stores, host: Host, campaign: Campaign, say: Callable[[str], None]) -> list[str]:
    """Make again what `_derived` finds damaged; a sentence for everything that was done."""
    is_panel_damaged = bool(_panel_faults(stores, campaign))
    is_end_damaged = bool(conclusion.faults(stores, campaign))
    done = []
    try:
        num_uploaded = upload_rest(stores, campaign)
        if num_uploaded:
            done.append(f"{num_uploaded} trials were uploaded to the store of artifacts")
        if is_panel_damaged or is_end_damaged:
            config, _ = frozen_config(campaign)
            prepared = prepare_data(stores.cache, config)
        if is_panel_damaged:
            done.append("the prepared panel was built again")
        if is_end_damaged and campaign.state is CampaignState.COMPLETE:
            conclusion.conclude(stores, host, campaign, config, prepared, say)
        elif is_end_damaged:
            conclusion.report(stores, host, campaign, prepared, say)
        if is_end_damaged:
            done.append("the report was written again, and the campaign concluded as far as it goes")
    except (EnvironmentFault, UsageError) as error:
        say(f"Warning: not everything could be mended ({str(error).rstrip('.')}).")
    return done


def mend(stores: Stores, host: Host, campaign: Campaign, say: Callable[[str], None]) -> None:
    """Before a campaign goes on: mend quietly what can be mended, and warn of the rest. It goes on either way, since
    what is finished is safe from what it finds, and what is not finished is looked after by whoever claims it."""
    doctor = _doctor(stores, host, campaign)
    try:
        done = doctor.repair(campaign.name)
    except EnvironmentFault as error:
        say(f"Warning: not everything could be mended ({error})")
        done = []
    for line in done:
        say(f"Repair: {line}.")
    for check in doctor.examine(campaign.name):
        for breach in check.breaches:
            say(f"Warning: {breach.rstrip('.')}.")
    for slot in suspects(stores.ledger.slots(campaign.id)):
        say(f"Warning: {suspicion(slot)}")


def _doctor(stores: Stores, host: Host, campaign: Campaign) -> Doctor:
    runs = stores.runs(campaign.name)

    def sync() -> int:
        stores.tracker.close()  # what it has seen says nothing of what was damaged since
        return stores.tracker.sync(campaign, runs)

    return Doctor(stores.ledger, stores.storage, runs, sync, host.is_dead, stores.stored(campaign))
