"""No password reaches a trial's process, a log line or a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from trainer.config import TrainerConfig
from trainer.data import prepare

PASSWORD = "s3cret-w0rd"
URL = f"postgresql://me:{PASSWORD}@127.0.0.1:1/db"

TRIAL = """
import json, os, sys
from pathlib import Path
import psutil
from hpo.adapters.processes.runners import ProcessRunner
from hpo.domain.training import Decision
from hpo.domain.ports import TrialRequest

given = json.loads(sys.argv[1])

def look(report):
    # The kernel's own copy, which is what `ps e` shows.
    for process in psutil.Process().children(recursive=True):
        print(json.dumps([process.pid, process.cmdline(), process.environ()]))
    return Decision.STOP

runner = ProcessRunner()
end = runner.run(TrialRequest(given["config"], Path(given["data"]), Path(given["folder"])), look, lambda: False)
assert end.kind == "stopped", end
assert os.environ["HPO_DATABASE_URL"], "the worker still needs it"
"""

BUG = """
import logging, sys, threading
from hpo import cli
from hpo.cli import commands
from hpo.wiring import log_to

def break_down(options):
    log_to(None)
    url = {url!r}
    try:
        raise ValueError("in the log: " + url)
    except ValueError:
        logging.getLogger("hpo.test").exception("it went wrong with %s", url)
    thread = threading.Thread(target=lambda: int("in a thread: " + url))
    thread.start()
    thread.join()
    raise RuntimeError("at the end: " + url)

commands.COMMANDS["status"] = break_down
sys.exit(cli.main(["status"]))
"""


def run(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={
            **os.environ,
            "HPO_DATABASE_URL": URL,
            "PGPASSWORD": PASSWORD,
            "MLFLOW_TRACKING_URI": f"https://u:{PASSWORD}@h",
            "HPO_ARTIFACTS": "s3://bucket/prefix",
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_trial_process_is_not_given_what_opens_a_store(tmp_path: Path) -> None:
    config = TrainerConfig.model_validate(
        {
            "data": {"source": "planted:clean?stocks=12&days=300", "horizons": (1,)},
            "model": {"kind": "linear", "window": 3},
            "train": {"epochs": 10_000, "device": "cpu", "precision": "fp32", "threads": 1},
        }
    )
    data = prepare(config.data, config.model.window, tmp_path / "cache").search
    folder = tmp_path / "attempt-1"
    folder.mkdir()
    given = {"config": config.model_dump(mode="json"), "data": str(data), "folder": str(folder)}
    ended = run(TRIAL, json.dumps(given), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    family = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(family) >= 2, "the fork server and the trial"
    for _, command, environment in family:
        assert PASSWORD not in json.dumps([command, environment])
        assert "PATH" in environment
        assert "HPO_ARTIFACTS" not in environment


def test_what_nobody_foresaw_is_told_without_passwords(tmp_path: Path) -> None:
    ended = run(BUG.format(url=URL), cwd=tmp_path)
    assert ended.returncode == 1
    assert PASSWORD not in ended.stdout + ended.stderr
    for words in ("it went wrong with", "in the log", "in a thread", "at the end"):
        assert words in ended.stderr
    assert ended.stderr.count("Traceback") == 3
    assert "postgresql://me:***@127.0.0.1:1/db" in ended.stderr
