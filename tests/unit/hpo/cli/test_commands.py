"""Each command's function."""

from __future__ import annotations

import re

import pytest

from hpo.cli import commands, main

ALL = sorted(commands.COMMANDS)


def test_the_parser_and_the_table_know_the_same_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    listed = {line.split()[0] for line in said.splitlines() if re.match(r" {4}\w", line)}
    assert sorted(listed) == ALL
    assert "Exit codes: 0 done, 1 bug, 2 your input, 3 environment, 130 interrupted" in " ".join(said.split())
