"""The search's errors, named by what the caller must do about them.

HpoError
├── UsageError          fix the input and call again                        exit code 2
│   └── Unfinished          slots are open again: look again, or run the campaign once more
├── EnvironmentFault    database, disk or device is not usable              exit code 3
│   └── StoreUnavailable    a database did not answer for longer than we wait; retry later
├── InvariantBroken     the stores contradict each other: a bug, or somebody's hand  exit code 1
├── LeaseLost           somebody else owns the slot now: stop quietly, write nothing
└── Interrupted         the user asked to stop; everything is saved         exit code 130
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HpoError(Exception):
    """Base of everything the search raises on purpose; its text is one sentence for a person."""


class UsageError(HpoError):
    """The user's input is wrong: what, where, which rule, the remedy."""


class Unfinished(UsageError, ValueError):
    """Slots are not done where all had to be: the budget was raised meanwhile, or a failed trial is tried again."""


class EnvironmentFault(HpoError):
    """Something the search stands on (database, disk, device) is not usable."""


class StoreUnavailable(EnvironmentFault):
    """The database did not answer within the time we are prepared to wait."""


class InvariantBroken(HpoError):
    """What must hold between ledger, Optuna, run folders and MLflow does not."""


class LeaseLost(HpoError):
    """The claim's fencing number is stale. Whoever holds it must stop and write nothing more."""


class Interrupted(HpoError):
    """The user asked to stop; running trials have been checkpointed and released."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """A suggestion to append to an error message (` Did you mean 'x'?`), or the empty string."""
    match = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""
