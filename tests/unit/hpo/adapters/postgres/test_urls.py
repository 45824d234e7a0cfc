"""Database URLs: every form a person types, and no password where people look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.engine import make_url

from hpo.adapters.postgres.urls import (
    canonical,
    parse,
    split_password,
    through_pooler,
    url_for,
)
from hpo.domain.errors import UsageError


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
        ("postgresql://u:p@ss/w?rd@h:5432/d", "p@ss/w?rd"),
        ("postgresql://u:two words@h/d", "two words"),
        ("postgresql://h/d?user=u&password=p%40ss", "p@ss"),
        ("host=h dbname=d user=u password='two words'", "two words"),
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
    assert parse("postgresql://[::1]:/d").host == "::1"
    assert parse(canonical("postgresql://h/a%2Fb")).database == "a/b"


@pytest.mark.parametrize(
    ("typed", "hosts", "ports"),
    [
        ("postgresql://u:p@a:5432,b:5433/d", "a,b", "5432,5433"),
        ("postgresql://u:p@a,b:5433/d?target_session_attrs=read-write", "a,b", ",5433"),
        ("postgresql://u:p@a,[::1]/d", "a,::1", ","),
        ("postgresql://u:p@/d?host=a&host=b", "a,b", ","),
        ("postgresql://u:p@/d?host=a:5432&host=b:5433", "a,b", "5432,5433"),
        ("postgresql://u:p@/d?host=a,b&port=5432,5433", "a,b", "5432,5433"),
        ("host=a,b port=5432,5433 user=u password=p dbname=d", "a,b", "5432,5433"),
        ("postgresql://u:p@%2Ftmp/d", "/tmp", None),
        ("postgresql://u:p@%2Ftmp:5433,b/d", "/tmp,b", "5433,"),
    ],
)
def test_several_hosts_and_socket_folders_reach_libpq(typed: str, hosts: str, ports: str | None) -> None:
    url = make_url(url_for(typed, "hpo"))
    _, settings = psycopg2.dialect().create_connect_args(url)
    assert (settings["host"], settings.get("port")) == (hosts, ports)
    assert (settings["user"], settings["password"], settings["dbname"]) == ("u", "p", "d")
    assert url_for(canonical(typed), "hpo") == url_for(typed, "hpo")


def test_what_libpq_understands_by_ssl_is_kept() -> None:
    assert parse("postgresql://h/d?ssl=true").query == {"sslmode": "require"}


def test_behind_a_pooler_no_options_are_sent() -> None:
    marked = through_pooler("postgresql://u:p@h:6432/d?sslmode=require")
    assert make_url(url_for(marked, "mlflow", "me")).query == {
        "sslmode": "require",
        "plugin": "tiertune",
        "tiertune_schema": "mlflow",
        "application_name": "me",
        "connect_timeout": "10",
    }


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("sqlite:///x.db", "a sqlite URL"),
        ("mysql://u:hidden@h/d", "a mysql URL"),
        ("h:5432/hidden", "no URL"),
        ("", "no URL"),
        ("hidden://u:hidden@h/d", "no URL of PostgreSQL"),
        ("host=h password=hidden", "names no database"),
        ("host=h dbname=d hidden=x", "cannot be read"),
        ("postgresql://u:hidden@h", "names no database"),
        ("postgresql://u:hidden@h:port/d", "cannot be read"),
        ("postgresql://tt:my hidden pw@h:5432", "names no database"),
        ("postgresql://tt:my hidden pw", "cannot be read"),
        ("postgresql://u:a@hidden/b@h:5432/d?application_name=x@y/z", "cannot be read in one way only"),
        ("postgresql://u:p@h/d?hidden=1", "an option behind its [?] that PostgreSQL does not have; take it out[.]$"),
        ("postgresql://u:p@h/d?sslmod=require", "Did you mean 'sslmode'"),
        ("postgresql://u:p@h/d?schema=public", "the option 'schema'.*take it out"),
        ("postgresql://u:p@h/d?pgbouncer=true", "the option 'pgbouncer'.*take it out"),
        ("postgresql://u:p@h/d?plugin=hidden", "an option behind its [?]"),
        ("postgresql://u:hid%00den@h/d", "cannot be read"),
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


def test_a_control_character_is_refused_and_nothing_is_shown() -> None:
    with pytest.raises(UsageError, match="contains a control character") as caught:
        parse("host=h password=:abc\x1fdef dbname=d")
    assert "abc" not in str(caught.value)
