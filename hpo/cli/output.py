"""Lines on standard output, for readers who may leave before the work is done."""

from __future__ import annotations

import os
import sys


def say(line: str) -> None:
    """Print one line at once. Where the reader has left (`| head`), the rest goes nowhere and the work goes on."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        silence()


def silence() -> None:
    """Send everything further nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
