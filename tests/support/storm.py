"""The storm: accidents drawn by a seed over real campaigns, each of which must end where the undisturbed one ends.

An accident is drawn and struck while a sitting trains. Some are survived by the sitting itself (a killed trial or
worker), others end it and the next sitting goes on. Replay one with its seed: everything but the operating system's
timing is drawn from it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg2

from hpo.adapters.postgres.database import prepare
from hpo.adapters.postgres.embedded import DATABASE, EmbeddedPostgres
from hpo.domain.campaign import CampaignState, SlotState
from hpo.domain.errors import StoreUnavailable
from hpo.runs.folder import SlotFolder
from support.arena import Arena, family
from support.tree import Tree, trials, workers

ROOT = Path(__file__).parents[2]
NUM_TRIALS, NUM_EPOCHS = 6, 6
SETTINGS = (f"trials={NUM_TRIALS}", f"trainer.train.epochs={NUM_EPOCHS}")
SITTING_SECONDS = 300.0
START_CPU_SECONDS = 0.5
MAX_SITTINGS = 60
ALLOWED = (0, 3, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)
"""How a sitting may end: done, an environment that failed, interrupted, or killed from outside."""


@dataclass
class Sitting:
    """One `hpo run` while it lives. survives: it goes on by itself after every accident so far."""

    process: subprocess.Popen[bytes]
    name: str
    survives: bool = True

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.process.pid)


@dataclass
class Weather:
    """What a storm did: accidents by kind, campaigns, and every breach of a promise with the seed that shows it."""

    accidents: Counter[str] = field(default_factory=Counter)
    campaigns: int = 0
    breaches: list[str] = field(default_factory=list)


class Storm:
    """Campaigns of one seed below one state folder with its own embedded server."""

    def __init__(self, home: Path, seed: int, weather: Weather) -> None:
        self.home, self.seed, self.weather = home, seed, weather
        self._chance = random.Random(seed)
        home.chmod(0o755)  # when root runs the tests, the server's own user has to get in
        self._server = EmbeddedPostgres(home)
        url = self._server.acquire()
        self._server.keep()  # nobody's accident but the storm's own stops it
        prepare(url)
        self.arena = Arena(url, home, {})
        # The embedded server is found through the state folder, as a user's is.
        self.tree = Tree(self.arena, {"HPO_DATABASE_URL": ""})
        self._url = url

    def close(self) -> None:
        self.arena.close()
        self._server.release()
        self._server.stop()

    def campaign(self, number: int, num_accidents: int) -> None:
        """One campaign in the storm, compared with the undisturbed one."""
        name = f"storm-{self.seed}-{number}"
        expected = self.tree.undisturbed(*SETTINGS)
        left = num_accidents
        self.weather.campaigns += 1
        for _ in range(MAX_SITTINGS):
            left -= self._sit(name, left)
            if not left and self._is_complete(name):
                break
        else:
            self._breach(name, f"not complete after {MAX_SITTINGS} sittings")
            return
        self._judge(name, expected)

    def _sit(self, name: str, quota: int) -> int:
        """One sitting that meets with up to `quota` accidents; how many."""
        if quota and self._is_complete(name):
            # The campaign outran the storm: what is left strikes its conclusion, which any sitting makes again.
            (self.home / "runs" / name / "concluded.json").unlink(missing_ok=True)
        sitting = Sitting(self.tree.start(name, *SETTINGS), name)
        struck = 0
        try:
            while struck < quota and sitting.survives and self._wait(sitting):
                kind = self._chance.choices(list(ACCIDENTS), [weight for weight, _ in ACCIDENTS.values()])[0]
                if self._strike(kind, sitting):
                    struck += 1
                    self.weather.accidents[kind] += 1
                    self._note(name, kind)
            code = sitting.process.wait(SITTING_SECONDS)
        except subprocess.TimeoutExpired:
            self._breach(name, f"a sitting did not end within {SITTING_SECONDS:g} s")
            code = 0
        finally:
            for left in family(sitting.process.pid):
                with suppress(psutil.NoSuchProcess):
                    left.kill()
        self._end_orphans(name)
        self._server.acquire()  # a killed server's successor ends with the sitting that started it
        if code not in ALLOWED:
            self._breach(name, f"a sitting ended with exit code {code}")
        return struck

    def _strike(self, kind: str, sitting: Sitting) -> bool:
        """Whether the accident struck; none does while an earlier one still has the database down."""
        try:
            self._sql("SELECT 1")
            return ACCIDENTS[kind][1](self, sitting)
        except (psycopg2.OperationalError, StoreUnavailable):
            return False

    def _wait(self, sitting: Sitting) -> bool:
        """Let a random time go by; whether the sitting still lives. Accidents begin once the campaign has an epoch and
        the sitting's own interpreter is up: before that a signal meets Python's start, not ours."""
        deadline = time.monotonic() + SITTING_SECONDS
        while sitting.process.poll() is None and time.monotonic() < deadline:
            if self.tree.num_epochs(sitting.name) and _cpu_seconds(sitting.process.pid) > START_CPU_SECONDS:
                break
            time.sleep(0.2)
        time.sleep(self._chance.expovariate(1 / 1.5))
        return sitting.process.poll() is None

    def _is_complete(self, name: str) -> bool:
        campaign = self.arena.ledger.find_campaign(name)
        concluded = (self.home / "runs" / name / "concluded.json").exists()
        return campaign is not None and campaign.state is CampaignState.COMPLETE and concluded

    def _judge(self, name: str, expected: object) -> None:
        """Nothing lost, nothing counted twice, the same champion, no traceback, nothing for the doctor."""
        found = self.arena.history(name)
        parts = ("trials", "decisions", "champion", "weights")
        for part, before, after in zip(parts, expected, found, strict=True):  # type: ignore[call-overload]
            if before != after:
                self._breach(name, f"{part} differ from the undisturbed campaign's")
        if len(self.arena.trials(name)) != NUM_TRIALS:
            self._breach(name, f"{len(self.arena.trials(name))} trials for {NUM_TRIALS} slots")
        for complaint in self.arena.examine(name):
            self._breach(name, f"doctor: {complaint}")
        if "Traceback" in self.tree.output(name):
            self._breach(name, f"a traceback in {self.home}")

    def _breach(self, name: str, what: str) -> None:
        breach = f"seed {self.seed}, {name}: {what} [{', '.join(self._history(name))}]"
        self.weather.breaches.append(breach)
        with (self.home / "breaches").open("a") as file:  # an hour is long to wait for the first
            file.write(f"{breach}\n")

    def _note(self, name: str, kind: str) -> None:
        with (self.home / f"{name}.accidents").open("a") as file:
            file.write(f"{kind}\n")

    def _history(self, name: str) -> list[str]:
        file = self.home / f"{name}.accidents"
        return file.read_text().split("\n")[:-1] if file.exists() else []

    def _end_orphans(self, name: str) -> None:
        """A worker whose supervisor was killed drains by itself; the next sitting is not to overlap it, so that one
        worker's order is kept."""
        deadline = time.monotonic() + 60
        while _searching(self.home, name):
            if time.monotonic() > deadline:
                self._breach(name, "a worker outlived its supervisor by 60 s")
                return
            time.sleep(0.2)

    # Accidents. Each returns whether it struck; what it needs may not be there yet.

    def kill_trial(self, sitting: Sitting) -> bool:
        return self._signal(trials, sitting, signal.SIGKILL)

    def terminate_trial(self, sitting: Sitting) -> bool:
        return self._signal(trials, sitting, signal.SIGTERM)

    def kill_worker(self, sitting: Sitting) -> bool:
        return self._signal(workers, sitting, signal.SIGKILL)

    def kill_any(self, sitting: Sitting) -> bool:
        return self._signal(lambda supervisor: supervisor.children(recursive=True), sitting, signal.SIGKILL)

    def freeze_any(self, sitting: Sitting) -> bool:
        """Somebody sleeps for a moment, as under a debugger or a hypervisor."""
        living = [process for process in family(sitting.process.pid) if process.pid != sitting.process.pid]
        if not living:
            return False
        sleeper = self._chance.choice(living)
        with suppress(psutil.NoSuchProcess):
            sleeper.suspend()
            time.sleep(self._chance.uniform(0.2, 2.0))
            sleeper.resume()
        return True

    def kill_supervisor(self, sitting: Sitting) -> bool:
        sitting.survives = False
        sitting.process.kill()
        return True

    def kill_tree(self, sitting: Sitting) -> bool:
        """A power cut, as far as processes go."""
        sitting.survives = False
        for process in family(sitting.process.pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return True

    def interrupt(self, sitting: Sitting) -> bool:
        """Ctrl-C reaches the whole terminal."""
        sitting.survives = False
        self._to_all(sitting, signal.SIGINT)
        return True

    def interrupt_twice(self, sitting: Sitting) -> bool:
        sitting.survives = False
        self._to_all(sitting, signal.SIGINT)
        time.sleep(self._chance.uniform(0.0, 1.0))
        self._to_all(sitting, signal.SIGINT)
        return True

    def terminate(self, sitting: Sitting) -> bool:
        sitting.survives = False
        sitting.process.terminate()
        return True

    def damage_cache(self, sitting: Sitting) -> bool:
        """An array of the panel is cut short, altered or gone; the search may stop for it, in a sentence."""
        arrays = sorted(self.home.glob("cache/*/*/*.npy"))
        if not arrays:
            return False
        sitting.survives = False
        self._damage(self._chance.choice(arrays))
        return True

    def delete_cache(self, sitting: Sitting) -> bool:
        sitting.survives = False
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        return True

    def delete_run_folder(self, sitting: Sitting) -> bool:
        """Of a slot that is being trained, and for some time yet. (That of a trial that has ended is lost; the doctor
        says so.)"""
        running = [slot for slot in self.arena.slots(sitting.name) if slot.state is SlotState.RUNNING]
        folders = [SlotFolder(self.home / "runs" / sitting.name, slot.slot) for slot in running]
        young = [each for each in folders if (now := each.current()) and len(now.epochs()) <= NUM_EPOCHS // 2]
        if not young:
            return False
        shutil.rmtree(young[0].folder, ignore_errors=True)
        sitting.survives = False  # it may go on, or stop in a sentence
        return True

    def damage_checkpoint(self, sitting: Sitting) -> bool:
        """The newest checkpoint of a slot that is being trained; the search is killed with it."""
        running = [slot for slot in self.arena.slots(sitting.name) if slot.state is SlotState.RUNNING]
        self.kill_tree(sitting)
        for slot in running:
            attempt = SlotFolder(self.home / "runs" / sitting.name, slot.slot).current()
            if attempt is not None and (attempt.folder / "last.pt").exists():
                self._damage(attempt.folder / "last.pt")
        return True

    def switch_home(self, sitting: Sitting) -> bool:
        """A worker in another state folder takes part for a while; then its run folders are brought over."""
        other = self.home.parent / f"{self.home.name}-other"
        other.mkdir(exist_ok=True)
        self.kill_tree(sitting)
        guest = self.tree.command("worker", f"study={sitting.name}", HPO_HOME=str(other), HPO_DATABASE_URL=self._url)
        time.sleep(self._chance.uniform(2.0, 10.0))
        guest.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            guest.wait(60)
        for process in family(guest.pid):
            process.kill()
        if (other / "runs").exists():
            shutil.copytree(other / "runs", self.home / "runs", dirs_exist_ok=True)
            shutil.rmtree(other / "runs")
        return True

    def switch_code(self, sitting: Sitting) -> bool:
        """A sitting and a worker with other code are refused, and nothing is trained by them."""
        self.kill_tree(sitting)
        self._end_orphans(sitting.name)
        changed = self.home.parent / f"{self.home.name}-code"
        if not changed.exists():
            for package in ("hpo", "trainer", "search_spaces"):
                shutil.copytree(ROOT / package, changed / package, ignore=shutil.ignore_patterns("__pycache__"))
            with (changed / "trainer" / "training" / "schedules.py").open("a") as file:
                file.write("\n# changed\n")
        before = self.arena.slots(sitting.name)
        for word in ("resume", "worker"):
            process = self.tree.command(word, f"study={sitting.name}", PYTHONPATH=str(changed), PYTHONSAFEPATH="1")
            code = process.wait(SITTING_SECONDS)
            if code != 2 and not self._is_complete(sitting.name):
                self._breach(sitting.name, f"`hpo {word}` with changed code ended with exit code {code}, not 2")
        if [slot.epoch for slot in self.arena.slots(sitting.name)] != [slot.epoch for slot in before]:
            self._breach(sitting.name, "changed code trained")
        return True

    def kill_database(self, sitting: Sitting) -> bool:
        """The postmaster dies at once."""
        return self._postmaster(signal.SIGKILL)

    def restart_database(self, sitting: Sitting) -> bool:
        """Fast shutdown; somebody has to start it again."""
        return self._postmaster(signal.SIGINT)

    def read_only_database(self, sitting: Sitting) -> bool:
        """As after a fail-over to a replica, for some seconds."""
        sitting.survives = False
        switch = f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = "
        self._sql(f"{switch} on", _TERMINATE)
        time.sleep(self._chance.uniform(1.0, 6.0))
        self._server.acquire()
        self._sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", f"{switch} off", _TERMINATE)
        return True

    def drop_connections(self, sitting: Sitting) -> bool:
        self._sql(_TERMINATE)
        return True

    def _signal(
        self, choose: Callable[[psutil.Process], list[psutil.Process]], sitting: Sitting, number: signal.Signals
    ) -> bool:
        with suppress(psutil.NoSuchProcess):
            found = choose(sitting.supervisor)
            if found:
                self._chance.choice(found).send_signal(number)
                return True
        return False

    def _to_all(self, sitting: Sitting, number: signal.Signals) -> None:
        for process in family(sitting.process.pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _damage(self, file: Path) -> None:
        content = file.read_bytes()
        match self._chance.choice(("truncate", "flip", "garbage", "delete")):
            case "truncate":
                os.truncate(file, len(content) // 2)
            case "flip":
                at = self._chance.randrange(len(content))
                with file.open("r+b") as opened:
                    opened.seek(at)
                    opened.write(bytes([content[at] ^ 0x40]))
            case "garbage":
                file.write_bytes(self._chance.randbytes(100))
            case "delete":
                file.unlink()

    def _postmaster(self, number: signal.Signals) -> bool:
        pid = int(self._sql("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")[0])
        os.kill(pid, number)
        return True

    def _sql(self, *statements: str) -> list[str]:
        """Run each outside a transaction; the first column of the last one's rows."""
        connection = psycopg2.connect(self._url.replace("+psycopg2", ""))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return [str(row[0]) for row in cursor.fetchall()] if cursor.description else []
        finally:
            connection.close()


_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
)

ACCIDENTS: dict[str, tuple[float, Callable[[Storm, Sitting], bool]]] = {
    "kill a trial": (2, Storm.kill_trial),
    "terminate a trial": (1, Storm.terminate_trial),
    "kill a worker": (2, Storm.kill_worker),
    "kill any process": (2, Storm.kill_any),
    "freeze a process": (1, Storm.freeze_any),
    "kill the supervisor": (1, Storm.kill_supervisor),
    "kill the whole tree": (2, Storm.kill_tree),
    "Ctrl-C": (1, Storm.interrupt),
    "Ctrl-C twice": (2, Storm.interrupt_twice),
    "SIGTERM": (1, Storm.terminate),
    "damage the cache": (1, Storm.damage_cache),
    "delete the cache": (1, Storm.delete_cache),
    "delete a run folder": (1, Storm.delete_run_folder),
    "damage a checkpoint": (1, Storm.damage_checkpoint),
    "switch the home": (1, Storm.switch_home),
    "switch the code": (0.5, Storm.switch_code),
    "kill the database": (1, Storm.kill_database),
    "restart the database": (1, Storm.restart_database),
    "make the database read-only": (1, Storm.read_only_database),
    "drop all connections": (1, Storm.drop_connections),
}
"""Kind -> how often it is drawn, and what it does."""


def _cpu_seconds(pid: int) -> float:
    try:
        return float(psutil.Process(pid).cpu_times().user)
    except psutil.NoSuchProcess:
        return 0.0


def _searching(home: Path, name: str) -> list[psutil.Process]:
    """Processes of the campaign in this state folder that live."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            words = process.cmdline()
            if f"study={name}" in words and process.environ().get("HPO_HOME") == str(home):
                found.append(process)
    return found
