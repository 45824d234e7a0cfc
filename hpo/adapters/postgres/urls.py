"""Database URLs: whatever the user typed becomes one form that Optuna, MLflow and Alembic all understand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

from sqlalchemy.engine import URL

from hpo.domain.errors import EnvironmentFault, UsageError

DRIVER = "postgresql+psycopg2"
VARIABLE = "HPO_DATABASE_URL"
EXAMPLE = "postgresql://user:password@host:5432/database"

KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""A server that vanished without a word is noticed within about a minute (libpq's names; seconds, milliseconds)."""

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][\w.+-]*)://(?P<rest>.*)", re.DOTALL)
_OURS = re.compile(r"postgres(ql)?(\+(psycopg|psycopg2|asyncpg|pg8000))?", re.IGNORECASE)
_TAIL = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:?@\[\]]*)(:(?P<port>\d+))?(/(?P<database>[^/?@]*))?(\?(?P<query>.*))?"
_STRICT = re.compile(rf"((?P<user>[^:@/?]*)(:(?P<password>[^:@/?]*))?@)?{_TAIL}", re.DOTALL)
# The password as it is, with `@`, `/`, `:` or `?` inside: it ends at the last `@` that leaves a valid rest.
_LENIENT = re.compile(rf"(?P<user>[^:@/?]*):(?P<password>.*)@{_TAIL}", re.DOTALL)

_URL_PASSWORD = re.compile(r"(?P<before>\b[A-Za-z][\w+.-]*://[^\s:/@]*:)\S+(?=@)")
_NAMED_PASSWORD = re.compile(r"(?P<before>\b(?:PGPASSWORD|password)\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s&,;]+)", re.I)


def parse(text: str) -> URL:
    """The database that `text` names.

    Raises:
        UsageError: not a PostgreSQL URL with a database; the text names the rule and never shows a password.
    """
    text = text.strip()
    scheme = _SCHEME.fullmatch(text)
    if scheme is None or not _OURS.fullmatch(scheme["scheme"]):
        kind = f"a {scheme['scheme']} URL" if scheme else "no URL"
        raise UsageError(f"{VARIABLE} is {kind}; the search needs PostgreSQL 14 or newer, given as {EXAMPLE}.")
    parts = _STRICT.fullmatch(scheme["rest"]) or _LENIENT.fullmatch(scheme["rest"])
    if parts is None:
        raise UsageError(
            f"{VARIABLE} cannot be read ({redact(text)}); it has the form {EXAMPLE}, "
            "with special characters in the password percent-encoded (@ as %40, / as %2F)."
        )
    query: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(parts["query"] or "", keep_blank_values=True):
        query[name] = (*query.get(name, ()), value)
    database = unquote(parts["database"] or "") or query.pop("dbname", ("",))[0]
    if not database:
        raise UsageError(f"{VARIABLE} ({redact(text)}) names no database; append one: {EXAMPLE}.")
    return URL.create(
        DRIVER,
        username=unquote(parts["user"] or "") or None,
        password=unquote(parts["password"] or "") or None,
        host=(parts["host"] or "").strip("[]") or None,
        port=int(parts["port"]) if parts["port"] else None,
        database=database,
        query={name: values[0] if len(values) == 1 else values for name, values in query.items()},
    )


def canonical(text: str) -> str:
    """`text` as `postgresql+psycopg2://...`, everything percent-encoded that needs it, the password included."""
    return parse(text).render_as_string(hide_password=False)


def url_for(url: str, schema: str = "public", application: str | None = None) -> str:
    """The database's URL for a library that keeps its tables in `schema`, its sessions on UTC.

    The default is for statements that name their schema. Leaving the search path open instead would make a schema
    that is called like the database's user the nameless one, and Alembic would take its tables for missing.

    The user's own server options are kept; of two settings the server takes the last, which is ours.
    """
    parsed = parse(url)
    ours = [f"-csearch_path={schema}", "-ctimezone=UTC"]
    theirs = parsed.query.get("options", ())
    options = [theirs] if isinstance(theirs, str) else list(theirs)
    query: dict[str, str] = {"options": " ".join([*options, *ours])}
    if application is not None:
        query["application_name"] = application
    if "connect_timeout" not in parsed.query:
        query["connect_timeout"] = "10"
    return parsed.update_query_dict(query).render_as_string(hide_password=False)


def redact(url: str) -> str:
    """The URL with `***` for its password, for people and logs."""
    return redact_text(url)


def redact_text(text: str, *secrets: str) -> str:
    """The text without passwords: those in URLs and behind `password=` or `PGPASSWORD=`, and the given secrets.

    Rather too much than too little: in a word with several `@` everything up to the last one goes.
    """
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = _URL_PASSWORD.sub(r"\g<before>***", text)
    return _NAMED_PASSWORD.sub(r"\g<before>***", text)


def split_password(url: str) -> tuple[str, Mapping[str, str]]:
    """The URL without its password, and the environment (`PGPASSWORD`, or nothing) that supplies it.

    For starting a process that is given the URL as an argument: `ps` shows arguments to everybody.
    """
    parsed = parse(url)
    # URL.set would read None as "leave it as it is".
    bare = parsed._replace(password=None).render_as_string(hide_password=False)
    return bare, {} if parsed.password is None else {"PGPASSWORD": parsed.password}


def place(url: str) -> str:
    """Host, port and database for a sentence; no user, no password."""
    parsed = parse(url)
    host = parsed.host or parsed.query.get("host", "the local socket")
    shown = host if isinstance(host, str) else ", ".join(host)
    return f"database '{parsed.database}' on {shown}" + (f", port {parsed.port}" if parsed.port else "")


def unreachable(url: str, error: Exception) -> EnvironmentFault:
    """What to raise when the server does not answer or does not let us in."""
    reason = redact_text(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
    return EnvironmentFault(
        f"The {place(url)} cannot be used: {reason.rstrip('.')}. "
        f"Check that the server runs and that {VARIABLE} is right, or unset it to use the embedded database."
    )
