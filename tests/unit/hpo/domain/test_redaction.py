"""No password where people look."""

from __future__ import annotations

import pytest
from psycopg2.extensions import parse_dsn

from hpo.domain.redaction import redact_text, secrets_of

PASSWORD = "p@ss/w:rd?%41 'x'"


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
    assert redact_text("postgresql://u:secret@h:5432/d?x=1") == "postgresql://u:***@h:5432/d?x=1"
    assert redact_text("postgresql://u@h/d") == "postgresql://u@h/d"
    assert redact_text("a mail to me@example.org at 10:30") == "a mail to me@example.org at 10:30"
    assert redact_text("the word hunter2 alone", "hunter2") == "the word *** alone"


@pytest.mark.parametrize(
    "quoted",
    [
        "my secret pw",
        r"a\\b",
        "p@ss",
        "p%40ss",
        "hunter2",
        "wJalrXUtnFEMI/K7MDENG",
        "FwoGZXIvYXdz",
    ],
)
def test_what_the_environment_holds_is_known_in_every_form(quoted: str) -> None:
    environment = {
        "HPO_DATABASE_URL": "postgresql://tt:my secret pw@h:5432",
        "MLFLOW_TRACKING_URI": "https://u:p%40ss@h",
        "PGPASSWORD": "a\\b",
        "MLFLOW_TRACKING_TOKEN": "hunter2",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
        "AWS_SESSION_TOKEN": "FwoGZXIvYXdz",
    }
    assert redact_text(f"it said '{quoted}'", *secrets_of(environment)) == "it said '***'"


@pytest.mark.parametrize(
    "words",
    [
        "host=h password=hunter2 dbname=d",
        "password = hunter2",
        r"password='it\'s a \\ secret' host=h",
        r"host=h password=a\ b\\c",
        "password='' host=h password=hunter2",
        "password=a=b user='x password=y'",
    ],
)
def test_words_are_read_as_libpq_reads_them(words: str) -> None:
    assert set(secrets_of({"HPO_DATABASE_URL": words})) >= {words, parse_dsn(words)["password"]}


@pytest.mark.parametrize("text", ["host=h dbname=d", "nonsense", "a=1", ""])
def test_words_without_a_password_hold_no_secret(text: str) -> None:
    assert secrets_of({"HPO_DATABASE_URL": text}) == []
