"""Known vulnerabilities of the packages installed here, as pip-audit finds them.

Each is shown; the exit code is 1 only where a version without it exists. Without an answer from the network it says so
in one line and passes.
"""

from __future__ import annotations

import json
import subprocess
import sys

COMMAND = "-m pip_audit --local --skip-editable --progress-spinner=off --timeout=10 --format=json"
SECONDS = 120


def main() -> int:
    """Ask, show, judge."""
    try:
        answer = subprocess.run(
            [sys.executable, *COMMAND.split()], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        packages = json.loads(answer.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _skipped(f"no answer within {SECONDS} s")
    except ValueError:
        said = answer.stderr.strip().splitlines()
        return _skipped(said[-1] if said else "pip-audit gave no answer")
    is_mendable = False
    for package in packages:
        for found in package.get("vulns", ()):
            fixed = ", ".join(found["fix_versions"])
            is_mendable = is_mendable or bool(fixed)
            remedy = f"fixed in {fixed}; raise it in constraints.txt" if fixed else "no fixed version yet"
            print(f"audit: {package['name']} {package['version']} has {found['id']}: {remedy}.")
    return 1 if is_mendable else 0


def _skipped(reason: str) -> int:
    print(f"audit: skipped ({reason[:200]}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
