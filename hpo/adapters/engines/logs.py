"""What a worker writes, read from outside."""

from __future__ import annotations

from pathlib import Path

LAST_LINES = 8


def log_file(folder: Path, number: int) -> Path:
    """The log of the worker of this number."""
    return folder / f"worker-{number}.log"


def last_lines(log: Path) -> str:
    """The end of a log; empty while there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
