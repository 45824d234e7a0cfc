"""Searches as a user starts them: `hpo` with its workers and their trials, real training, in one state folder."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hpo.runs.folder import runs
from support.arena import ENDED, LONG, Arena, family, status, until
from support.command import TINY_SPACE, clean_environment
from support.traps import Trap

DATA = "trainer.data.source='planted:clean?stocks=20&days=400'"
LIMIT = 600.0


@dataclass
class Tree:
    """Campaigns below one HPO_HOME, which is the arena's home, on the arena's database."""

    arena: Arena
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None

    def __post_init__(self) -> None:
        self.home = self.arena.home
        self.space = self.home / "tiny.yaml"
        self.space.write_text(TINY_SPACE)

    def start(self, name: str, *settings: str, trap: Trap | None = None, **more: str) -> subprocess.Popen[bytes]:
        """`hpo run` of the campaign, as often as one likes: it goes on with it."""
        return self.command("run", f"study={name}", DATA, *settings, trap=trap, **more)

    def command(
        self, word: str, study: str, *more: str, trap: Trap | None = None, **given: str
    ) -> subprocess.Popen[bytes]:
        """Any command; its output is `output(NAME)`."""
        name = study.removeprefix("study=")
        trapped = (trap or self.trap(name)).environment()
        own = {"HPO_DATABASE_URL": self.arena.url, **self.environment, **trapped, **given}
        space = ("--space", str(self.space)) if word == "run" else ()
        with self._output(name).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "hpo", word, study, *space, *more],
                env=clean_environment(self.home, **own),
                cwd=self.cwd,
                stdout=output,
                stderr=output,
            )

    def finish(self, process: subprocess.Popen[bytes], name: str, code: int = 0) -> None:
        """Wait for its end and insist on its exit code."""
        try:
            found = process.wait(LIMIT)
        finally:
            for left in family(process.pid):
                left.kill()
        assert found == code, self.output(name)

    def run(self, name: str, *settings: str, **more: str) -> None:
        """A sitting to its end."""
        self.finish(self.start(name, *settings, **more), name)

    def trap(self, name: str, point: str = "", action: str = "", nth: int = 1, skew: float = 0.0) -> Trap:
        """A trap of this campaign; one that names no point only notes epochs."""
        struck = f"{name}.{point or 'nothing'}.{action}.once".replace(" ", "-")
        return Trap(str(self.home / f"{name}.log"), str(self.home / struck), point, action, nth, skew)

    def output(self, name: str) -> str:
        """What the campaign's commands have said, and its workers."""
        said = [self._output(name), *sorted((self.home / "logs" / name).glob("*.log"))]
        return "\n".join(f"== {file.name}\n{file.read_text()}" for file in said if file.exists())

    def _output(self, name: str) -> Path:
        return self.home / f"{name}.out"

    def num_epochs(self, name: str) -> int:
        """Epochs on record, over all slots."""
        slots = list(runs(self.home / "runs" / name))
        return sum(len(attempt.epochs()) for slot in slots if (attempt := slot.current()))

    def wait_for_epoch(self, name: str, more: int = 1, seconds: float = LONG) -> None:
        """Until so many further epochs are on record."""
        goal = self.num_epochs(name) + more
        until(lambda: self.num_epochs(name) >= goal, seconds)

    def undisturbed(self, *settings: str, name: str = "undisturbed") -> object:
        """The history of a campaign with these settings that nothing happened to."""
        if self.arena.ledger.find_campaign(name) is None:
            self.run(name, *settings)
        return self.arena.history(name)


def workers(supervisor: psutil.Process) -> list[psutil.Process]:
    """Those that live; one that was killed stays a child until the supervisor has looked at it."""
    return [child for child in supervisor.children() if status(child) not in ENDED and "worker" in child.cmdline()]


def trials(supervisor: psutil.Process) -> list[psutil.Process]:
    """Trial processes: the leaves below the workers' fork servers."""
    return [trial for worker in workers(supervisor) for server in worker.children() for trial in server.children()]


def everything(supervisor: psutil.Process) -> list[psutil.Process]:
    """The supervisor and all below it."""
    return family(supervisor.pid)
