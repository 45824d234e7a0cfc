"""`hpo completion`: a script by which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")


def completion(options: argparse.Namespace) -> None:
    """Print the script of one shell."""
    import shtab

    from hpo.cli.parser import build_parser

    parser = build_parser()
    for command in _commands(parser):
        for action in command._actions:
            if "FILE" in str(action.metavar):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            if "FOLDER" in str(action.metavar):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=options.shell))


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [command for group in groups for command in group.choices.values()]


def add_parser(add: Any) -> None:
    """The command's options. add: `hpo.cli.parser.Adder`."""
    parser = add(
        "completion",
        "print a script with which your shell completes commands, options and files",
        'hpo completion bash   (as `eval "$(hpo completion bash)"` in ~/.bashrc; zsh: in ~/.zshrc, behind compinit)',
    )
    parser.add_argument("shell", choices=SHELLS)
