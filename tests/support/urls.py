"""Database and tracking URLs with any password and any malformation, for Hypothesis."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hypothesis import strategies as st

NUM_EXAMPLES = int(os.environ.get("SECRETS_EXAMPLES", "200"))
"""For each fuzzer; `SECRETS_EXAMPLES=2000` for a long look."""

WORD = st.text("abcdefghijkmnpqrstuvwxy0123456789", min_size=3, max_size=8).map("zq".__add__)
"""A piece of a password that no sentence of ours holds by itself."""
BETWEEN = st.one_of(
    st.text("@/?:#% &='\"\\,;[]{}$`+|\t", min_size=1, max_size=3),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=2),
    st.sampled_from(["%40", "%2F", "%zz", "://", "@h:5432/", "password=", "\n"]),
)
SCHEMES = st.sampled_from(
    [
        *("postgresql://", "postgres://", "postgresql+psycopg2://", "POSTGRESQL://", " postgresql://", "postgresql:/"),
        *("postgresql:", "", "http://", "https://", "https:/", "mysql://", "mysql+pymysql://", "sqlite://", "file://"),
        "zz://",
    ]
)
HOSTS = st.sampled_from(["127.0.0.1", "h", "", "h h", "[::1", "[::1]", "a,b", "%2Ftmp", "@h"])
PORTS = st.sampled_from(["", ":5432", ":port", ":", ":5432:5432", ":99999999"])
DATABASES = st.sampled_from(["/d", "", "/", "//d", "/d/e", "/d d"])
OPTIONS = st.sampled_from(["", "?", "?schema=public", "?pgbouncer=true", "?sslmode=require", "?x", "?a@b/c", "#x"])


@dataclass(frozen=True)
class Given:
    """What somebody set a variable to, and the words of the password in it."""

    text: str
    words: tuple[str, ...]

    def leaked(self, said: str) -> list[str]:
        """The words that `said` shows."""
        return [word for word in self.words if word in said]


@st.composite
def urls(draw: st.DrawFn) -> Given:
    """A URL, or what is meant for one: each of its parts may be missing, doubled or wrong."""
    words = draw(st.lists(WORD, min_size=1, max_size=4, unique=True))
    password = "".join(part for word in words for part in (draw(BETWEEN), word))
    password = password[draw(st.integers(0, len(password) - len(words[-1]) - 1)) :]  # it may begin with a word
    if draw(st.integers(0, 9)) == 0:
        form = draw(st.sampled_from(["host=h password={} dbname=d", "host=h dbname=d password='{}'", "password={}"]))
        return Given(form.format(password), tuple(words))
    login = draw(st.sampled_from(["tt:", "", "t t:", ":", "tt"])) + password + draw(st.sampled_from(["@", "", "@@"]))
    tail = draw(HOSTS) + draw(PORTS) + draw(DATABASES) + draw(OPTIONS)
    return Given(draw(SCHEMES) + login + tail, tuple(words))
