"""The command line's own business: what is parsed, what is printed where, and the exit code."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Callable

import pytest
from support.command import piped

from hpo.cli import EXIT_BUG, EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_INTERRUPTED, commands, main
from hpo.domain.errors import EnvironmentFault, HpoError, Interrupted, StoreUnavailable, UsageError
from search_spaces import SpaceError


def raising(error: BaseException) -> Callable[[argparse.Namespace], None]:
    def command(options: argparse.Namespace) -> None:
        raise error

    return command


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


def test_progress_goes_on_without_a_reader() -> None:
    code = "from hpo.cli.output import say; say('one'); say('two'); import sys; sys.exit(7)"
    assert piped(code) == (7, b"")
