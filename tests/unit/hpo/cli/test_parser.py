"""What is typed: every command, its settings and options."""

from __future__ import annotations

import argparse
from datetime import timedelta

import pytest

from hpo.cli import EXIT_INPUT, commands, main
from hpo.cli.parser import build_parser, duration, parse

ALL = sorted(commands.COMMANDS)


@pytest.mark.parametrize("name", ALL)
def test_every_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"Example: hpo {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["run", "trials=3", "study=x", "--space", "atft"],
        ["run", "--space", "atft", "trials=3", "study=x"],
        ["run", "trials=3", "--space", "atft", "study=x"],
    ],
)
def test_settings_may_stand_anywhere(words: list[str]) -> None:
    options = parse(words)
    assert (options.command, options.space, options.overrides) == ("run", "atft", ["trials=3", "study=x"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--spaec", "x"], "unrecognized arguments: --spaec"),
        (["dashboard", "optuna", "study=x"], "unrecognized arguments: study=x"),
        (["rnu"], "invalid choice: 'rnu'"),
        (["run", "--timeout", "soon"], "write 90s, 30m or 8h"),
        (["run", "--timeout", "0.5s"], "a second to"),
        (["resume", "--timeout", "1e300h"], "write 90s, 30m or 8h"),
        (["run", "--timeout", "99999999999h"], "a second to"),
        (["dashboard", "optuna", "--port", "0"], "from 1 to 65535"),
        (["dashboard", "mlflow", "--port", "65536"], "from 1 to 65535"),
        (["dashboard", "mlflow", "--port", "-1"], "from 1 to 65535"),
        (["predict"], "--data"),
        ([], "COMMAND"),
    ],
)
def test_what_cannot_be_parsed_is_the_users_input(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == EXIT_INPUT
    assert said in capsys.readouterr().err


def test_durations() -> None:
    assert [duration(text) for text in ("90", "90s", "1.5m", "8h")] == [
        timedelta(seconds=90), timedelta(seconds=90), timedelta(seconds=90), timedelta(hours=8)
    ]  # fmt: skip
    with pytest.raises(argparse.ArgumentTypeError):
        duration("0m")


def test_help_of_the_parser_is_short_enough_for_80_columns() -> None:
    lines = build_parser().format_help().splitlines()
    assert max(map(len, lines)) <= 80
