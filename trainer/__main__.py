"""The trainer's command line: one configuration trained, examined or measured, without any search."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.config import TrainerConfig, is_read
from trainer.errors import CacheFault, InputError, TrainerError, TrainingFailure
from trainer.settings import first_problem, flatten, merge, read, sections, verbatim

EXIT_DONE, EXIT_BUG, EXIT_INPUT, EXIT_ENVIRONMENT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

COMMANDS: Mapping[str, str] = {
    "train": "train one configuration (the default)",
    "lr-find": "raise the learning rate step by step and suggest one; a picture",
    "diagnose": "gradient flow, dead units, activations, loss landscape, memory; pictures and a table",
    "profile": "where the time of a training step goes",
    "check-model": "check that a model keeps its promises: trainer check-model my_module:MyRanker",
    "config": "print the resolved configuration and stop",
}

TEXTS = ("data.source",)
"""Settings that are taken letter by letter."""

EXAMPLES = """examples:
  trainer model.hidden_size=64 optim.lr=1e-3
  trainer data.source=prices.parquet data.split.train_end=2020-12-31 train.epochs=20
  trainer --config config.json --folder runs/again
  trainer lr-find model.kind=gru 'data.source=planted:clean?stocks=80&days=600'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 your input, 3 environment, 130 interrupted."""
    options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    try:
        config = compose_config(options.overrides, options.config)
        if options.command == "config":
            print(config.model_dump_json(indent=2))
            return EXIT_DONE
        from trainer.tools.commands import RUNNERS

        return EXIT_INTERRUPTED if RUNNERS[options.command](config, options.folder, options.cache) else EXIT_DONE
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


def compose_config(overrides: Sequence[str], file: Path | None = None) -> TrainerConfig:
    """The defaults, changed by a YAML or JSON file, changed by Hydra overrides such as `optim.lr=1e-3`.

    Raises InputError: an unknown key (with the nearest right one), a value out of range, a setting that the chosen
    model does not read, an unreadable file.
    """
    given = read(file) if file else {}
    base = _validated(_kind(overrides, given)).model_dump(mode="json")  # a model of one's own brings settings
    defaults = TrainerConfig().model_dump(mode="json")
    known = {*flatten(base), *sections(base)}
    _refuse_unknown(flatten(given), known, str(file))
    config = _validated(_compose(merge(base, given), overrides, known))
    _refuse_unread(config, flatten(defaults))
    return config


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="trainer",
        description="Train one model that ranks stocks every day, or look into its training.",
        epilog="commands:\n" + "".join(f"  {name:<13}{what}\n" for name, what in COMMANDS.items()) + "\n" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="[COMMAND] KEY=VALUE", help="settings; `trainer config` lists them")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML or JSON with any part of the configuration")
    parser.add_argument("--folder", type=Path, help="where the run is kept; the same folder again goes on from there")
    parser.add_argument("--cache", type=Path, help="where prepared panels are kept (default: HPO_HOME/cache)")
    options = parser.parse_intermixed_args(arguments)
    first = options.words[0] if options.words else ""
    if first and "=" not in first and first not in COMMANDS:
        parser.error(f"unknown command {first!r}; {_suggest(first, COMMANDS)}")
    options.command = first if first in COMMANDS else "train"
    options.overrides = options.words[1:] if first in COMMANDS else options.words
    if options.command == "check-model" and options.overrides and "=" not in options.overrides[0]:
        options.overrides[0] = f"model.kind={options.overrides[0]}"
    home = Path(os.environ.get("HPO_HOME") or ".hpo").expanduser().absolute()
    options.cache = options.cache or home / "cache"
    options.folder = options.folder or home / "single" / time.strftime("%Y%m%d-%H%M%S")
    return options


def _compose(base: Mapping[str, Any], overrides: Sequence[str], known: set[str]) -> dict[str, Any]:
    """Apply the overrides with Hydra, which is not seen outside this function."""
    from hydra import compose, initialize
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        overrides = [verbatim(override, TEXTS) for override in overrides]
        parsed = OverridesParser.create().parse_overrides(overrides)
        _refuse_unknown([override.key_or_group for override in parsed], known, "the command line")
        if any(override.is_delete() or override.is_sweep_override() for override in parsed):
            raise InputError("deleting keys and sweeps are not supported here; write key=value.")
        ConfigStore.instance().store(name="trainer", node=dict(base))
        GlobalHydra.instance().clear()
        with initialize(config_path=None, version_base="1.3"):
            composed = OmegaConf.to_container(compose("trainer", overrides=overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"the overrides do not compose: {reason}; write key=value, and quote punctuation.") from None
    return {str(key): value for key, value in dict(composed).items()}  # type: ignore[arg-type]  # a mapping, as `base`


def _kind(overrides: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, defaults apart, that say which others there are: the kind of model that is given last."""
    named = [text.partition("=")[2].strip("'\"") for text in overrides if text.startswith("model.kind=")]
    inner = given.get("model")
    named = named or [inner["kind"]] if isinstance(inner, Mapping) and "kind" in inner else named
    return {"model": {"kind": named[-1]}} if named else {}


def _validated(values: Mapping[str, Any]) -> TrainerConfig:
    from pydantic import ValidationError

    try:
        return TrainerConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{first_problem(error)[1]}.") from None


def _refuse_unknown(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    for key in keys:
        if key not in known:
            raise InputError(f"unknown setting {key!r} on {where}; {_suggest(key, known)}")


def _refuse_unread(config: TrainerConfig, defaults: Mapping[str, Any]) -> None:
    """Refuse a setting that the chosen model does not read; at its default it may stand, as in a printed file."""
    kind = config.model.kind
    for name, value in flatten(config.model_dump(mode="json")).items():
        # Every kind takes the window: the gaps between train, validation and holdout follow it.
        if value != defaults.get(name) and name != "model.window" and not is_read(kind, name):
            raise InputError(
                f"{name}={value} changes nothing with model.kind={kind}; take it out, or choose another model.kind."
            )


def _suggest(word: str, choices: Iterable[str]) -> str:
    by_last_part = {choice.rsplit(".", 1)[-1]: choice for choice in choices}
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.7)
    match = by_last_part.get(word) or (close[0] if close else None)
    return f"did you mean {match!r}?" if match else "`trainer config` prints all there are."


def _say(message: str, code: int) -> int:
    print(f"trainer: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
