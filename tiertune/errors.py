"""The one exception that this package raises on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpo.domain.errors import HpoError, InvariantBroken
from hpo.domain.redaction import redact_error
from search_spaces.errors import SpaceError


class Error(Exception):
    """What is wrong, where, by which rule, and the remedy: the sentence that the command line ends with."""


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Raises `Error` for what is foreseen; a broken invariant is a bug, and stays what it is."""
    try:
        yield
    except InvariantBroken:
        raise
    except (HpoError, SpaceError) as error:
        raise Error(redact_error(str(error))) from None
