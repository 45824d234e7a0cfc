"""The commands and their options, as `--help` shows them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from datetime import timedelta

from hpo import __version__
from hpo.cli import listing
from hpo.cli.export import completion, manifest
from hpo.domain.campaign import DEFAULT_STUDY
from hpo.domain.settings import seconds_of

LONGEST = timedelta(days=3650)
OVERRIDES = "key=value settings, e.g. trials=40 study=night trainer.model.kind=gru (all: `hpo config`)"


NAMED = frozenset(
    {
        *("resume", "worker", "status", "best", "predict", "report", "sync", "doctor", "delete", "show", "trials"),
        "walk-forward",
        "manifest",
    }
)
"""Commands that work on one campaign: `NAME` alone says which, as `study=NAME` and `--study NAME` do."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of one command. Settings may stand before, between and behind the options."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    strange = [word for word in rest if word.startswith("-") or "overrides" not in options]
    if strange:
        parser.error(f"unrecognized arguments: {' '.join(strange)} (see `hpo {options.command} --help`)")
    if rest:
        options.overrides = [*options.overrides, *rest]
    if options.command in NAMED:
        options.overrides = [word if "=" in word else f"study={word}" for word in options.overrides]
    if getattr(options, "study", None) is not None:
        options.overrides.append(f"study={options.study}")
    names = [word for word in getattr(options, "overrides", ()) if word.startswith("study=")]
    if len(names) > 1:
        parser.error(f"{' and '.join(names)}: this command works on one campaign; name it once")
    return options


