"""Lines on standard output."""

from __future__ import annotations

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
