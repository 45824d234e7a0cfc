"""The audit's judgement, with an auditor of our own making in pip-audit's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def audit(folder: Path, program: str) -> tuple[int, str]:
    """Exit code and output with `program` as what `python -m pip_audit` runs."""
    (folder / "pip_audit.py").write_text(program)
    ended = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "audit.py")],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


@pytest.mark.parametrize(
    ("fixes", "code", "words"),
    [
        ([], 0, "audit: left-pad 1.0 has CVE-1: no fixed version yet.\n"),
        (["1.1", "2.0"], 1, "audit: left-pad 1.0 has CVE-1: fixed in 1.1, 2.0; raise it in constraints.txt.\n"),
    ],
)
def test_a_vulnerability_is_shown_and_fails_where_it_can_be_mended(
    tmp_path: Path, fixes: list[str], code: int, words: str
) -> None:
    found = {"name": "left-pad", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": fixes}]}
    answer = {"dependencies": [found, {"name": "tiertune", "skip_reason": "editable"}]}
    assert audit(tmp_path, f"print({json.dumps(answer)!r}); raise SystemExit(1)") == (code, words)


def test_without_a_network_it_says_so_and_passes(tmp_path: Path) -> None:
    assert audit(tmp_path, "raise SystemExit('ERROR: no route to host')") == (
        0,
        "audit: skipped (ERROR: no route to host).\n",
    )
