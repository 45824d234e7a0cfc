"""Every command on a page is one that the programs take, every setting in it composes, every snippet calls what exists.

What can be run cheaply is run (`acceptance/test_tutorial.py`); here nothing is started. A command that is not known
here fails: teach `KNOWN` what it is, and how it is checked.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.pages import PYTHON, ROOT, SHELL, Block, Command, blocks, commands

from hpo.cli import config_loader, parser
from hpo.cli.selection import composed, separate_runs
from hpo.domain.config import SearchConfig
from trainer.__main__ import _parse
from trainer.tools.composition import compose_config, sweep

COMMANDS = [command for block in blocks(*SHELL) for command in commands(block)]
SNIPPETS = list(blocks(*PYTHON))
OWN = [file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "support" / "own").glob("*.py")]
"""Snippets that are files, which run in tests of their own (see `test_docs_trainable.py`)."""
ELSEWHERE: Mapping[str, Sequence[str]] = {
    "cd": (),
    "kubectl": ("create", "apply", "exec"),
    "pip": ("install",),
    "ray": ("start",),
}
"""Programs of others that pages use -> their commands that were tried."""


def hpo(words: Sequence[str]) -> None:
    """The real parser, and every setting composed."""
    options = parser.parse(words)
    if options.command in ("run", "data", "manifest") and not getattr(options, "multirun", False):
        own = [word for word in options.overrides if options.command != "manifest" or not word.startswith("study=")]
        given = {"space": None, "config": None, "data": None, **vars(options), "overrides": own}
        composed(type(options)(**given))
    elif getattr(options, "multirun", False):
        assert len(separate_runs(options)) > 1
    elif options.command in ("resume", "worker"):
        config_loader.changed(SearchConfig(), options.overrides)


def trainer(words: Sequence[str]) -> None:
    options = _parse(list(words))
    if options.multirun:
        assert len(sweep(options.overrides)) > 1
        for overrides in sweep(options.overrides).values():
            compose_config(overrides, options.config)
    elif options.run is None:
        compose_config(options.overrides, options.config)


def make(words: Sequence[str]) -> None:
    """Its targets and variables exist, and what it would run is taken."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, is_variable, _ = word.partition("=")
        assert re.search(rf"\$\({name}\)" if is_variable else rf"^{name}:", text, re.MULTILINE), word
    said = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = tuple(f".venv/bin/{name} " for name in ("hpo", "trainer", "python -m pytest"))
    shown = Block("make", "sh", "\n".join(line for line in said.splitlines() if line.startswith(ours)))
    for command in commands(shown):
        check(command)


def python(words: Sequence[str]) -> None:
    """Only pytest is called by pages: its files exist, and its own options."""
    assert tuple(words[:2]) == ("-m", "pytest"), words
    options = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    for word in words[2:]:
        if word.startswith("tests"):
            assert (ROOT / word).exists(), word
        elif word.startswith("--") and word.partition("=")[0] not in ("--numprocesses", "--dist"):
            assert f'"{word.partition("=")[0]}"' in options or word == "--no-loadscope-reorder", word


def alembic(words: Sequence[str]) -> None:
    from alembic.config import CommandLine

    CommandLine().parser.parse_args(words)


def elsewhere(name: str) -> Callable[[Sequence[str]], None]:
    def known(words: Sequence[str]) -> None:
        tried = ELSEWHERE[name]
        assert not tried or words[0] in tried, f"nobody has tried `{name} {words[0]}`"
        if name == "kubectl" and "--" in words:
            check(Command("inside", tuple(words[words.index("--") + 1 :])))

    return known


KNOWN: Mapping[str, Callable[[Sequence[str]], None]] = {
    "alembic": alembic,
    "hpo": hpo,
    "make": make,
    "mkdocs": lambda words: None,
    "python": python,
    "trainer": trainer,
    **{name: elsewhere(name) for name in ELSEWHERE},
}


