"""Takes passwords out of what people read: lines of a terminal, logs and tracebacks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, unquote

URL_VARIABLES = ("HPO_DATABASE_URL", "MLFLOW_TRACKING_URI", "HPO_ARTIFACTS")
SECRET_VARIABLES = (
    "PGPASSWORD",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
SHORTEST = 3
"""Letters: a secret that is shorter is a part of too many words to be replaced wherever it stands."""

_WORD = re.compile(r"(?P<name>[^\s=]+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>(?:[^\s\\]|\\.)*))", re.DOTALL)
"""A `name=value` word as libpq reads it: quoted or not, a backslash takes the next letter as it is."""
_URL_PASSWORD = re.compile(r"(?P<before>\b[A-Za-z][\w+.-]*://[^\s:/@]*:)\S+(?=@)")
_NAMED_PASSWORD = re.compile(r"(?P<before>\b(?:PGPASSWORD|password)\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s&,;]+)", re.I)


def redact_text(text: str, *secrets: str) -> str:
    """The text without passwords: those in URLs and behind `password=` or `PGPASSWORD=`, and the given secrets.

    Rather too much than too little: in a word with several `@` everything up to the last one goes.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _URL_PASSWORD.sub(r"\g<before>***", text)
    return _NAMED_PASSWORD.sub(r"\g<before>***", text)


def redact_error(text: str) -> str:
    """An error, a log line or a traceback without passwords: as `redact_text`, and without what the environment's
    secrets and URLs hold, in whatever form somebody else's message quotes them."""
    return redact_text(text, *secrets_of(os.environ))


def secrets_of(environment: Mapping[str, str]) -> Sequence[str]:
    """The secrets of the environment's variables, each as it stands, decoded, and as Python quotes it.

    Of a URL this is what stands between the first colon behind `://` and the last `@`, and what an option `password`
    says; of libpq's `name=value` words the same option's.
    """
    found = [environment.get(name, "") for name in SECRET_VARIABLES]
    for name in URL_VARIABLES:
        url = environment.get(name, "")
        found.append(url.partition("://")[2].rpartition("@")[0].partition(":")[2])
        found += [value for option, value in parse_qsl(url.partition("?")[2]) if option == "password"]
        found += _said_in_words(url)
    forms = {form for secret in found for form in (secret, unquote(secret))}
    return [form for form in forms | {repr(form)[1:-1] for form in forms} if len(form) >= SHORTEST]


def _said_in_words(text: str) -> Sequence[str]:
    """`name=value` words that hold a password, and that password as libpq reads it; nothing where there is none."""
    if re.match(r"\s*[A-Za-z][\w+.-]*://", text) or "=" not in text:
        return ()
    words = [(word["name"], word["quoted"] or word["bare"] or "") for word in _WORD.finditer(text)]
    passwords = [re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL) for name, value in words if name == "password"]
    return (text, *passwords) if any(passwords) else ()
