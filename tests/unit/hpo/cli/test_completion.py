"""A real shell completes what the commands take."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from hpo.cli.export.completion import SHELLS, completion

ASK = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
$(complete -p hpo | sed 's/.*-F \\([^ ]*\\).*/\\1/') hpo "${COMP_WORDS[COMP_CWORD]}" ""
echo "${COMPREPLY[*]}"
"""


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    completion(argparse.Namespace(shell="bash"))
    file = tmp_path / "hpo.bash"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["hpo", "re"], {"resume", "report", "record"}),
        (["hpo", "best", "--f"], {"--format"}),
        (["hpo", "best", "--format", ""], {"text", "yaml", "json", "hydra"}),
        (["hpo", "dashboard", ""], {"optuna", "mlflow"}),
        (["hpo", "run", "--data", "pri"], {"prices.csv"}),
    ],
)
def test_bash_completes(script: Path, words: list[str], offered: set[str]) -> None:
    (script.parent / "prices.csv").touch()
    bash = shutil.which("bash")
    assert bash is not None, "the Makefile needs it too"
    done = subprocess.run(
        [bash, "--norc", "-c", ASK, "bash", str(script), *words],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_without_hidden_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    completion(argparse.Namespace(shell=shell))
    printed = capsys.readouterr().out
    assert "check-trainable" in printed
    assert "--supervised" not in printed
