"""The reference of settings and commands is the one that the code would write, and no setting is without a word."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def reference() -> Mapping[str, Callable[[], str]]:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: Mapping[str, Callable[[], str]] = module.PAGES
    return pages


@pytest.mark.parametrize("page", ["settings.md", "commands.md"])
def test_the_page_is_what_make_reference_writes(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == reference()[page](), "run `make reference`"


def test_every_setting_says_what_it_is() -> None:
    page = reference()["settings.md"]()
    assert [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")] == []
