"""What each command does: one function each, listed in `COMMANDS`.

What only some commands need is imported by those, so that `hpo status` does not wait for torch, Optuna or MLflow.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import yaml

from hpo.cli import data_check, listing
from hpo.cli.export import completion, manifest
from hpo.cli.parser import Command
from hpo.cli.selection import agreed, composed, frozen, resumed, separate_runs, sides, study_of
from hpo.cli.show import show
from hpo.cli.status import print_decisions, status_lines, status_record
from hpo.domain.campaign import CampaignState
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.usecases import results
from hpo.usecases.inspection.hosts import differing, hosts
from hpo.wiring import embedded_database, home_folder, log_to, open_app, serve

WATCH_SECONDS = 1.0


def setup(options: argparse.Namespace) -> None:
    """Say in five lines what was found and made."""
    from hpo.domain.campaign import DEFAULT_TRAINABLE
    from hpo.trainable.loading import load_trainable

    with open_app() as app:
        tracking = app.prepare_tracking()
        app.records.check_store()
        print(f"Database  {app.database.describe()}")
        print("Schemas   optuna, mlflow and hpo are up to date")
        print(f"Tracking  {tracking}")
        if app.artifacts is not None:
            print(f"Artifacts {app.artifacts.where} answers")
        print(f"Device    {load_trainable(DEFAULT_TRAINABLE).describe_device()}")
        print(f"State     {app.home}")


def run(options: argparse.Namespace) -> None:
    """Open or join the campaign and bring it to its full budget."""
    from hpo.cli.notice import notifying
    from hpo.cli.terminal import Terminal
    from hpo.usecases import session

    if options.multirun:
        for one in separate_runs(options):
            run(one)
        return
    if options.cfg:
        config(options)
        return
    settings, space = composed(options, fork=options.fork)
    if options.dry_run:
        from hpo.cli.preview import preview

        preview(settings, space, Terminal(), home_folder() / "cache")
        return
    display = Terminal()
    with notifying(settings.study, display), open_app() as app:
        timeout = options.timeout or settings.worker.timeout
        session.run(app.stores, app.machine, settings, space, display, timeout)


def resume(options: argparse.Namespace) -> None:
    """Continue a campaign as it was created, with a larger budget if one is named."""
    from hpo.cli import config_loader
    from hpo.cli.notice import notifying
    from hpo.cli.terminal import Terminal
    from hpo.usecases import session

    if options.fork and options.retry_failed:
        raise UsageError("--fork starts another campaign, in which nothing has failed; leave out --retry-failed.")

    display = Terminal()
    with notifying(resumed(options.overrides), display), open_app() as app:
        campaign, config, space = frozen(app, options.overrides, allowed=("trials=", "epochs=", "worker."))
        timeout = options.timeout or config.worker.timeout
        if options.fork:
            config = config_loader.changed(config, [f"study={options.fork}"])
            session.run(app.stores, app.machine, config, space, display, timeout)
        else:
            retries = options.retry_failed
            session.resume(app.stores, app.machine, campaign, config, space, display, timeout, retries=retries)


def status(options: argparse.Namespace) -> None:
    """Tiers, running trials, the best so far; JSON lines in a pipe."""
    with open_app() as app:
        if options.decisions:
            campaign = app.records.find(study_of(options.overrides))
            print_decisions(app.stores, campaign, as_text=_is_text(options))
            return
        while True:
            campaign = app.records.find(study_of(options.overrides))
            slots, now = app.ledger.slots(campaign.id), datetime.now(UTC)
            where = hosts(app.records, campaign, slots, now)
            devices = differing(slots, app.records.archive(campaign))
            if _is_text(options):
                print("\033[H\033[J" if options.watch and sys.stdout.isatty() else "", end="")
                print("\n".join(status_lines(campaign, slots, now, where, devices)))
            else:
                print(json.dumps(status_record(campaign, slots, now, where, devices)), flush=True)
            if not options.watch or campaign.state is CampaignState.COMPLETE:
                return
            time.sleep(WATCH_SECONDS)


def _is_text(options: argparse.Namespace) -> bool:
    return (options.format or ("text" if sys.stdout.isatty() else "json")) == "text"


def best(options: argparse.Namespace) -> None:
    """What is deployed and the single champion, or the best trial so far: for people, or the latter as settings that
    `trainer` takes."""
    with open_app() as app:
        campaign = app.records.find(study_of(options.overrides))
        if options.format == "text":
            print("\n".join(results.standing(app.records, campaign)))
            return
        settings = results.best_settings(app.records, campaign)
    if options.format == "json":
        print(json.dumps(settings, indent=2))
    elif options.format == "yaml":
        print(yaml.safe_dump(settings, sort_keys=False), end="")
    else:
        from hpo.cli.config_loader import as_overrides

        print("\n".join(as_overrides(settings)))


def predict(options: argparse.Namespace) -> None:
    """Score new data with the champion and write the table."""
    output = Path(options.output)
    with open_app() as app:
        campaign, *together = (app.records.find(name) for name in study_of(options.overrides).split("+"))
        wanted = {"everything": options.all, "trial": options.trial, "together": together}
        made = results.predict(app.records, campaign, Path(options.data), output, **wanted)
    for note in made.notes[:-1]:
        print(note)
    print(f"{made.notes[-1] if made.notes else f'{len(made.table):,} rows'}: {output}")


def compare_trials(options: argparse.Namespace) -> None:
    """Two champions or trials on the same days, paired."""
    from hpo.report.comparison import compare, comparison_lines, comparison_record

    with open_app() as app:
        first, second = sides(app, options.first, options.second)
    if options.format == "json":
        print(json.dumps(comparison_record(first, second, compare(first, second)), indent=2))
        return
    for line in comparison_lines(first, second, compare(first, second)):
        print(line)


def report(options: argparse.Namespace) -> None:
    """Write the report and say its summary; a report that lacks trials is written, and ends with an error."""
    from hpo.cli.output import say
    from hpo.usecases import conclusion
    from hpo.usecases.campaigns import frozen_config, prepare_data

    with open_app() as app:
        campaign = app.records.find(study_of(options.overrides))
        config, _ = frozen_config(campaign)
        output = Path(options.output) if options.output else None
        prepared = prepare_data(app.records.cache, config)
        written = conclusion.report(app.records, app.host, campaign, prepared, say, output)
        print(f"Report: {written.html}\nFigures: {written.json}")
        missing = app.records.archive(campaign).missing(app.ledger.slots(campaign.id))
    if missing:
        raise EnvironmentFault(f"The report lacks trials. {' '.join(missing)}")


def finalize(options: argparse.Namespace) -> None:
    """Train what campaigns chose again with all data, judge it, and deploy it where it passes."""
    from hpo.cli.output import say
    from hpo.usecases.refit.finalize import finalize

    with open_app() as app:
        finalize(app.stores, options.names, options.seeds, say)


def walk_forward(options: argparse.Namespace) -> None:
    """Refit through the holdout and report the joined series."""
    from hpo.cli.output import say
    from hpo.usecases.refit.walk_forward import walk_forward

    with open_app() as app:
        walk_forward(app.records, study_of(options.overrides), options.every, options.seeds, say)


def worker(options: argparse.Namespace) -> None:
    """Work on a campaign from this process."""
    from hpo.usecases import session

    log_to(None)
    with open_app(was_there=options.supervised) as app:
        campaign, config, _ = frozen(app, options.overrides, allowed=("worker.",))
        session.work(app.stores, app.machine, campaign, config.worker, options.supervised)


def sync(options: argparse.Namespace) -> None:
    """Bring MLflow up to date with the run folders."""
    from hpo.cli.output import say
    from hpo.usecases import conclusion

    with open_app() as app:
        campaign = app.records.find(study_of(options.overrides))
        number = conclusion.sync(app.records, app.tracker, campaign, say)
        print(f"{number} items written; MLflow is up to date with the campaign '{campaign.name}'.")


def record(options: argparse.Namespace) -> None:
    """Write a single training into MLflow, and register its model where that is asked for."""
    with open_app() as app:
        made = app.record_single(Path(options.run), options.register)
    print(f"Recorded in MLflow as the run {made.run_id}.")
    if made.version is not None:
        print(f"Registered as {made.version}.")


def doctor(options: argparse.Namespace) -> None:
    """Check every invariant between the stores; with --repair, mend first what can be mended."""
    from hpo.cli.output import say
    from hpo.usecases.doctor.checkup import check_up

    def as_document(found: Mapping[str, object]) -> None:
        print(json.dumps(found, indent=2))

    with open_app() as app:
        campaign = app.records.find(study_of(options.overrides))
        heard = as_document if options.format == "json" else None
        check_up(app.stores, app.host, campaign, say, repair=options.repair, heard=heard)


def delete(options: argparse.Namespace) -> None:
    """Take a campaign out of every store, once the user has agreed to it."""
    from hpo.usecases.upkeep import deletion

    with open_app() as app:
        campaign = app.records.find(study_of(options.overrides))
        if not options.yes and not agreed(
            f"Delete the campaign '{campaign.name}' for ever, with all its trials? [y/N] "
        ):
            raise UsageError(f"Nothing was deleted; `hpo delete {campaign.name} --yes` deletes without asking.")
        app.prepare_tracking()
        deletion.delete(app.stores, app.host, campaign)
        print(f"Deleted   {campaign.name}: its trials, runs, models, reports and files; the prepared data stay.")


def check(options: argparse.Namespace) -> None:
    """Ask a trainable what every one promises, and say what was seen; an error where something does not hold."""
    from hpo.cli.config_loader import trainable_settings
    from hpo.trainable.contract import Outcome, check_trainable

    def say(outcome: Outcome) -> None:
        print(f"{'broken' if outcome.seen else 'holds ':6}  {outcome.name}: {outcome.rule}", flush=True)
        if outcome.seen:
            print(f"        seen: {outcome.seen}.", flush=True)

    trainable, settings = trainable_settings(options.trainable, options.overrides)
    outcomes = check_trainable(trainable, settings, say)
    num_broken = sum(outcome.seen is not None for outcome in outcomes)
    print(f"{len(outcomes)} checks ran, {num_broken} broken.")
    if num_broken:
        raise UsageError(f"'{options.trainable}' breaks {num_broken} of the {len(outcomes)} promises of a trainable.")


def config(options: argparse.Namespace) -> None:
    """Print every setting of a run as YAML."""
    resolved, _ = composed(options)
    print(yaml.safe_dump(resolved.model_dump(mode="json"), sort_keys=False), end="")


def dashboard(options: argparse.Namespace) -> None:
    """Serve a user interface on this database until Ctrl-C."""
    from hpo.cli.output import say

    with open_app() as app:
        serve(app, options.which, options.host, options.port, say)


def url(options: argparse.Namespace) -> None:
    """Print a URL for other tools, and leave the embedded server up for them."""
    with open_app() as app:
        app.database.keep()
        print(app.database.url_for(options.which))


def db(options: argparse.Namespace) -> None:
    """Start, stop or describe the embedded database."""
    print(embedded_database(options.action))


COMMANDS: Mapping[str, Command] = {
    "setup": setup,
    "run": run,
    "resume": resume,
    "status": status,
    "best": best,
    "list": listing.campaigns,
    "trials": listing.trials,
    "spaces": listing.spaces,
    "show": show,
    "completion": completion.completion,
    "predict": predict,
    "compare": compare_trials,
    "report": report,
    "finalize": finalize,
    "walk-forward": walk_forward,
    "worker": worker,
    "manifest": manifest.manifest,
    "sync": sync,
    "record": record,
    "doctor": doctor,
    "check-trainable": check,
    "delete": delete,
    "config": config,
    "data": data_check.data,
    "dashboard": dashboard,
    "url": url,
    "db": db,
}
