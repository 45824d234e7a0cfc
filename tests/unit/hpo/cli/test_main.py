"""The command line's own business: what is parsed, what is printed where, and the exit code."""

from __future__ import annotations

import argparse
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest

from hpo.cli import EXIT_BUG, EXIT_DONE, EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_INTERRUPTED, commands, main
from hpo.cli.output import say
from hpo.cli.parser import build_parser, duration, parse
from hpo.domain.errors import EnvironmentFault, HpoError, Interrupted, StoreUnavailable, UsageError
from search_spaces import SpaceError

ALL = sorted(commands.COMMANDS)


def raising(error: BaseException) -> Callable[[argparse.Namespace], None]:
    def command(options: argparse.Namespace) -> None:
        raise error

    return command


@pytest.mark.parametrize("name", ALL)
def test_every_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"Example: hpo {name}" in capsys.readouterr().out


def test_the_parser_and_the_table_know_the_same_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    listed = {line.split()[0] for line in said.splitlines() if re.match(r" {4}\w", line)}
    assert sorted(listed) == ALL
    assert "Exit codes: 0 done, 1 bug, 2 your input, 3 environment, 130 interrupted" in " ".join(said.split())


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


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("fix this"), EXIT_INPUT),
        (SpaceError("fix this"), EXIT_INPUT),
        (HpoError("fix this"), EXIT_INPUT),
        (EnvironmentFault("fix this"), EXIT_ENVIRONMENT),
        (StoreUnavailable("fix this"), EXIT_ENVIRONMENT),
        (OSError(errno.ENOSPC, "fix this", "/disk"), EXIT_ENVIRONMENT),
        (Interrupted("fix this"), EXIT_INTERRUPTED),
    ],
)
def test_an_error_is_one_sentence_on_stderr_and_its_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "status", raising(error))  # type: ignore[arg-type]  # a dict underneath
    assert main(["status"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "fix this" in said.err
    assert "Traceback" not in said.err


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.COMMANDS, "status", raising(AssertionError("a bug")))  # type: ignore[arg-type]  # as above
    with pytest.raises(AssertionError):
        main(["status"])
    assert EXIT_BUG == 1, "what Python itself ends with"


def test_ctrl_c_at_any_time_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(commands.COMMANDS, "status", raising(KeyboardInterrupt()))  # type: ignore[arg-type]  # as above
    assert main(["status"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_no_password_leaves_through_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = EnvironmentFault("postgresql+psycopg2://me:s3cret@host/db is away")
    monkeypatch.setitem(commands.COMMANDS, "status", raising(fault))  # type: ignore[arg-type]  # as above
    main(["status"])
    assert "s3cret" not in capsys.readouterr().err


def _piped(code: str) -> tuple[int, bytes]:
    """Exit code and stderr of a program whose standard output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as stdout:
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60
        )
    return ended.returncode, ended.stderr


def test_a_reader_who_leaves_is_no_error() -> None:
    code = "import sys; from hpo.cli import main; sys.exit(main(['config']))"
    assert _piped(code) == (EXIT_DONE, b"")


def test_progress_goes_on_without_a_reader() -> None:
    code = "from hpo.cli.output import say; say('one'); say('two'); import sys; sys.exit(7)"
    assert _piped(code) == (7, b"")


def test_lines_are_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    say("a line")
    assert capsys.readouterr().out == "a line\n"


def test_help_of_the_parser_is_short_enough_for_80_columns() -> None:
    lines = build_parser().format_help().splitlines()
    assert max(map(len, lines)) <= 80
