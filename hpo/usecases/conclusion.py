"""What a complete campaign ends with: report, registration and the retention of checkpoints, each safe to repeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from hpo.domain.campaign import Campaign, CampaignState, SlotState
from hpo.domain.config import SearchConfig
from hpo.domain.errors import EnvironmentFault, StoreUnavailable
from hpo.domain.ports import Tracker
from hpo.domain.trainable import Prepared
from hpo.report.collect import candidates, collect
from hpo.report.findings import analyse
from hpo.report.holdout import measure
from hpo.report.page import Written, write_report
from hpo.report.summary import summary_lines
from hpo.runs.durable import read_json, read_sealed, sha256_of, write_sealed
from hpo.runs.folder import drop_checkpoints
from hpo.trainable.loading import load_trainable
from hpo.usecases.contenders import contenders_fault, with_contenders
from hpo.usecases.deployed import deployed_file
from hpo.usecases.host import Host
from hpo.usecases.inspection.compare import NUM_LEADERS
from hpo.usecases.records import Records, Stores
from hpo.usecases.refit.record import final_file
from hpo.usecases.upkeep.storage import upload_rest

CONCLUDED = "concluded.json"
"""Beside a campaign's slots: the budget whose report, registration and retention were done here."""
DIGESTS = "digests.json"
"""Beside a report's files: the SHA-256 of each."""

SAY_EVERY = timedelta(seconds=10)

Say = Callable[[str], None]


def conclude(
    stores: Stores, host: Host, campaign: Campaign, config: SearchConfig, prepared: Prepared, say: Say
) -> None:
    """Report, register and tidy up a complete campaign; may be repeated. The mark says that it was done."""
    _store(stores, campaign, say)
    written = report(stores, host, campaign, prepared, say)
    try:
        publish(stores, stores.tracker, stores.find(campaign.name), say)
    except EnvironmentFault as error:
        say(f"The champion is not registered in MLflow yet ({error}); `hpo sync study={campaign.name}` does it.")
    retain(stores, campaign, config.worker.keep_checkpoints)
    mark, stored = stores.runs(campaign.name) / CONCLUDED, stores.stored(campaign)
    write_sealed(mark, {"budget": campaign.spec.budget})
    if stored is not None:
        with suppress(StoreUnavailable):  # then only this machine knows, and another would conclude once more
            stored.put_mark(mark, campaign.spec.budget)
    say(f"Report: {written.html}")


def _store(records: Records, campaign: Campaign, say: Say) -> None:
    """Upload what an outage of the store has left here."""
    try:
        upload_rest(records, campaign)
    except StoreUnavailable as error:
        say(f"Not every trial is in the store of artifacts ({error}); `hpo sync study={campaign.name}` uploads them.")


def is_concluded(records: Records, campaign: Campaign) -> bool:
    """Whether this budget's conclusion was made: here, or, with a store of artifacts, anywhere. A mark that is damaged
    says nothing."""
    stored = records.stored(campaign)
    try:
        return bool(read_sealed(records.runs(campaign.name) / CONCLUDED).get("budget") == campaign.spec.budget)
    except FileNotFoundError:
        return stored is not None and stored.has_mark(campaign.spec.budget)
    except EnvironmentFault:
        return False


def report(
    records: Records, host: Host, campaign: Campaign, prepared: Prepared, say: Say, output: Path | None = None
) -> Written:
    """Write the campaign's report and say its summary. A complete campaign's holdout is opened, and counted.

    Raises:
        EnvironmentFault: no finished trial's run folder is here, or the champion's is not, or a file that the report
            reads is damaged.
    """
    archive, slots = records.archive(campaign), records.ledger.slots(campaign.id)
    done = [view.slot for view in slots if view.state is SlotState.DONE]
    missing = archive.missing(slots)
    if missing and not any(archive.attempt(slot) for slot in done):
        raise EnvironmentFault(f"There is nothing to report here. {' '.join(missing)}")
    trainable, holdout = load_trainable(campaign.spec.trainable), None
    champion = campaign.crowned
    if champion is not None:
        deployed = deployed_file(records, campaign, champion)
        if prepared.holdout is not None:
            records.ledger.count_holdout_opening(campaign.id)
            chosen = candidates(campaign, slots, NUM_LEADERS)
            on_trial = scoring(say)
            holdout = measure(trainable, archive, chosen, prepared.holdout, champion, deployed, on_trial)
            holdout = holdout and with_contenders(records, host, campaign, prepared, holdout, say)
        campaign = records.find(campaign.name)
    evidence = collect(campaign, slots, archive, trainable, holdout, prepared=prepared)
    findings = analyse(evidence)
    folder = output or report_folder(records, campaign)
    written = write_report(evidence, folder, findings)
    if output is None:
        write_sealed(folder / DIGESTS, {file.name: sha256_of(file) for file in written.files})
    for line in (*summary_lines(evidence, findings), *(f"Warning: {said}" for said in missing)):
        say(line)
    return written


