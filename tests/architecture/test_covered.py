"""The check of what tests cover fails below its limits, and says which files are to blame."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def covered() -> ModuleType:
    spec = importlib.util.spec_from_file_location("covered", ROOT / ".ci" / "covered.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def summary(lines: int, branches: int) -> dict[str, int]:
    return {
        "num_statements": 100,
        "covered_lines": lines,
        "missing_lines": 100 - lines,
        "num_branches": 100,
        "covered_branches": branches,
        "missing_branches": 100 - branches,
    }


@pytest.mark.parametrize(("lines", "branches", "code"), [(95, 90, 0), (94, 100, 1), (100, 89, 1)])
def test_both_limits_count(
    covered: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: int,
    branches: int,
    code: int,
) -> None:
    found = {"totals": summary(lines, branches), "files": {"hpo/wiring.py": {"summary": summary(lines, branches)}}}

    def measure(*words: str) -> None:
        if words[0] == "json":
            Path(words[-1]).write_text(json.dumps(found))

    monkeypatch.setattr(covered, "_coverage", measure)
    assert covered.main() == code
    said = capsys.readouterr().out
    assert "hpo/wiring.py" in said
    assert f"Covered: {lines}.0 % of lines" in said
