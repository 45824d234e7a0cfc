"""Where campaigns meet with accidents: strike, recover, and count what was lost, counted twice or trained again."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import optuna
import psutil

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.processes.host import is_dead
from hpo.domain.campaign import CampaignState, SlotView
from hpo.engine.tiers import COPIED_FROM, DUPLICATE_OF, SLOT
from hpo.runs.folder import campaign_folder
from hpo.usecases.doctor.examination import Doctor
from support.plans import Fault, Plan
from support.victim import live

LONG = 120.0
ENDED = (psutil.STATUS_DEAD, psutil.STATUS_ZOMBIE)


@dataclass
class Tally:
    """What a fault did, over its runs. repeated: epochs that were begun more than once."""

    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    repeated: int = 0


@dataclass
class Arena:
    """Campaigns on one database, each suffered by victims one after the other, or at once."""

    url: str
    home: Path
    table: dict[tuple[str, str, str], Tally]
    notes: list[str] = field(default_factory=list)
    _calm: dict[int, Any] = field(default_factory=dict)
    _started: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The fork server imports everything once; a victim then starts in milliseconds.
        tests = str(Path(__file__).parents[1])
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
        self._context = multiprocessing.get_context("forkserver")
        # One that an earlier test started would hand its victims another import, and trials that really train.
        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # there is no public way
        self._context.set_forkserver_preload(["support.victim"])
        self.ledger, self.storage = PostgresLedger(self.url), study_storage(self.url)

    def close(self) -> None:
        for process in self._started:
            process.kill()
        self.ledger.close()
        self.storage.remove_session()
        self.storage.engine.dispose()

    def plan(self, name: str, num_trials: int, fault: Fault | None = None, **more: Any) -> Plan:
        return Plan(self.url, self.home, name, num_trials, self.home / f"{name}.log", fault, **more)

    def start(self, plan: Plan) -> Any:
        # A daemon may have no children, and a trial's process is one.
        name, daemon = f"{plan.name} {plan.fault}", not plan.own_process
        process = self._context.Process(target=live, args=(plan,), name=name, daemon=daemon)
        process.start()
        self._started.append(process)
        return process

    def suffer(self, plan: Plan) -> int:
        """One victim's life; its exit code (negative: the signal that ended it)."""
        process = self.start(plan)
        process.join(LONG)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{plan} goes on for ever: {self.complaints(plan.name)}")
        return int(process.exitcode)

    def survive(self, plan: Plan) -> None:
        """One worker that brings the campaign to its end, whatever happens to its trials."""
        code = self.suffer(plan)
        assert code == 0, f"the worker ended with {code}: {self.complaints(plan.name)}"

    def recover(self, plan: Plan) -> None:
        """One undisturbed worker brings the campaign to its end."""
        self.survive(Plan(**{**vars(plan), "fault": None}))

    def complaints(self, name: str) -> str:
        file = self.home / f"{name}.err"
        return file.read_text() if file.exists() else ""

    def note_strike(self, name: str, action: str) -> None:
        """An accident that the test itself brought about."""
        with (self.home / f"{name}.struck").open("a") as file:
            file.write(f"{action}\n")

    def num_struck(self, name: str) -> int:
        """How many accidents the campaign's victims have really met with."""
        file = self.home / f"{name}.struck"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def score(self, name: str, fault: Fault, victim: str) -> None:
        """Note what the fault, repeated or not, did to a campaign that has recovered, and insist on the promises."""
        self.score_all(name, [(fault, victim)] * self.num_struck(name))

    def score_all(self, name: str, faults: Sequence[tuple[Fault, str]]) -> None:
        """The same for different faults and victims, all that the campaign met with; what it cost stands with the
        first."""
        assert len(faults) == self.num_struck(name) > 0, "the point was never reached"
        campaign = self.ledger.find_campaign(name)
        assert campaign is not None
        slots = self.ledger.slots(campaign.id)
        finished = Counter(trial.user_attrs[SLOT] for trial in self.trials(name) if trial.state.is_finished())
        begun = Counter((self.home / f"{name}.log").read_text().splitlines())
        repeated = sum(begun.values()) - len(begun)
        tallies = [self.tally(fault, victim) for fault, victim in faults]
        for tally in tallies:
            tally.runs += 1
        tallies[0].lost += sum(1 for slot in slots if slot.outcome is None or finished[slot.slot] == 0)
        tallies[0].duplicated += sum(number - 1 for number in finished.values())
        tallies[0].repeated += repeated
        assert campaign.state is CampaignState.COMPLETE
        assert (tallies[0].lost, tallies[0].duplicated) == (0, 0), tallies[0]
        assert repeated <= len(faults), f"{repeated} epochs repeated by {len(faults)} faults"
        breaches = self.examine(name)
        assert breaches == [], breaches

    def tally(self, fault: Fault, victim: str) -> Tally:
        """The row of the table."""
        return self.table.setdefault((fault.action, fault.point, victim), Tally())

    def examine(self, name: str) -> list[str]:
        """What the doctor complains of."""
        doctor = Doctor(self.ledger, self.storage, campaign_folder(self.home, name), lambda: 0, is_dead)
        return [breach for check in doctor.examine(name) for breach in check.breaches]

    def slots(self, name: str) -> Sequence[SlotView]:
        """The campaign's slots in order."""
        campaign = self.ledger.find_campaign(name)
        assert campaign is not None
        return self.ledger.slots(campaign.id)

    def trials(self, name: str) -> list[optuna.trial.FrozenTrial]:
        """The campaign's own trials in order of their slots; copies and marked duplicates apart."""
        campaign = self.ledger.find_campaign(name)
        assert campaign is not None
        studies = set(optuna.get_all_study_names(self.storage))
        found = [
            trial
            for tier in campaign.spec.tiers
            if tier.study_name(name) in studies
            for trial in optuna.load_study(study_name=tier.study_name(name), storage=self.storage).trials
            if not {COPIED_FROM, DUPLICATE_OF} & trial.user_attrs.keys()
        ]
        return sorted(found, key=lambda trial: trial.user_attrs[SLOT])

    def history(self, name: str) -> Any:
        """All that a campaign found out, without times, names and identities."""
        campaign = self.ledger.find_campaign(name)
        assert campaign is not None
        trials = [(t.user_attrs[SLOT], t.state, t.params, t.intermediate_values, t.value) for t in self.trials(name)]
        decisions = [_without_names(decision) for _, decision in sorted(campaign.decisions.items())]
        champion = _without_names(campaign.champion or {})
        champion["members"] = list(champion.get("members", {}).values())
        weights = None
        if campaign.champion is not None:
            weights = (self.home / campaign.champion["run_folder"] / "model.pt").read_bytes()
        return trials, decisions, champion, weights

    def records(self, name: str) -> Any:
        """Every word the stores hold of the campaign's slots, checkpoints and trials, times included."""
        campaign = self.ledger.find_campaign(name)
        assert campaign is not None
        return self.ledger.slots(campaign.id), self.ledger.checkpoints(campaign.id), self.trials(name)

    def calm(self, num_trials: int) -> Any:
        """The history of a campaign of this size that nothing happened to."""
        if num_trials not in self._calm:
            name = f"calm-{num_trials}"
            self.recover(self.plan(name, num_trials))
            self._calm[num_trials] = self.history(name)
        return self._calm[num_trials]


def _without_names(record: Any) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("source", "run_folder")}


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it that live."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def status(process: psutil.Process) -> str:
    """As the system sees it; of an ended process, `dead`."""
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return psutil.STATUS_DEAD


def wait_until_stopped(pid: int) -> psutil.Process | None:
    """The process, or the one below it, that sleeps; None if it ended without coming to its point."""
    started = time.monotonic()
    while living := [each for each in family(pid) if status(each) not in ENDED]:
        asleep = [each for each in living if status(each) == psutil.STATUS_STOPPED]
        if asleep:
            return asleep[0]
        if time.monotonic() - started > LONG:
            raise TimeoutError(f"process {pid} neither stops nor ends")
        time.sleep(0.01)
    return None


def until(condition: Callable[[], bool], seconds: float = LONG) -> None:
    """Wait for something to become true; the longer it takes, the less often it is looked at."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not become true")
        time.sleep(pause)
        pause = min(0.2, 1.2 * pause)
