"""Has a campaign's stores examined and mended, and says what was found: `hpo doctor`, and the start of `hpo resume`."""

from __future__ import annotations

from collections.abc import Callable

from hpo.adapters.doctor import Doctor
from hpo.domain.campaign import Campaign
from hpo.domain.errors import EnvironmentFault, InvariantBroken
from hpo.wiring import App


def check_up(app: App, campaign: Campaign, say: Callable[[str], None], *, repair: bool) -> None:
    """Say every invariant with the number of things it was asked of; mend first where `repair`.

    Raises:
        InvariantBroken: something does not hold.
    """
    doctor = _doctor(app, campaign)
    if repair:
        done = doctor.repair(campaign.name)
        for line in done or ["nothing had to be mended"]:
            say(f"Repair: {line}.")
    checks = doctor.examine(campaign.name)
    for check in checks:
        say(f"{'BROKEN' if check.breaches else 'holds ':6}  {check.num_checked:6}  {check.rule}")
        for breach in check.breaches:
            say(f"                - {breach}")
    num_breaches = sum(len(check.breaches) for check in checks)
    if num_breaches:
        remedy = "" if repair else f" Try `hpo doctor study={campaign.name} --repair`."
        raise InvariantBroken(f"The campaign '{campaign.name}' breaks {num_breaches} of its invariants.{remedy}")


def mend(app: App, campaign: Campaign, say: Callable[[str], None]) -> None:
    """Before a campaign goes on: mend quietly what can be mended, and warn of the rest. It goes on either way, since
    what is finished is safe from what it finds, and what is not finished is looked after by whoever claims it."""
    doctor = _doctor(app, campaign)
    try:
        done = doctor.repair(campaign.name)
    except EnvironmentFault as error:
        say(f"Warning: not everything could be mended ({error})")
        done = []
    for line in done:
        say(f"Repair: {line}.")
    for check in doctor.examine(campaign.name):
        for breach in check.breaches:
            say(f"Warning: {breach}.")


def _doctor(app: App, campaign: Campaign) -> Doctor:
    runs = app.runs(campaign.name)
    return Doctor(app.ledger, app.storage, runs, lambda: app.tracker.sync(campaign, runs))
