"""Database URLs: whatever libpq understands becomes one form that Optuna, MLflow and Alembic all understand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from urllib.parse import parse_qsl, unquote

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import URL

from hpo.domain.errors import UsageError, nearest

DRIVER = "postgresql+psycopg2"
VARIABLE = "HPO_DATABASE_URL"
EXAMPLE = "postgresql://user:password@host:5432/database"

KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""A server that vanished without a word is noticed within about a minute (libpq's names; seconds, milliseconds)."""

PLUGIN, SCHEMA = "tiertune", "tiertune_schema"
"""In a URL, `plugin=tiertune` has SQLAlchemy load `pooling.SchemaPlugin`, which puts `tiertune_schema` in front."""

COMMON = (
    *("host", "port", "dbname", "user", "password", "passfile", "service", "sslmode", "sslrootcert", "options"),
    *("connect_timeout", "application_name", "target_session_attrs"),
)
"""Options that a mistyped one is compared with."""
FOREIGN = {
    "schema": "the schemas are optuna, mlflow and hpo; take it out",
    "currentSchema": "the schemas are optuna, mlflow and hpo; take it out",
    "pgbouncer": "a connection pooler is recognised by itself; take it out",
    "connection_limit": "take it out",
    "pool_timeout": "take it out",
    "charset": "the option is client_encoding",
}
"""What other programs append to database URLs, and the remedy."""

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][\w.+-]*)://(?P<rest>.*)", re.DOTALL)
_OURS = re.compile(r"postgres(ql)?(\+(psycopg|psycopg2|asyncpg|pg8000))?", re.IGNORECASE)
_OTHERS = ("sqlite", "mysql", "mariadb", "mssql", "oracle", "mongodb", "redis", "http", "https", "file")
# A name of digits alone is rather a piece of a password than a host.
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|(?![0-9]+(?:[:,/?]|$))(?:[\w.-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
_TAIL = re.compile(rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?:/(?P<database>[^?@]*))?(?:\?(?P<query>.*))?", re.DOTALL)
_LOGIN = re.compile(r"(?P<user>[^:@/?]*)(?::(?P<password>.*))?", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(?P<host>\[.*\]|[^:]*):(?P<port>[0-9]*)")

Settings = dict[str, str]
"""A connection's settings under libpq's names."""


def parse(text: str) -> URL:
    """The database that `text` names: a URL, with one host or several, or `name=value` words as libpq takes them.

    A password may hold `@`, `/`, `:` or `?` as they are, where only one reading of the URL makes sense.

    Raises:
        UsageError: no database of PostgreSQL; the text names the rule and shows nothing of what was given.
    """
    text = text.strip()
    if any(letter < " " for letter in text.replace("\t", " ").replace("\n", " ")):
        raise UsageError(f"{VARIABLE} contains a control character; it has the form {EXAMPLE} or host=... dbname=... .")
    scheme = _SCHEME.fullmatch(text)
    if scheme is None and "=" in text:
        return _assembled(_words(text))
    if scheme is None or not _OURS.fullmatch(scheme["scheme"]):
        kind = scheme["scheme"].lower().partition("+")[0] if scheme else ""
        said = f"a {kind} URL" if kind in _OTHERS else "no URL of PostgreSQL" if scheme else "no URL"
        raise UsageError(f"{VARIABLE} is {said}; the search needs PostgreSQL 14 or newer, given as {EXAMPLE}.")
    readings = list(_readings(scheme["rest"]))
    sensible = [reading for reading in readings if reading["dbname"] and not _foreign(reading)]
    if len(sensible) == 1:
        return _assembled(sensible[0])
    for reading in readings if not sensible else ():
        _refuse_foreign(reading)
    if readings and not sensible:
        raise UsageError(f"{VARIABLE} names no database; append one: {EXAMPLE}.")
    raise UsageError(
        f"{VARIABLE} cannot be read{' in one way only' if sensible else ''}; it has the form {EXAMPLE}, "
        "with special characters in the password percent-encoded (@ as %40, / as %2F, a blank as %20)."
    )


def _words(text: str) -> Settings:
    try:
        settings: Settings = parse_dsn(text)
    except ProgrammingError:
        raise UsageError(f"{VARIABLE} cannot be read; it has the form {EXAMPLE} or host=... dbname=... .") from None
    if not settings.get("dbname"):
        raise UsageError(f"{VARIABLE} names no database; append dbname=... .")
    return settings


def _readings(rest: str) -> Iterator[Settings]:
    """Every way to read what follows `://`: user and password end at any of its `@`, or there are none."""
    for end in (-1, *(place.start() for place in re.finditer("@", rest))):
        login, tail = _LOGIN.fullmatch(rest[: max(end, 0)]), _TAIL.fullmatch(rest[end + 1 :])
        if login is None or tail is None or re.search("%00|\0|[\ud800-\udfff]", rest):
            continue  # what no connection can carry
        given: dict[str, list[str]] = {}
        for name, value in parse_qsl(tail["query"] or "", keep_blank_values=True):
            given.setdefault(name, []).append(value)
        hosts = given.pop("host", None) or [unquote(host) for host in tail["hosts"].split(",")]
        named = [_host_and_port(host) for several in hosts for host in several.split(",")]
        settings = {name: " ".join(values) if name == "options" else values[-1] for name, values in given.items()}
        if settings.pop("ssl", "") == "true":
            settings["sslmode"] = "require"
        yield {
            "user": unquote(login["user"]),
            "password": unquote(login["password"] or ""),
            "host": ",".join(host for host, _ in named),
            "port": ",".join(port for _, port in named) if any(port for _, port in named) else "",
            "dbname": unquote(tail["database"] or ""),
            **settings,
        }


def _host_and_port(text: str) -> tuple[str, str]:
    found = _HOST_AND_PORT.fullmatch(text)
    return (found["host"].strip("[]"), found["port"]) if found else (text.strip("[]"), "")


@cache
def _is_known(option: str) -> bool:
    """Whether libpq has the option: asked of libpq itself."""
    if option in ("plugin", SCHEMA):
        return True
    try:
        return option.isidentifier() and bool(parse_dsn(f"{option}=x"))
    except ProgrammingError:
        return False


def _foreign(settings: Settings) -> Sequence[str]:
    unknown = [name for name in settings if not _is_known(name)]
    return [*unknown, "plugin"] if settings.get("plugin", PLUGIN) != PLUGIN else unknown


def _refuse_foreign(settings: Settings) -> None:
    """Name an option only where it is one that people are known to append: it may be a piece of a password."""
    for name in _foreign(settings):
        if name in FOREIGN:
            raise UsageError(f"{VARIABLE} has the option '{name}', which PostgreSQL does not have: {FOREIGN[name]}.")
        raise UsageError(
            f"{VARIABLE} has an option behind its ? that PostgreSQL does not have; take it out.{nearest(name, COMMON)}"
        )


def _assembled(settings: Settings) -> URL:
    """One plain host stands before the slash; several, and folders of sockets, only an option can hold."""
    left = {name: value for name, value in settings.items() if value}
    user, password, database = (left.pop(name, None) for name in ("user", "password", "dbname"))
    if password and user is None:
        user = ""  # libpq takes the system's; without any, SQLAlchemy would leave the password out
    host, port = left.get("host", ""), left.get("port", "")
    is_plain = not re.search(r"[,/@]", host) and (host or not port)
    if is_plain and (port.isdecimal() or not port):
        left.pop("host", None)
        left.pop("port", None)
        return URL.create(DRIVER, user, password, host or None, int(port) if port else None, database, left)
    return URL.create(DRIVER, user, password, database=database, query=left)


def canonical(text: str) -> str:
    """`text` as `postgresql+psycopg2://...`, everything percent-encoded that needs it, the password included."""
    return parse(text).render_as_string(hide_password=False)


def through_pooler(url: str) -> str:
    """The URL, marked: a pooler stands before the server, and a session does not keep its settings."""
    return parse(url).update_query_dict({"plugin": PLUGIN}).render_as_string(hide_password=False)


def url_for(url: str, schema: str = "public", application: str | None = None) -> str:
    """The database's URL for a library that keeps its tables in `schema`, its sessions on UTC.

    The default is for statements that name their schema. Leaving the search path open instead would make a schema
    that is called like the database's user the nameless one, and Alembic would take its tables for missing.

    The user's own server options are kept; of two settings the server takes the last, which is ours. Where a pooler
    stands before the server (`through_pooler`), options would be refused or ignored: every statement brings its own.
    """
    parsed = parse(url)
    query: dict[str, str] = {}
    if "plugin" in parsed.query:
        query[SCHEMA] = schema
    else:
        query["options"] = f"{parsed.query.get('options', '')} -csearch_path={schema} -ctimezone=UTC".strip()
    if application is not None:
        query["application_name"] = application
    if "connect_timeout" not in parsed.query:
        query["connect_timeout"] = "10"
    return parsed.update_query_dict(query).render_as_string(hide_password=False)


def split_password(url: str) -> tuple[str, Mapping[str, str]]:
    """The URL without its password, and the environment (`PGPASSWORD`, or nothing) that supplies it.

    For starting a process that is given the URL as an argument: `ps` shows arguments to everybody.
    """
    parsed = parse(url)
    # URL.set would read None as "leave it as it is".
    bare = parsed._replace(password=None).render_as_string(hide_password=False)
    return bare, {} if parsed.password is None else {"PGPASSWORD": parsed.password}


def place(url: str) -> str:
    """Hosts, port and database for a sentence; no user, no password."""
    parsed = parse(url)
    host = parsed.host or str(parsed.query.get("host", "the local socket")).replace(",", ", ")
    port = parsed.port or str(parsed.query.get("port", "")).replace(",", ", ")
    return f"database '{parsed.database}' on {host}" + (f", port {port}" if port else "")
