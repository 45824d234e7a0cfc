"""Where MLflow's records go, as MLFLOW_TRACKING_URI says: checked before anybody uses it, shown without its secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import unquote

from hpo.adapters.postgres import urls
from hpo.domain.errors import UsageError

VARIABLE = "MLFLOW_TRACKING_URI"

# The host as in a database's URL; behind it no `@`, which would rather be the end of a password.
_SERVER = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://(?:(?P<login>[^/?#\s]*)@)?"
    r"(?P<place>(?:\[[0-9A-Fa-f:.]+\]|(?![0-9]+(?:[:/?#]|$))[\w.-]+)(?::[0-9]+)?)(?P<path>/[^@\s?#]*)?(?:[?#][^@\s]*)?"
)
_FOLDER = re.compile(r"(?:sqlite:///|file:/)?(?:(?!://)[^@\n])+|(?:sqlite:///|file:/)?[/.~][^\n]*")


def tracking_uri() -> str | None:
    """The tracking store of the user's own; None: MLflow is in our database.

    Raises:
        UsageError: it cannot be read; the text shows nothing of it.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return None
    if given.lower().startswith("postgres"):
        try:
            return urls.canonical(given)
        except UsageError as error:
            raise UsageError(str(error).replace(urls.VARIABLE, VARIABLE)) from None
    if _SERVER.fullmatch(given) or _FOLDER.fullmatch(given):
        return given
    raise UsageError(
        f"{VARIABLE} cannot be read; it has the form https://user:password@host:port, "
        "with special characters in the password percent-encoded (@ as %40, / as %2F, a blank as %20), or is a folder."
    )


def shown(uri: str) -> str:
    """A tracking URI that was checked, for people: without user, password and query."""
    if uri.startswith(urls.DRIVER):
        return f"the {urls.place(uri)}"
    server = _SERVER.fullmatch(uri)
    return f"{server['scheme']}://{server['place']}{server['path'] or ''}" if server else uri


def secrets_in(uri: str) -> Sequence[str]:
    """What an error of somebody else's may quote of a tracking URI that was checked."""
    login = uri.partition("://")[2].rpartition("@")[0] if uri.startswith(urls.DRIVER) or _SERVER.fullmatch(uri) else ""
    return [form for part in (login, login.partition(":")[2]) if part for form in (part, unquote(part))]
