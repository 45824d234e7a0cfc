"""What of the code the tests have reached: the least covered files, the totals, and exit code 1 below the limits."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LINES, BRANCHES = 95.0, 90.0
SHOWN = 25


def main() -> int:
    """Combine what every process has written, show, judge."""
    _coverage("combine", "--quiet")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coverage.json"
        _coverage("json", "--quiet", "-o", str(file))
        found = json.loads(file.read_text(encoding="utf-8"))
    missing = sorted(found["files"].items(), key=lambda row: -_missing(row[1]["summary"]))
    for name, each in missing[:SHOWN]:
        summary = each["summary"]
        if _missing(summary):
            print(f"  {_lines(summary):5.1f} % of lines, {_branches(summary):5.1f} % of branches  {name}")
    lines, branches = _lines(found["totals"]), _branches(found["totals"])
    print(f"Covered: {lines:.1f} % of lines (at least {LINES}), {branches:.1f} % of branches (at least {BRANCHES}).")
    return 0 if lines >= LINES and branches >= BRANCHES else 1


def _coverage(*words: str) -> None:
    subprocess.run([sys.executable, "-P", "-m", "coverage", *words], check=True)


def _missing(summary: Mapping[str, Any]) -> int:
    return int(summary["missing_lines"]) + int(summary["missing_branches"])


def _lines(summary: Mapping[str, Any]) -> float:
    return _share(summary["covered_lines"], summary["num_statements"])


def _branches(summary: Mapping[str, Any]) -> float:
    return _share(summary["covered_branches"], summary["num_branches"])


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


if __name__ == "__main__":
    sys.exit(main())
