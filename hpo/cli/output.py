"""Lines on standard output, for readers who may leave before the work is done."""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
import traceback
from types import TracebackType


def say(line: str) -> None:
    """Print one line at once, without passwords. Where the reader has left (`| head`), the rest goes nowhere and the
    work goes on."""
    from hpo.domain.redaction import redact_text

    try:
        print(redact_text(line), flush=True)
    except BrokenPipeError:
        silence()


PLAIN = {"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{MIDDLE DOT}": ".", "\N{HORIZONTAL ELLIPSIS}": "..."}
"""What stands for a character where the output's encoding lacks it; others are written as their escape sequences."""


def print_in_any_encoding() -> None:
    """Lines are printed wherever they go: a locale that lacks a character ends no command."""

    def stand_in(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError), "only output is translated"
        lacking = error.object[error.start : error.end]
        plain = "".join(PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in lacking)
        return plain, error.end

    codecs.register_error("tiertune.plain", stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="tiertune.plain")


def silence() -> None:
    """Send everything further nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def keep_secrets_out_of_tracebacks() -> None:
    """What nobody foresaw is still shown in full, but for passwords; also where it happens in a thread."""

    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        from hpo.domain.redaction import redact_error

        print(redact_error("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)

    sys.excepthook = show
    threading.excepthook = lambda found: show(found.exc_type, found.exc_value, found.exc_traceback)
