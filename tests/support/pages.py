"""The documentation's pages as programs: their fenced blocks, and the commands in them, as a shell would take them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
SHELL, PYTHON = ("sh", "bash", "console"), ("python",)
BETWEEN = ("|", "&&", "||", ";")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
HERE = re.compile(r" *<<'?(\w+)'?\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)
ASSIGNMENT = re.compile(r"(\w+)=(.*)", re.DOTALL)
COMMENT = re.compile(r"(?:^|(?<=\s))#.*")


@dataclass(frozen=True)
class Block:
    """A fenced block. place: page and line, to be found by."""

    place: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One program's words, with the variables of the block put in. sets: what it exports or assigns. given: what stands
    below it for its standard input."""

    place: str
    words: tuple[str, ...]
    sets: tuple[str, ...] = ()
    given: tuple[str, ...] = field(default=(), compare=False)


def blocks(*languages: str) -> Iterator[Block]:
    """All blocks in one of these languages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            if found[1] in languages:
                line = text.count("\n", 0, found.start()) + 1
                yield Block(f"{page.relative_to(ROOT)}:{line}", found[1], found[2])


def commands(block: Block) -> Iterator[Command]:
    """In order. Comments are left out, and a line that ends with a backslash goes on in the next."""
    given = tuple(found[2] for found in HERE.finditer(block.text))
    variables: dict[str, str] = {}
    for line in HERE.sub("", block.text).replace("\\\n", " ").splitlines():
        # Single quotes keep what they hold; the shell fills in the rest.
        filled = re.sub(r"\$(\w+)", lambda found: variables.get(found[1], found[0]), line)
        lexer = shlex.shlex(COMMENT.sub("", filled), posix=True, punctuation_chars="|&;")
        lexer.whitespace_split, lexer.commenters = True, ""  # `night#7` is a word
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in BETWEEN:
                words.append(word)
                continue
            if words:
                yield _command(block.place, words, variables, given)
            words = []


def _command(place: str, words: list[str], variables: dict[str, str], given: tuple[str, ...]) -> Command:
    rest = words[1:] if words[0] == "export" else words
    assigned = []
    while rest and (found := ASSIGNMENT.fullmatch(rest[0])):
        variables[found[1]] = found[2]
        assigned.append(found[1])
        rest = rest[1:]
    return Command(place, tuple(rest), tuple(assigned), given)
