"""Database URLs: every form a person types, and no password where people look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from hpo.adapters.postgres.urls import (
    canonical,
    parse,
    place,
    redact,
    redact_text,
    split_password,
    unreachable,
    url_for,
)
from hpo.domain.errors import UsageError

PASSWORD = "p@ss/w:rd?%41 'x'"


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "POSTGRESQL", "postgresql+asyncpg"],
)
def test_every_scheme_becomes_the_drivers(scheme: str) -> None:
    assert canonical(f" {scheme}://u:p@h:5433/d\n") == "postgresql+psycopg2://u:p@h:5433/d"


@pytest.mark.parametrize(
    ("typed", "password"),
    [
        ("postgresql://u:p%40ss%2Fw@h/d", "p@ss/w"),
        ("postgresql://u:p@ss@h/d", "p@ss"),
        ("postgresql://u:p/ss@h/d", "p/ss"),
        ("postgresql://u:p@ss/w@h:5432/d?sslmode=require", "p@ss/w"),
        ("postgresql://u:12/x@h:5432/d", "12/x"),
        ("postgresql://u:a:b?c@h/d", "a:b?c"),
        ("postgresql://u:100%sure@h/d", "100%sure"),
        ("postgresql://u:p@h/d?application_name=a@b", "p"),
        ("postgresql://u@h/d", None),
        ("postgresql://u:@h/d", None),
    ],
)
def test_the_password_is_found(typed: str, password: str | None) -> None:
    url = parse(typed)
    assert (url.username, url.password, url.host, url.database) == ("u", password, "h", "d")


def test_sockets_options_and_addresses_are_kept() -> None:
    socket = parse("postgresql://u@/d?host=/var/run/pg%20sql&connect_timeout=3")
    assert (socket.host, dict(socket.query)) == (None, {"host": "/var/run/pg sql", "connect_timeout": "3"})
    assert parse("postgresql://[::1]:5432/d").host == "::1"
    assert parse("postgresql:///d").database == "d"
    assert parse("postgresql://h?dbname=d").database == "d"


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("sqlite:///x.db", "a sqlite URL"),
        ("mysql://u:hidden@h/d", "a mysql URL"),
        ("host=h dbname=d", "no URL"),
        ("", "no URL"),
        ("postgresql://u:hidden@h", "names no database"),
        ("postgresql://u:hidden@h:port/d", "cannot be read"),
    ],
)
def test_anything_else_is_refused_without_its_password(typed: str, rule: str) -> None:
    with pytest.raises(UsageError, match=f"HPO_DATABASE_URL.*{rule}") as caught:
        parse(typed)
    assert "hidden" not in str(caught.value)


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_canonical_urls_are_understood_again(password: str) -> None:
    url = make_url("postgresql+psycopg2://u@h:5432/d").set(password=password).render_as_string(hide_password=False)
    assert parse(url).password == password
    assert canonical(canonical(url)) == canonical(url)
    bare, environment = split_password(url)
    assert bare == "postgresql+psycopg2://u@h:5432/d"
    assert environment == {"PGPASSWORD": password}


def test_url_for_names_the_schema_and_utc() -> None:
    url = make_url(url_for("postgresql://u:p@h/d?options=-cstatement_timeout%3D9&sslmode=require", "mlflow", "me"))
    assert url.query == {
        "options": "-cstatement_timeout=9 -csearch_path=mlflow -ctimezone=UTC",
        "sslmode": "require",
        "application_name": "me",
        "connect_timeout": "10",
    }
    assert make_url(url_for("postgresql://h/d?connect_timeout=3")).query["connect_timeout"] == "3"


def test_url_for_may_be_repeated() -> None:
    once = url_for("postgresql://u:p@h/d", "optuna")
    assert str(make_url(url_for(once, "optuna")).query["options"]).endswith("-csearch_path=optuna -ctimezone=UTC")


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{PASSWORD.replace(' ', '')}@h/d",
        "postgresql+psycopg2://u:p%40ss@h/d?options=-c",
        "cannot reach postgresql://u:secret@h:1/d: refused, see postgres://v:secret@g/e",
        '{"url": "postgresql://u:sec"ret@h/d"}',
        "host=h password=secret dbname=d",
        "PGPASSWORD=secret hpo run",
        "password: 'sec ret' user",
        "postgresql://h/d?user=u&password=secret&x=1",
    ],
)
def test_passwords_are_removed_from_any_text(text: str) -> None:
    clean = redact_text(text)
    assert "***" in clean
    for part in ("secret", "sec", "ss/w", "p%40ss"):
        assert part not in clean.replace("password", "")


def test_redacting_leaves_the_rest() -> None:
    assert redact("postgresql://u:secret@h:5432/d?x=1") == "postgresql://u:***@h:5432/d?x=1"
    assert redact("postgresql://u@h/d") == "postgresql://u@h/d"
    assert redact_text("a mail to me@example.org at 10:30") == "a mail to me@example.org at 10:30"
    assert redact_text("the word hunter2 alone", "hunter2") == "the word *** alone"


def test_an_unreachable_server_is_named_with_the_remedy() -> None:
    url = "postgresql://u:secret@db.example:5433/d"
    assert place(url) == "database 'd' on db.example, port 5433"
    fault = str(unreachable(url, RuntimeError('password=secret refused for "postgresql://u:secret@db.example/d"')))
    assert fault.startswith("The database 'd' on db.example, port 5433 cannot be used: ")
    assert "HPO_DATABASE_URL" in fault
    assert "secret" not in fault
