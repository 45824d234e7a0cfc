"""What each command does: one function each, listed in `COMMANDS`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from hpo import config_loader, session
from hpo.cli.face import Terminal
from hpo.cli.parser import Command
from hpo.cli.status import status_lines, status_record
from hpo.config import SearchConfig
from hpo.domain import Campaign, CampaignState
from hpo.errors import UsageError
from hpo.wiring import App, frozen_config, log_to, open_app, prepare_data
from search_spaces import Space

WATCH_SECONDS = 1.0


def setup(options: argparse.Namespace) -> None:
    """Say in five lines what was found and made."""
    from trainer.config import TrainConfig
    from trainer.precision import choose_precision

    with open_app() as app:
        tracking = app.prepare_tracking()
        print(f"Database  {app.database.describe()}")
        print("Schemas   optuna, mlflow and hpo are up to date")
        print(f"Tracking  {tracking}")
        precision = choose_precision(TrainConfig())
        print(f"Device    {precision.device}, {precision.reason}")
        print(f"State     {app.home}")


def run(options: argparse.Namespace) -> None:
    """Open or join the campaign and bring it to its full budget."""
    config, space = config_loader.load(_run_overrides(options), Path(options.config) if options.config else None)
    with open_app() as app:
        session.run(app, config, space, Terminal(), options.timeout or config.worker.timeout)


def resume(options: argparse.Namespace) -> None:
    """Continue a campaign as it was created, with a larger budget if one is named."""
    with open_app() as app:
        campaign, config, space = _frozen(app, options.overrides, allowed=("trials", "worker."))
        if options.fork:
            config = config_loader.changed(config, [f"study={options.fork}"])
        elif config.trials != campaign.spec.budget:
            app.ledger.raise_budget(campaign.id, config.trials)
        session.run(app, config, space, Terminal(), options.timeout or config.worker.timeout)


def status(options: argparse.Namespace) -> None:
    """Tiers, running trials, the best so far; JSON lines in a pipe."""
    with open_app() as app:
        while True:
            campaign = session.find_campaign(app, _study(options.overrides))
            slots = app.ledger.slots(campaign.id)
            if sys.stdout.isatty():
                print("\033[H\033[J" if options.watch else "", end="")
                print("\n".join(status_lines(campaign, slots)))
            else:
                print(json.dumps(status_record(campaign, slots)), flush=True)
            if not options.watch or campaign.state is CampaignState.COMPLETE:
                return
            time.sleep(WATCH_SECONDS)


def best(options: argparse.Namespace) -> None:
    """The champion, or the incumbent so far: for people, or as settings that `trainer` takes."""
    with open_app() as app:
        campaign = session.find_campaign(app, _study(options.overrides))
        if options.format == "text":
            print("\n".join(session.standing(app, campaign)))
            return
        settings = session.best_settings(app, campaign)
        if options.format == "json":
            print(json.dumps(settings, indent=2))
        elif options.format == "yaml":
            print(yaml.safe_dump(settings, sort_keys=False), end="")
        else:
            print("\n".join(config_loader.as_overrides(settings)))


def report(options: argparse.Namespace) -> None:
    """Write the report and say its summary."""
    with open_app() as app:
        campaign = session.find_campaign(app, _study(options.overrides))
        config, _ = frozen_config(campaign)
        output = Path(options.output) if options.output else None
        written = session.report(app, campaign, prepare_data(app, config), Terminal(), output)
        print(f"Report: {written.html}\nFigures: {written.json}")


def worker(options: argparse.Namespace) -> None:
    """Work on a campaign from this process."""
    log_to(None)
    with open_app() as app:
        campaign, config, _ = _frozen(app, options.overrides, allowed=("worker.",))
        session.work(app, campaign, config.worker, options.supervised)


def sync(options: argparse.Namespace) -> None:
    """Bring MLflow up to date with the run folders."""
    with open_app() as app:
        campaign = session.find_campaign(app, _study(options.overrides))
        number = session.sync(app, campaign, Terminal())
        print(f"{number} items written; MLflow is up to date with the campaign '{campaign.name}'.")


def config(options: argparse.Namespace) -> None:
    """Print every setting of a run as YAML."""
    resolved, _ = config_loader.load(options.overrides)
    print(yaml.safe_dump(resolved.model_dump(mode="json"), sort_keys=False), end="")


def dashboard(options: argparse.Namespace) -> None:
    """Serve a user interface on this database until Ctrl-C."""
    from hpo.adapters import interfaces

    with open_app() as app:
        interfaces.serve(options.which, app.database, app.home, options.host, options.port, Terminal().say)


def url(options: argparse.Namespace) -> None:
    """Print a URL for other tools, and leave the embedded server up for them."""
    with open_app() as app:
        app.database.keep()
        print(app.database.url_for(options.which))


def db(options: argparse.Namespace) -> None:
    """Start, stop or describe the embedded database."""
    from hpo.wiring import embedded_database

    print(embedded_database(options.action))


COMMANDS: Mapping[str, Command] = {
    "setup": setup,
    "run": run,
    "resume": resume,
    "status": status,
    "best": best,
    "report": report,
    "worker": worker,
    "sync": sync,
    "config": config,
    "dashboard": dashboard,
    "url": url,
    "db": db,
}


def _run_overrides(options: argparse.Namespace) -> list[str]:
    overrides = list(options.overrides)
    if options.space:
        overrides.append(f"space={config_loader.quoted(options.space)}")
    if options.data:
        overrides.append(f"trainer.data.source={config_loader.quoted(options.data)}")
    if options.fork:
        overrides.append(f"study={options.fork}")
    return overrides


def _study(overrides: Sequence[str]) -> str:
    """The campaign that is meant; nothing but `study=` makes sense where one exists already."""
    for override in overrides:
        if not override.startswith("study="):
            raise UsageError(f"'{override}': this command takes study=NAME alone; it works on a campaign as it is.")
    return overrides[-1].removeprefix("study=") if overrides else SearchConfig().study


def _frozen(app: App, overrides: Sequence[str], allowed: Sequence[str]) -> tuple[Campaign, SearchConfig, Space]:
    """The campaign that is meant, with its own configuration and the allowed settings changed."""
    named = [override for override in overrides if override.startswith("study=")]
    others = [override for override in overrides if override not in named]
    for override in others:
        if not override.startswith(tuple(allowed)):
            raise UsageError(
                f"'{override}': a campaign goes on as it was created; here only {' and '.join(allowed)}... may "
                "change. Start another with `hpo run study=NAME ...`, or fork it with --fork NAME."
            )
    campaign = session.find_campaign(app, _study(named))
    config, space = frozen_config(campaign)
    at_least = config.model_copy(update={"trials": campaign.spec.budget})
    return campaign, config_loader.changed(at_least, others), space
