"""The one error of this package: a space that cannot be searched."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpaceError(Exception):
    """The space is wrong: one sentence that names the file, the key, the rule and, where there is one, the nearest
    right word."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """A suggestion to append to a sentence (` Did you mean 'x'?`), or the empty string."""
    match = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""
