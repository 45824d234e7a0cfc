"""Machines that share a database and an S3 server and nothing else: a state folder and a name of its own for each."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from hpo.runs.folder import Attempt, SlotFolder, campaign_folder
from support.command import hpo, start_hpo

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Machine:
    """url: of the database. artifacts: of the store, None: there is none."""

    name: str
    home: Path
    url: str
    artifacts: str | None

    @property
    def log(self) -> Path:
        return self.home / "output.log"

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(TESTS / "support/site"), str(TESTS)])
        own = {"TIERTUNE_TEST_HOST": self.name, "PYTHONPATH": path, "HPO_DATABASE_URL": self.url}
        return own if self.artifacts is None else {**own, "HPO_ARTIFACTS": self.artifacts}

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return hpo(self.home, *words, timeout=600, **self.environment())

    def run(self, *words: str) -> str:
        """What it printed; it must succeed."""
        ended = self.call(*words)
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{self.logs()}"
        return ended.stdout

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True, exist_ok=True)
        return start_hpo(self.home, *words, log=self.log, **self.environment())

    def attempts(self, campaign: str, slot: int) -> list[Attempt]:
        return SlotFolder(campaign_folder(self.home, campaign), slot).attempts()

    def num_epochs(self, campaign: str, slot: int) -> int:
        """Epochs of the newest attempt here."""
        attempts = self.attempts(campaign, slot)
        return len(attempts[-1].epochs()) if attempts else 0

    def logs(self) -> str:
        """What its processes said."""
        files = [self.log, *self.home.glob("logs/*/*.log")]
        return "\n".join(file.read_text() for file in files if file.exists())


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """A signal to a process and to everything it started."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for each in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)
