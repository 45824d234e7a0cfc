"""The page of promises names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
NAMED = sorted(
    set(re.findall(r"`((?:faults|contract|unit|property)/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text("utf-8")))
)


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 15


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    assert (TESTS / file).exists()
    assert not name or f"def {name}(" in (TESTS / file).read_text(encoding="utf-8")


def test_every_module_of_fault_tests_is_named() -> None:
    modules = {f"faults/{path.name}" for path in (TESTS / "faults").glob("test_*.py")}
    assert modules <= {file for file, _ in NAMED}
