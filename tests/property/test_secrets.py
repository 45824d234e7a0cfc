"""Whatever somebody takes for a URL, and whatever the password in it: its words are shown nowhere.

A word that a well-formed URL has in another place (host, database, path) is no part of a password to anybody.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from unittest import mock

import psycopg2
from hypothesis import HealthCheck, given, settings
from support.urls import NUM_EXAMPLES, Given, urls

from hpo import cli
from hpo.adapters.mlflow.address import secrets_in, shown, tracking_uri
from hpo.adapters.mlflow.quiet import MlflowException
from hpo.adapters.mlflow.store import Store
from hpo.adapters.postgres.refusals import unusable
from hpo.adapters.postgres.urls import canonical, parse, place, split_password
from hpo.domain.errors import HpoError, StoreUnavailable, UsageError
from hpo.domain.redaction import redact_text
from hpo.wiring import log_to

Result = TypeVar("Result")

DATABASE, TRACKING = "HPO_DATABASE_URL", "MLFLOW_TRACKING_URI"
FUZZ = settings(max_examples=NUM_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HPO_", "MLFLOW_", "PG"))}
    with mock.patch.dict(os.environ, {**own, **variables}, clear=True):
        yield


def told(error: BaseException) -> str:
    """An error as a traceback shows it, causes included, without the lines of source."""
    return "\n".join(line for line in traceback.format_exception(error) if not line.startswith("  File"))


def outcome(reading: Callable[[], Result]) -> tuple[str, Result | None]:
    """What was said where it was refused, and what came of it."""
    try:
        return "", reading()
    except UsageError as error:
        return told(error), None


@FUZZ
@given(url=urls())
def test_a_database_url_is_understood_or_shown_nowhere(url: Given) -> None:
    with environment(**{DATABASE: url.text}):
        refusal, parsed = outcome(lambda: parse(url.text))
        assert url.leaked(refusal) == []
        if parsed is None:
            return
        elsewhere = f"{parsed.host} {parsed.username} {parsed.database} {dict(parsed.query)}"
        hidden = Given(url.text, tuple(word for word in url.words if word not in elsewhere))
        quoting = f"server said: {url.text!r}, {parsed.password!r}, postgresql://u:{parsed.password}@h"
        shown_texts = [place(url.text), told(unusable(url.text, RuntimeError(quoting))), split_password(url.text)[0]]
        assert hidden.leaked(" ".join(shown_texts)) == []
        assert parse(canonical(url.text)) == parsed


@FUZZ
@given(url=urls())
def test_a_tracking_uri_is_understood_or_shown_nowhere(url: Given) -> None:
    with environment(**{TRACKING: url.text}):
        refusal, uri = outcome(tracking_uri)
        assert url.leaked(refusal) == []
        if uri is None:
            return
        secret = [word for word in url.words if any(word in part for part in secrets_in(uri))]
        hidden = Given(url.text, tuple(word for word in secret if word not in shown(uri)))
        said = [redact_text(f"to {uri}/api", *secrets_in(uri))]
        try:
            with Store(uri, None).answering():
                raise MlflowException(f"API request to {uri}/api/2.0/mlflow failed")
        except StoreUnavailable as error:
            said.append(told(error))
        assert hidden.leaked(" ".join(said)) == []


class Command:
    """`hpo status` in this process, with a driver that quotes everything it is given; all that it leaves behind."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.started: list[str] = []

    def run(self, variable: str, text: str) -> tuple[int, str]:
        """Exit code, and output, log lines, arguments of processes and contents of files in one text."""
        variables = {DATABASE: "postgresql://u@127.0.0.1:1/d", variable: text, "HPO_HOME": str(self._home)}
        out, log = io.StringIO(), self._home.parent / "log"
        hooks = sys.excepthook, threading.excepthook
        with (
            environment(**variables),
            mock.patch.object(psycopg2, "connect", self._refuse),
            mock.patch.object(subprocess, "Popen", self._start),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            log_to(log)
            try:
                code = cli.main(["status"])
            except Exception as error:  # what nobody foresaw goes to the hook, as it does when a process ends
                code = 1
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                sys.excepthook, threading.excepthook = hooks
                root = logging.getLogger("hpo")
                root.handlers.pop().close()
        files = [path for path in self._home.parent.rglob("*") if path.is_file()]
        left = [str(path) + path.read_text(errors="replace") for path in files]
        log.unlink()
        return code, "\n".join([out.getvalue(), *self.started, *left])

    def _refuse(self, dsn: str = "", **given: object) -> None:
        words = " ".join(f"{name}={value}" for name, value in given.items())
        raise psycopg2.OperationalError(f'connection to "{dsn}" {words} failed: password authentication failed')

    def _start(self, arguments: object, *_: object, **__: object) -> None:
        self.started.append(str(arguments))
        raise OSError("no process is to be started")


@FUZZ
@given(url=urls())
def test_a_command_shows_nothing_of_the_database_url(url: Given) -> None:
    check_command(DATABASE, url)


@FUZZ
@given(url=urls())
def test_a_command_shows_nothing_of_the_tracking_uri(url: Given) -> None:
    check_command(TRACKING, url)


def check_command(variable: str, url: Given) -> None:
    with tempfile.TemporaryDirectory() as folder:
        code, left = Command(Path(folder) / "home").run(variable, url.text)
    assert code in (2, 3), left
    assert "Traceback" not in left
    elsewhere = ""
    if variable == DATABASE:
        with contextlib.suppress(HpoError):
            parsed = parse(url.text)
            elsewhere = f"{parsed.host} {parsed.username} {parsed.database} {dict(parsed.query)}"
    hidden = Given(url.text, tuple(word for word in url.words if word not in elsewhere))
    assert hidden.leaked(left) == []