Adder = Callable[[str, str, str], argparse.ArgumentParser]
"""Adds a command: name, what it does, an example."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="hpo",
        description="Tiered hyperparameter search for models that rank stocks.",
        epilog="Start with `hpo run trials=20`. "
        "Exit codes: 0 done, 1 bug, 2 your input, 3 environment, 130 interrupted.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=16),
    )
    parser.add_argument("--version", action="version", version=f"tiertune {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def add(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"Example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    _searching(add)
    _looking(add)
    _finishing(add)
    listing.add_parsers(add)
    _tending(add)
    completion.add_parser(add)
    return parser


def _searching(add: Adder) -> None:
    """Commands that run a campaign."""
    add("setup", "start the database, migrate it, check the device, say what was found", "hpo setup")
    _run(add("run", "run a campaign, or go on with it, to its full budget", "hpo run trials=20 study=night"))
    resume = add("resume", "continue an interrupted campaign", "hpo resume night trials=40")
    _settings(resume)
    resume.add_argument(
        "--retry-failed",
        action="store_true",
        help="try trials again that failed through the code or the machine (error, poison, out_of_memory, rank_lost, "
        "timeout)",
    )
    resume.add_argument("--fork", metavar="NAME", help="start NAME afresh with the changed settings, data or code")
    _limits(resume)
    worker = add("worker", "work on a campaign from this terminal or machine", "hpo worker night")
    _settings(worker)
    worker.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    manifest.add_parser(add, _settings, count)


def _looking(add: Adder) -> None:
    """Commands that show or use what a campaign found."""
    status = add("status", "show tiers, running trials and the best so far", "hpo status night --watch")
    _name(status)
    status.add_argument(
        "--decisions", action="store_true", help="why each trial was proposed and ended, and what was chosen"
    )
    status.add_argument("--watch", action="store_true", help="refresh until the campaign ends")
    status.add_argument("--format", choices=("text", "json"), help="default: text in a terminal, JSON in a pipe")
    shown = add("show", "show what a campaign is: data, budget, space, settings", "hpo show night")
    _name(shown)
    _formats(shown)
    best = add("best", "print the champion's configuration", "hpo best night --format yaml > best.yaml")
    _name(best)
    best.add_argument(
        "--format",
        choices=("text", "yaml", "json", "hydra"),
        default="text",
        help="for `trainer --config FILE` (yaml, json) or `trainer $(hpo best --format hydra)`",
    )
    predict = add(
        "predict",
        "score new data with what the campaign deploys, a row per date and symbol",
        "hpo predict night --data prices.parquet --output scores.csv",
    )
    _name(predict)
    predict.add_argument(
        "--data", required=True, metavar="FILE", help="Parquet or CSV with the columns the campaign was trained on"
    )
    predict.add_argument("--output", default="scores.parquet", metavar="FILE", help="default: scores.parquet; or .csv")
    predict.add_argument("--trial", type=int, metavar="N", help="score with one trial instead of what is deployed")
    predict.add_argument("--all", action="store_true", help="score the days that were learnt from too (look-ahead)")
    compare = add("compare", "compare two campaigns or two trials on the same days", "hpo compare night#7 other")
    for name in ("first", "second"):
        compare.add_argument(
            name,
            type=campaign,
            metavar="NAME[#TRIAL]",
            help="what a campaign deploys, one of its trials, or a training's ./folder",
        )
    _formats(compare)
    report = add("report", "write the campaign's report as HTML and JSON", "hpo report night")
    _name(report)
    report.add_argument("--output", metavar="FOLDER", help="where to write (default: HPO_HOME/reports/STUDY)")


def _finishing(add: Adder) -> None:
    """Commands that train what a campaign chose once more."""
    final = add(
        "finalize",
        "train what finished campaigns chose again with all data, judge it, and deploy it where it passes",
        "hpo finalize night trees",
    )
    final.add_argument(
        "names", nargs="+", type=campaign, metavar="NAME", help="a finished campaign; several end in one committee"
    )
    walk = add(
        "walk-forward",
        "train what a campaign chose again at regular days of the holdout, never looking ahead",
        "hpo walk-forward night --every 63",
    )
    _name(walk)
    walk.add_argument(
        "--every", type=count, default=63, metavar="DAYS", help="trading days between refits, default: 63"
    )
    for parser in (final, walk):
        parser.add_argument(
            "--seeds", type=count, default=1, metavar="K", help="models per member, with other seeds (default: 1)"
        )


def _tending(add: Adder) -> None:
    """Commands for stores and settings."""
    _name(add("sync", "bring MLflow up to date with the run folders", "hpo sync night"))
    record = add(
        "record", "write a single training of `trainer` into MLflow", "hpo record runs/again --register ranker"
    )
    record.add_argument("run", metavar="RUN", help="the folder of a finished training")
    record.add_argument("--register", metavar="NAME", help="make its weights a version of this registered model")
    doctor = add("doctor", "check that the ledger, Optuna, the run folders and MLflow agree", "hpo doctor night")
    _name(doctor)
    doctor.add_argument("--repair", action="store_true", help="mend what can be mended first, and say what was done")
    _formats(doctor)
    delete = add("delete", "take a campaign out of every store, for ever; asks first", "hpo delete night")
    _name(delete)
    delete.add_argument("--yes", action="store_true", help="do not ask")
    check = add(
        "check-trainable", "check that a training of your own keeps its promises", "hpo check-trainable my_file:train"
    )
    check.add_argument("trainable", metavar="MODULE:OBJECT", help="import path of a class or function, or `ranker`")
    check.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="its settings, e.g. epochs=3")
    _sources(add("config", "print the resolved configuration of a run", "hpo config trials=40 space=atft"))
    data = add("data", "say what is recognised in a file, and what is wrong with it", "hpo data check prices.parquet")
    data.add_argument("action", choices=("check",))
    data.add_argument("data", metavar="FILE", help="Parquet, Feather or CSV, or a folder of them")
    _settings(data)
    data.set_defaults(space=None, config=None)
    _formats(data)
    dashboard = add("dashboard", "open a user interface on this database, on loopback", "hpo dashboard optuna")
    dashboard.add_argument("which", choices=("optuna", "mlflow"))
    dashboard.add_argument("--port", type=port, help="default: 8080 for optuna, 5000 for mlflow")
    dashboard.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, reachable from this machine only")
    url = add("url", "print a database URL for other tools, and leave the database up for them", "hpo url optuna")
    url.add_argument("which", choices=("optuna", "mlflow"))
    database = add("db", "start or stop the embedded database", "hpo db stop")
    database.add_argument("action", choices=("start", "stop", "status"))


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=OVERRIDES)
    parser.add_argument("--study", metavar="NAME", help="the campaign's name, as study=NAME")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="NAME", help=f"the campaign, default: {DEFAULT_STUDY}")
    parser.add_argument("--study", metavar="NAME", help="the same")


def _formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def _sources(parser: argparse.ArgumentParser) -> None:
    _settings(parser)
    parser.add_argument("--space", metavar="NAME|FILE", help="a space of the catalog, or your own YAML file")
    parser.add_argument("--data", metavar="FILE", help="your panel (Parquet or CSV); default: the built-in market")
    parser.add_argument("--config", metavar="FILE", help="YAML with any settings, below the overrides")


def _run(parser: argparse.ArgumentParser) -> None:
    _sources(parser)
    parser.add_argument("--fork", metavar="NAME", help="start NAME afresh where the settings, data or code changed")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, after an epoch that is timed and thrown away"
    )
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="a campaign for every combination of listed values: seed=0,1,2"
    )
    parser.add_argument("-c", "--cfg", choices=("job",), help="print the composed configuration as YAML and stop")
    _limits(parser)


def _limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=duration, metavar="TIME", help="stop after this long, e.g. 90s, 30m, 8h")


def duration(text: str) -> timedelta:
    """`90s`, `30m`, `8h`, `2d` or plain seconds."""
    seconds = seconds_of(text) or 0.0
    if not 1 <= seconds <= LONGEST.total_seconds():
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a duration of a second to {LONGEST.days} days; write 90s, 30m or 8h"
        )
    return timedelta(seconds=seconds)


def campaign(text: str) -> str:
    """`NAME` or `study=NAME`."""
    return text.removeprefix("study=")


def count(text: str) -> int:
    """A whole number from 1."""
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number; give one from 1 to 999999")
    return int(text)


def port(text: str) -> int:
    """A port's number."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port; give a number from 1 to 65535")
    return int(text)


Command = Callable[[argparse.Namespace], None]
