"""Machines without a shared folder, and an S3 server: one falls asleep amid a trial, one is killed amid another, and a
third, which trained nothing, reports and predicts."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pandas as pd
import pytest
from support.command import wait_for
from support.hosts import Machine, send
from support.markets import write_market
from support.s3 import S3

from hpo.adapters.artifacts import FsspecStore
from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.domain.campaign import SlotState, SlotView

NAME, CALM = "moving", "calm"
NUM_STOCKS, NUM_DAYS, NUM_KNOWN = 20, 430, 400
LAG = 1
SECONDS = 240.0
SPACE = """\
settings:
  model.kind: mlp
  model.window: 5
  train.epochs: 16
  train.threads: 1
  train.batch_size: 64
tiers:
  capacity:
    optim.lr: {type: float, low: 1.0e-3, high: 3.0e-2, log: true, default: 5.0e-3}
"""


@dataclass(frozen=True)
class Field:
    """What all machines can reach; the market is generated alike on each."""

    folder: Path
    ledger: PostgresLedger
    url: str
    store: FsspecStore

    def machine(self, name: str, artifacts: bool = True) -> Machine:
        return Machine(name, self.folder / name, self.url, self.store.where if artifacts else None)

    def run_words(self, name: str) -> list[str]:
        space, data = self.folder / "space.yaml", f"planted:clean?stocks={NUM_STOCKS}&days={NUM_KNOWN}"
        settings = ["pruner.name=nop", "worker.lease=4", f"worker.upload_lag={LAG}", "trainer.data.horizons=[1,5]"]
        return ["run", f"study={name}", "trials=2", "--space", str(space), "--data", data, *settings]

    def slot(self, number: int) -> SlotView:
        campaign = self.ledger.find_campaign(NAME)
        assert campaign is not None
        return self.ledger.slots(campaign.id)[number - 1]

    def uploaded(self, number: int) -> set[str]:
        """Keys of a slot."""
        return {key for key in self.store.sizes("runs") if f"/slot-{number:04d}/" in key}

    def wait_for_epoch(self, machine: Machine, process: Popen[bytes], slot: int, epoch: int) -> None:
        """That the machine's process comes so far."""

        def is_there() -> bool:
            assert process.poll() is None, machine.logs()
            return machine.num_epochs(NAME, slot) >= epoch

        wait_for(is_there, SECONDS)


@pytest.fixture
def field(session_database_url: str, s3: S3, tmp_path: Path) -> Field:
    write_market(f"planted:clean?stocks={NUM_STOCKS}&days={NUM_DAYS}", tmp_path / "new.parquet")
    (tmp_path / "space.yaml").write_text(SPACE)
    store = FsspecStore(s3.url(f"hosts/{tmp_path.name}"))
    return Field(tmp_path, PostgresLedger(session_database_url), session_database_url, store)


@pytest.mark.slow_faults
def test_trials_move_between_machines_and_any_machine_answers_for_them(field: Field) -> None:
    first, second, third = (field.machine(name) for name in ("first", "second", "third"))
    supervisor = first.start(*field.run_words(NAME))
    field.wait_for_epoch(first, supervisor, 1, 5)
    send(supervisor, signal.SIGSTOP)  # trial 1 is asleep
    asleep_at = first.num_epochs(NAME, 1)

    helper = second.start("worker", f"study={NAME}", "worker.lease=4", f"worker.upload_lag={LAG}")
    wait_for(lambda: field.slot(1).state is SlotState.DONE, SECONDS)
    fetched, own = second.attempts(NAME, 1)
    assert asleep_at - LAG <= len(fetched.epochs()) <= asleep_at
    assert field.slot(1).fence == 2

    field.wait_for_epoch(second, helper, 2, 5)
    uploaded = field.uploaded(1)
    send(supervisor, signal.SIGCONT)
    wait_for(lambda: "slot 1 belongs to another worker now" in first.logs(), SECONDS)
    send(helper, signal.SIGKILL)  # amid trial 2
    helper.wait()
    killed_at = second.num_epochs(NAME, 2)
    assert supervisor.wait(SECONDS) == 0, first.logs()
    assert field.uploaded(1) == uploaded, "the first came back stale"
    assert len(first.attempts(NAME, 1)[0].epochs()) <= asleep_at + 1
    taken_over = first.attempts(NAME, 2)
    assert [attempt.fence for attempt in taken_over] == [1, 2]
    assert killed_at - LAG <= len(taken_over[0].epochs()) <= killed_at

    reported = third.run("report", f"study={NAME}")
    assert "Trials: 2 complete, 0 pruned, 0 failed" in reported
    third.run(
        "predict", f"study={NAME}", "--data", str(field.folder / "new.parquet"), "--output", str(third.home / "p.csv")
    )
    assert len(pd.read_csv(third.home / "p.csv")) >= NUM_STOCKS * (NUM_DAYS - NUM_KNOWN)
    third.run("doctor", f"study={NAME}")

    calm = field.machine("fourth", artifacts=False)
    calm.run(*field.run_words(CALM))
    for slot in (1, 2):
        (undisturbed,), moved = calm.attempts(CALM, slot), third.attempts(NAME, slot)[-1]
        assert [(e.epoch, e.score) for e in moved.epochs()] == [(e.epoch, e.score) for e in undisturbed.epochs()]
    calm.run(
        "predict", f"study={CALM}", "--data", str(field.folder / "new.parquet"), "--output", str(calm.home / "p.csv")
    )
    assert (third.home / "p.csv").read_bytes() == (calm.home / "p.csv").read_bytes()
    assert own.fence == 2
