"""Lines on standard output."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.command import piped

from hpo.cli import EXIT_DONE
from hpo.cli.output import say


def test_a_reader_who_leaves_is_no_error() -> None:
    code = "import sys; from hpo.cli import main; sys.exit(main(['config']))"
    assert piped(code) == (EXIT_DONE, b"")


def test_lines_are_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    say("a line")
    assert capsys.readouterr().out == "a line\n"


@pytest.mark.parametrize(
    ("encoding", "printed"), [("ascii", b"-0.1 \\u20ac"), ("latin-1", b"-0.1 \\u20ac"), ("cp1252", b"-0.1 \x80")]
)
def test_an_encoding_that_lacks_characters_ends_nothing(encoding: str, printed: bytes) -> None:
    code = "from hpo.cli.output import print_in_any_encoding, say; print_in_any_encoding(); say('\\u22120.1 \\u20ac')"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=True
    )
    assert run.stdout == printed + b"\n"


def test_every_command_prints_in_any_encoding() -> None:
    code = "from hpo.cli import main; main(['config']); print('\\u2212')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert run.stdout.endswith(b"-\n")
