"""The page on extending names files that exist, and few of them for every change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:hpo|trainer|search_spaces|tests|alembic)/[\w./]+|Makefile)`")
TYPICAL = PAGE.partition("## Ten typical changes")[2].partition("## Others")[0]
ROWS = [line.strip("|").split("|") for line in TYPICAL.splitlines() if line.startswith("| a")]
MOST = {"a column of the ledger": 6}


def test_there_are_ten() -> None:
    assert len(ROWS) == 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_a_change_touches_few_files(row: list[str]) -> None:
    assert 1 <= len(PATH.findall(row[1])) <= MOST.get(row[0].strip(), 4)


def test_every_file_that_is_named_exists() -> None:
    assert [path for path in PATH.findall(PAGE) if not (ROOT / path).exists()] == []
