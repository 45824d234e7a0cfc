"""The trainer's command line: one configuration trained, examined or measured, without any search."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from trainer.config import TrainerConfig
from trainer.errors import CacheFault, TrainerError, TrainingFailure
from trainer.tools.composition import compose_config, suggest, sweep

EXIT_DONE, EXIT_BUG, EXIT_INPUT, EXIT_ENVIRONMENT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

COMMANDS: Mapping[str, str] = {
    "train": "train one configuration (the default)",
    "score": "show what a run came to: trainer score RUN, with --holdout on the holdout too",
    "predict": "score new days with a run: trainer predict RUN --data FILE",
    "lr-find": "raise the learning rate step by step and suggest one; a picture",
    "diagnose": "gradient flow, dead units, activations, loss landscape, memory; of a run: its curves too",
    "profile": "where the time of a training step goes",
    "check-model": "check that a model keeps its promises: trainer check-model my_module:MyRanker",
    "config": "print the resolved configuration and stop",
}

ON_A_RUN = ("score", "predict")
"""Commands that take the folder of a run instead of settings."""

EXAMPLES = """examples:
  trainer model.hidden_size=64 optim.lr=1e-3
  trainer data.source=prices.parquet data.split.train_end=2020-12-31 train.epochs=20
  trainer --config config.json --folder runs/again
  trainer --resume runs/again train.epochs=40
  trainer --from runs/again optim.lr=1e-4 'data.source=newer.parquet'
  trainer preset=small model=gru
  trainer -m optim.lr=1e-3,3e-3 train.seed=range(0,2)
  trainer diagnose runs/again
  trainer lr-find model.kind=gru 'data.source=planted:clean?stocks=80&days=600'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 your input, 3 environment, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale that lacks a character ends no training
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    try:
        return EXIT_INTERRUPTED if _run(options) else EXIT_DONE
    except TrainingFailure as failure:
        return _say(f"the training failed ({failure.reason}): {failure}", EXIT_BUG)
    except CacheFault as fault:
        return _say(str(fault), EXIT_ENVIRONMENT)
    except TrainerError as error:
        return _say(str(error), EXIT_INPUT)
    except OSError as error:
        return _say(f"{error.strerror or error}: {error.filename or 'the disk'}.", EXIT_ENVIRONMENT)
    except KeyboardInterrupt:
        return _say("interrupted.", EXIT_INTERRUPTED)


def _run(options: argparse.Namespace) -> bool:
    """Whether the command was interrupted."""
    if options.run is not None:
        from trainer.tools import afterwards

        if options.command == "score":
            afterwards.score(options.run, options.cache, holdout=options.holdout)
        elif options.command == "diagnose":
            afterwards.look_into(options.run, options.cache)
        else:
            afterwards.predict(options.run, options.data, options.output, everything=options.all)
        return False
    if options.resume is not None:
        from trainer.tools.commands import resume

        return resume(options.resume, options.overrides, options.cache)
    return _with_settings(options)


def _with_settings(options: argparse.Namespace) -> bool:
    """A command that works on a configuration; whether it was interrupted."""
    if options.multirun:
        configs = {name: compose_config(words, options.config) for name, words in sweep(options.overrides).items()}
        from trainer.tools.commands import train_each

        return train_each(configs, _folder(options), options.cache)
    config = compose_config(options.overrides, options.config)
    if options.cfg or options.command == "config":
        _print(config, as_yaml=bool(options.cfg))
        return False
    from trainer.tools.commands import RUNNERS, train_from

    if options.origin is not None:
        return train_from(config, _folder(options), options.cache, options.origin)
    return RUNNERS[options.command](config, _folder(options), options.cache)


def _folder(options: argparse.Namespace) -> Path:
    from trainer.tools.runs import free_folder

    given: Path | None = options.folder
    return given or free_folder(options.home, time.strftime("%Y%m%d-%H%M%S"))


def _print(config: TrainerConfig, *, as_yaml: bool) -> None:
    tree = config.model_dump(mode="json")
    try:
        print(
            yaml.safe_dump(tree, sort_keys=False).rstrip() if as_yaml else config.model_dump_json(indent=2), flush=True
        )
    except BrokenPipeError:  # the reader has seen enough; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    first = options.words[0] if options.words else ""
    if first and "=" not in first and first[0] not in "~+" and first not in COMMANDS:
        parser.error(f"unknown command {first!r}; {suggest(first, COMMANDS)}")
    options.command = first if first in COMMANDS else "train"
    options.overrides = options.words[1:] if first in COMMANDS else options.words
    options.run = None
    if options.command in ON_A_RUN or (options.command == "diagnose" and _is_run(options.overrides)):
        if len(options.overrides) != 1:
            parser.error(f"trainer {first} takes the folder of one run: trainer {first} RUN")
        options.run = Path(options.overrides[0])
    if first == "predict" and options.data is None:
        parser.error("trainer predict RUN --data FILE: the file is missing")
    trains = {"--multirun": options.multirun, "--resume": options.resume, "--from": options.origin}
    given = [name for name, value in trains.items() if value]
    if given and options.command != "train":
        parser.error(f"{given[0]} trains; it does not go with {options.command!r}")
    if len(given) > 1:
        parser.error(f"{given[0]} does not go with {given[1]}")
    if options.command == "check-model" and options.overrides and "=" not in options.overrides[0]:
        options.overrides[0] = f"model.kind={options.overrides[0]}"
    options.home = Path(os.environ.get("HPO_HOME") or ".hpo").expanduser().absolute()
    options.cache = options.cache or options.home / "cache"
    return options


def _is_run(words: Sequence[str]) -> bool:
    """Whether the folder of a run is meant, and no settings."""
    return bool(words) and "=" not in words[0] and words[0][0] not in "~+"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trainer",
        description="Train one model that ranks stocks every day, or look into its training.",
        epilog="commands:\n" + "".join(f"  {name:<13}{what}\n" for name, what in COMMANDS.items()) + "\n" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="[COMMAND] KEY=VALUE", help="settings; `trainer config` lists them")
    add("--config", type=Path, metavar="FILE", help="YAML or JSON with any part of the configuration")
    add("--folder", type=Path, help="where the run is kept; the same folder again goes on from there")
    add("--cache", type=Path, help="where prepared panels are kept (default: HPO_HOME/cache)")
    add("--resume", type=Path, metavar="RUN", help="go on with a run, longer with train.epochs=N")
    add("--from", dest="origin", type=Path, metavar="RUN", help="start from the weights of another run")
    add("-m", "--multirun", action="store_true", help="train with every combination of listed values")
    add("-c", "--cfg", choices=("job",), help="print the composed configuration as YAML and stop")
    add("--holdout", action="store_true", help="score: open the holdout too, which is counted")
    add("--data", type=Path, metavar="FILE", help="predict: Parquet or CSV with the columns of the training data")
    add("--output", type=Path, default=Path("scores.parquet"), help="predict: default scores.parquet; or .csv")
    add("--all", action="store_true", help="predict: the days that were learnt from too (look-ahead)")
    return parser


def _say(message: str, code: int) -> int:
    print(f"trainer: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
