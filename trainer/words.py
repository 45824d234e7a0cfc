"""Suggestions for misspelt words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'close'?` or an empty string."""
    match = difflib.get_close_matches(word.lower(), {name.lower(): name for name in known}, n=1)
    return f"; did you mean '{match[0]}'?" if match else ""
