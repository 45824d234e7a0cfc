"""Writes settings.md and commands.md from the classes and the parser: `make reference`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hpo.cli.parser import build_parser
from hpo.domain.config import SearchConfig
from trainer.config import TrainerConfig

SIGNS = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}


def settings() -> str:
    """Every setting of a campaign and of the trainer, section by section."""
    parts = [
        "# Settings",
        "Made by `make reference` from the classes that own them. `hpo config` prints what a run would use; anything "
        "can be set on the command line as `name=value`, in a file given by `--config`, and most of it in a space. "
        "The commands of `trainer` take the second half without `trainer.` in front.",
    ]
    for title, model, prefix in (("The search", SearchConfig, ""), ("The trainer", TrainerConfig, "trainer.")):
        parts.append(f"## {title}")
        for name, section in sections(model, prefix):
            parts.append(f"### {name.rstrip('.') or 'At the top'}\n\n{one_line(section.__doc__ or '')}")
            rows = [row(name + key, field) for key, field in section.model_fields.items() if inner(field) is None]
            parts.append("\n".join(["| setting | default | values | what it is |", "| --- | --- | --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The section itself, where it holds settings, and all below it, by their dotted names."""
    if any(inner(field) is None for field in model.model_fields.values()):
        yield prefix, model
    for key, field in model.model_fields.items():
        section = inner(field)
        if section is not None:
            yield from sections(section, f"{prefix}{key}.")


def inner(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def row(name: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    shown = "none" if default is None else str(getattr(default, "value", default)) or "empty"
    cells = [f"`{name}`", f"`{shown}`", values(field), one_line(field.description or "")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def values(field: FieldInfo) -> str:
    """`8 or 16`, `from 0 to 1`; empty where the default says it."""
    choices = [str(choice) for choice in literals(field.annotation)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    limits = [(sign, getattr(rule, sign)) for rule in field.metadata for sign in SIGNS if hasattr(rule, sign)]
    return " ".join(f"{SIGNS[sign]} {limit}" for sign, limit in limits)


def literals(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif get_origin(kind) is Union or type(kind).__name__ == "UnionType":
        for each in get_args(kind):
            yield from literals(each)


def commands() -> str:
    """Every command of `hpo` with its arguments."""
    parser = build_parser()
    parts = ["# Commands", f"Made by `make reference` from the parser. {one_line(parser.epilog or '')}"]
    (group,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, command in group.choices.items():
        parts.append(f"## hpo {name}\n\n{one_line(command.description or '')}\n\n{one_line(command.epilog or '')}")
        rows = [argument(action) for action in command._actions if is_shown(action)]
        if rows:
            parts.append("\n".join(["| argument | what it is |", "| --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def is_shown(action: argparse.Action) -> bool:
    return action.help is not argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)


def argument(action: argparse.Action) -> str:
    choices = f"{{{','.join(map(str, action.choices))}}}" if action.choices else ""
    takes = "" if action.nargs == 0 else str(action.metavar or choices or action.dest.upper())
    word = f"{action.option_strings[-1]} {takes}".strip() if action.option_strings else takes
    cells = [f"`{word}`", one_line(action.help or "")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def one_line(text: str) -> str:
    return " ".join(text.split())


PAGES = {"settings.md": settings, "commands.md": commands}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (Path(__file__).parent / page).write_text(write(), encoding="utf-8")