def scoring(say: Say, now: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """Says which trial is being scored on the holdout: the first at once, others once SAY_EVERY has passed."""
    last: float | None = None

    def on_trial(number: int, total: int) -> None:
        nonlocal last
        if last is None or now() - last >= SAY_EVERY.total_seconds():
            last = now()
            say(f"Scoring the holdout: trial {number} of {total} ...")

    return on_trial


def report_folder(records: Records, campaign: Campaign) -> Path:
    """Where the campaign's report is written unless a folder is named."""
    return records.home / "reports" / campaign.name


def project(records: Records, tracker: Tracker, name: str) -> int:
    """One pass of the tracker over the campaign as it is now; the number of items written."""
    return tracker.sync(records.find(name), records.runs(name))


def sync(records: Records, tracker: Tracker, campaign: Campaign, say: Say) -> int:
    """Bring MLflow up to date with the run folders and the champion; the number of items written.

    Raises:
        EnvironmentFault: MLflow did not take everything, or part of what it should be told is not on this machine.
    """
    num_uploaded = upload_rest(records, campaign)
    if num_uploaded:
        say(f"{num_uploaded} trials uploaded to the store of artifacts.")
    missing = records.archive(campaign).missing(records.ledger.slots(campaign.id))  # fetches what is in the store
    number = project(records, tracker, campaign.name)
    if missing:
        raise EnvironmentFault(
            f"MLflow cannot be brought up to date with the campaign '{campaign.name}' from here ({number} items "
            f"written). {' '.join(missing)} Run `hpo sync study={campaign.name}` there, or copy them here."
        )
    publish(records, tracker, campaign, say)
    return number


def publish(records: Records, tracker: Tracker, campaign: Campaign, say: Say) -> None:
    """Give MLflow the report and the champion, if there is one. Raises EnvironmentFault where MLflow is away, or the
    champion's recorded checkpoint is not here."""
    champion = campaign.crowned
    if champion is None:
        return
    model, folder = deployed_file(records, campaign, champion), report_folder(records, campaign)
    broken = _report_faults(folder) if folder.exists() else []
    if broken:
        raise EnvironmentFault(f"{broken[0]}; write the report again with `hpo report study={campaign.name}`.")
    project(records, tracker, campaign.name)
    tracker.attach_report(campaign, records.runs(campaign.name), sorted(folder.glob("report.*")))
    run_folder = records.archive(campaign).model(champion.slot or 0).parent
    recommended = _is_recommended(folder)
    uri = tracker.register_champion(campaign, run_folder, model, recommended=recommended)
    final = final_file(records, [campaign])
    if uri and final is not None:
        uri = tracker.register_champion(campaign, run_folder, final, recommended=recommended)
    if uri:
        without = "" if recommended else ", without the alias 'champion': the report does not recommend it"
        say(f"  registered in MLflow as {uri}{without}")


def _is_recommended(folder: Path) -> bool:
    """Whether the report in the folder recommends what the campaign ends with."""
    try:
        return bool(read_json(folder / "report.json")["recommended"])
    except FileNotFoundError:
        return False


def faults(records: Records, campaign: Campaign) -> list[str]:
    """A sentence for whatever the conclusion made here and is not whole. All of it can be made again."""
    folder, runs = report_folder(records, campaign), records.runs(campaign.name)
    is_complete = campaign.state is CampaignState.COMPLETE
    found = []
    slots = campaign.crowned.slots if campaign.crowned else ()
    is_ours = runs.exists() and all(map(records.archive(campaign).is_kept, slots))
    if is_complete and is_ours and not is_concluded(records, campaign):
        found.append(f"{runs / CONCLUDED} is missing or damaged: the conclusion counts as not made")
    was_here = records.artifacts is None or (runs / CONCLUDED).exists()  # else the report may lie elsewhere
    if folder.exists() or (is_complete and is_ours and was_here):
        found += _report_faults(folder)
    contenders = contenders_fault(records.runs(campaign.name))
    return found if contenders is None else [*found, contenders]


def _report_faults(folder: Path) -> list[str]:
    try:
        digests = read_sealed(folder / DIGESTS)
    except FileNotFoundError:
        return [f"{folder / DIGESTS} is missing: the report cannot be told from another"]
    except EnvironmentFault:
        return [f"{folder / DIGESTS} is damaged: the report cannot be told from another"]
    paths = {folder / name: digest for name, digest in digests.items()}
    gone = [f"{path} is missing" for path in paths if not path.is_file()]
    return gone + [
        f"{path} is damaged: its SHA-256 is not the recorded one"
        for path, digest in paths.items()
        if path.is_file() and sha256_of(path) != digest
    ]


def retain(records: Records, campaign: Campaign, keep: int) -> None:
    """Delete the checkpoints of the finished slots but those of the champion's members, of the default and of the best
    `keep`. The ledger is told first: what it does not answer for may be gone."""
    archive = records.archive(campaign)
    members = campaign.crowned.slots if campaign.crowned else ()
    kept = {*members, *candidates(campaign, records.ledger.slots(campaign.id), keep)}
    dropped = {record.slot for record in archive.records if archive.attempt(record.slot) is not None} - kept
    records.ledger.forget_checkpoints(campaign.id, dropped)
    drop_checkpoints(records.runs(campaign.name), dropped)
    stored = records.stored(campaign)
    if stored is not None:
        done = {view.slot for view in records.ledger.slots(campaign.id) if view.state is SlotState.DONE}
        finished = [each for each in archive.records if each.kind == "result" and each.slot in done]
        stored.retain(finished, dropped)
