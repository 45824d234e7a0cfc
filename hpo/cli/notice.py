"""Tells a person who has left the terminal how a campaign ended, and which trials may hang, where `HPO_NOTIFY` says how
to reach them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpo.cli.output import say
from hpo.cli.terminal import Terminal
from hpo.domain.redaction import redact_error
from hpo.wiring import open_notices

LONGEST = 600
"""Letters of a message."""


@contextmanager
def notifying(study: str, display: Terminal) -> Iterator[None]:
    """Say how the work in this block ended, and what the display warns of meanwhile. What is wrong with the addresses
    is said before it begins; a message that does not arrive is a warning."""
    notices = open_notices()
    if notices is None:
        yield
        return

    def tell(text: str) -> None:
        if not notices.send(f"hpo: {study}", text[:LONGEST]):
            say("Warning: the message to HPO_NOTIFY was not delivered.")

    display.tell_away = tell
    try:
        yield
    except KeyboardInterrupt:
        raise
    except Exception as error:
        tell(redact_error(str(error) or type(error).__name__))
        raise
    tell(display.outcome())
