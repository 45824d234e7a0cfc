"""What a server that is there refuses, in a sentence with the remedy."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, OperationalError

from hpo.adapters.postgres.urls import VARIABLE, place
from hpo.domain.errors import EnvironmentFault
from hpo.domain.redaction import redact_error

READ_ONLY = "25006"
READ_ONLY_REMEDY = (
    f"It is a replica, or was made read-only: point {VARIABLE} at the primary "
    "(with several hosts in it, target_session_attrs=read-write finds that one)"
)
REMEDIES = {
    READ_ONLY: READ_ONLY_REMEDY,
    "42501": "Let the owner of the schemas optuna, mlflow and hpo grant its user all rights on them and their tables",
    "3F000": "Let the owner of the schemas optuna, mlflow and hpo grant its user all rights on them and their tables",
    "42P01": "Its tables were altered by somebody else; restore them from a backup or use another database",
    "53100": "Free some space on the server's disk",
}
"""SQLSTATE -> what to do (PostgreSQL manual, appendix A)."""
USUAL_REMEDY = f"Check that the server runs and that {VARIABLE} is right, or unset it to use the embedded database"
NO_SUCH_HOST = "could not translate host name"


def is_refusal(error: DBAPIError) -> bool:
    """Whether the server, and no bug of ours, is why the statement failed."""
    return isinstance(error, OperationalError) or code_of(error) in REMEDIES


def code_of(error: DBAPIError) -> str | None:
    """The SQLSTATE; None where no connection came about."""
    return getattr(error.orig, "pgcode", None)


def unusable(url: str, error: Exception) -> EnvironmentFault:
    """What to raise when the server does not answer or does not let us do what we must."""
    said = redact_error(str(error)).strip()  # as a whole: a password may go over several lines
    reason = said.splitlines()[0].rstrip(".") if said else type(error).__name__
    remedy = REMEDIES.get(getattr(error, "pgcode", None) or "", USUAL_REMEDY)
    if NO_SUCH_HOST in reason:
        # A name that nobody knows may be a piece of the password.
        return EnvironmentFault(f"The database cannot be used: the host that {VARIABLE} names is unknown. {remedy}.")
    return EnvironmentFault(f"The {place(url)} cannot be used: {reason}. {remedy}.")