def check(command: Command) -> None:
    for name in command.sets:
        is_ours = name.startswith(("HPO_", "MLFLOW_"))
        assert not is_ours or any(name in file.read_text() for file in (ROOT / "hpo").rglob("*.py")), name
    if command.words:
        name = Path(command.words[0]).name
        assert name in KNOWN, f"no test knows the command `{' '.join(command.words)}`"
        KNOWN[name](command.words[1:])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reader of a page works: with their own space, and the examples at hand."""
    first = next(block.text for block in blocks("yaml") if block.place.startswith("README"))
    (tmp_path / "my_space.yaml").write_text(first)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.place}-{' '.join(command.words)[:60]}")
def test_a_command_of_a_page_is_taken(folder: Path, command: Command) -> None:
    if "trainable=lora.finetune:FineTuning" in command.words:
        pytest.importorskip("peft", reason="the extra [lora] is not installed")
        pytest.MonkeyPatch().chdir(ROOT / "examples")
    check(command)
    for text in command.given:
        assert all(document["kind"] for document in yaml.safe_load_all(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hpo run trialz=20", "trialz"),
        ("hpo run --spice atft", "spice"),
        ("hpo dance", "dance"),
        ("trainer optim.speed=1", "speed"),
        ("make hpo-dance", "hpo-dance"),
        ("make hpo-run HPO_DANCE=1", "HPO_DANCE"),
        ("frobnicate --all", "no test knows"),
        ("export HPO_NOTHING=1", "HPO_NOTHING"),
        (".venv/bin/python -m pytest tests/nothing.py", "nothing"),
    ],
)
def test_a_command_that_is_wrong_is_found(
    folder: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (command,) = commands(Block("here", "sh", text))
    with pytest.raises((Exception, SystemExit)) as raised:
        check(command)
    assert message in f"{raised.value} {capsys.readouterr().err}"


def test_pages_have_commands_and_snippets() -> None:
    assert len(COMMANDS) > 40
    assert len(SNIPPETS) > 5


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.place)
def test_a_snippet_calls_what_exists(snippet: Block) -> None:
    if not any(snippet.text.strip() == text.strip() for text in OWN):
        _walk(snippet)


@pytest.mark.parametrize(
    "text",
    [
        "import tiertune\ntiertune.search()",
        "import tiertune\ntiertune.run('x', trails=3)",
        "import tiertune\ncampaign = tiertune.run('x')\ncampaign.predikt('y')",
    ],
)
def test_a_snippet_that_is_wrong_is_found(text: str) -> None:
    with pytest.raises((AttributeError, TypeError)):
        _walk(Block("here", "python", text))


def _walk(snippet: Block) -> None:
    tree = ast.parse(snippet.text)
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update((alias.asname or alias.name, importlib.import_module(alias.name)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            names.update((alias.asname or alias.name, getattr(module, alias.name)) for alias in node.names)
    for statement in tree.body:
        _follow(statement, names)


def _follow(statement: ast.stmt, names: dict[str, Any]) -> None:
    """Look each call up, see that its arguments fit, and note what a name is bound to."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            _result(node, names)
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        value = statement.value
        names[statement.targets[0].id] = _result(value, names) if isinstance(value, ast.Call) else None


def _result(call: ast.Call, names: Mapping[str, Any]) -> Any:
    """The class of what a call returns, None where that is not known."""
    function = _thing(call.func, names)
    if not callable(function):
        return None
    keywords = {word.arg: None for word in call.keywords if word.arg is not None}
    is_method = isinstance(call.func, ast.Attribute) and inspect.isclass(_thing(call.func.value, names))
    inspect.signature(function).bind(*([None] * (len(call.args) + is_method)), **keywords)
    said = inspect.signature(function).return_annotation
    found = vars(sys.modules[function.__module__]).get(said) if isinstance(said, str) else said
    return found if inspect.isclass(found) and found is not inspect.Signature.empty else None


def _thing(expression: ast.expr, names: Mapping[str, Any]) -> Any:
    """What an expression of names and attributes is."""
    if isinstance(expression, ast.Name):
        return names.get(expression.id)
    if isinstance(expression, ast.Attribute):
        owner = _thing(expression.value, names)
        return None if owner is None else getattr(owner, expression.attr)
    return _result(expression, names) if isinstance(expression, ast.Call) else None
