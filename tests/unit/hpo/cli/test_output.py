"""Lines on standard output."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hpo.cli import EXIT_DONE
from hpo.cli.output import say


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


def test_lines_are_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    say("a line")
    assert capsys.readouterr().out == "a line\n"
