"""A sitting's own decisions, with stores that are not there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, SlotView, TierPlan, WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.domain.errors import Interrupted, StoreUnavailable, UsageError
from hpo.domain.trainable import Prepared
from hpo.engine.supervisor import StopRequest
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases import session
from hpo.usecases.campaigns import trainable_of
from hpo.usecases.fingerprints import code_fingerprint
from hpo.usecases.host import Host
from hpo.usecases.records import Stores
from hpo.usecases.session import Machine
from search_spaces import dump_space, load_space

SPACE = load_space("quickstart")
CONFIG = SearchConfig(study="night", trials=4)


class Listener:
    """A display that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def warn(self, line: str) -> None:
        self.said.append(f"Warning: {line}")

    @contextmanager
    def preparing(self) -> Iterator[Callable[[str, float], None]]:
        yield lambda step, fraction: None

    @contextmanager
    def watching(self, campaign: Campaign, num_epochs: int) -> Iterator[Callable[[Sequence[SlotView]], None]]:
        yield lambda slots: None


class AwayTracker(NullTracker):
    """A store that does not answer."""

    def sync(self, campaign: Campaign, runs: Path) -> int:
        raise StoreUnavailable("MLflow is away")


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())


def refuse(*arguments: object) -> Any:
    raise AssertionError("nobody is started here")


MACHINE = Machine(
    FakeClock(), lambda: None, lambda *_: None, refuse, Host(lambda worker: False, refuse, refuse, refuse)
)


def run(stores: Stores, display: Listener) -> None:
    session.run(stores, MACHINE, CONFIG, SPACE, display, None)


@pytest.fixture
def campaign(stores: Stores) -> Campaign:
    stored = {"search": CONFIG.model_dump(mode="json"), "space": {"name": "quickstart", "yaml": dump_space(SPACE)}}
    tiers = (TierPlan(1, "capacity", 2), TierPlan(2, "refinement", 2))
    opened: Campaign = stores.ledger.open_campaign(CampaignSpec("night", stored, {"data": "abc"}, tiers, 0))
    return opened


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    made = Prepared(tmp_path / "search", tmp_path / "holdout", "abc", ("a gap in the data.",), {})
    monkeypatch.setattr(session, "prepare_data", lambda cache, config, progress=None: made)
    return made


@pytest.mark.usefixtures("prepared")
def test_a_complete_campaign_trains_nothing_and_says_what_to_do(
    stores: Stores, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = replace(campaign, state=CampaignState.COMPLETE)
    monkeypatch.setattr(session, "open_campaign", lambda *arguments: complete)
    display = Listener()
    run(stores, display)
    assert display.said[0] == "Warning: a gap in the data."
    assert "is complete: all 4 trials are done, nothing was trained" in display.said[1]
    assert "make hpo-resume HPO_STUDY=night HPO_TRIALS=8" in display.said[1]


@pytest.mark.parametrize("word", ["run", "resume"])
def test_an_engine_that_cannot_be_is_refused_before_anything_is_prepared(
    stores: Stores, campaign: Campaign, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    def cannot(config: SearchConfig) -> Any:
        raise UsageError("worker.engine=ray needs Ray")

    monkeypatch.setattr(session, "prepare_data", refuse)
    machine, display = replace(MACHINE, engine=cannot), Listener()
    calls = {
        "run": lambda: session.run(stores, machine, CONFIG, SPACE, display, None),
        "resume": lambda: session.resume(stores, machine, campaign, CONFIG, SPACE, display, None, retries=False),
    }
    with pytest.raises(UsageError, match="needs Ray"):
        calls[word]()


@pytest.mark.usefixtures("prepared")
def test_an_interruption_says_what_is_saved_and_how_to_go_on(
    stores: Stores, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = stores.ledger.register_worker(campaign.id, WorkerIdentity("host", 1, 0.0))
    claim = stores.ledger.claim(campaign.id, worker, CONFIG.worker.lease)
    stores.ledger.bind_trial(claim, 0, "slot-0001")

    class Stopped:
        def __init__(self, *arguments: object) -> None:
            pass

        def run(self) -> None:
            raise Interrupted("Stopped at your request.")

    monkeypatch.setattr(session, "Supervisor", Stopped)
    monkeypatch.setattr(session, "open_campaign", lambda *arguments: campaign)
    with pytest.raises(Interrupted) as end:
        run(stores, Listener())
    assert str(end.value) == (
        "Stopped at your request. 0 of 4 trials are done, 1 begun is saved at the last epoch. "
        "Go on with: make hpo-resume HPO_STUDY=night"
    )


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("changed", [("data",), ("code",), ("code", "data")])
def test_a_worker_with_other_data_or_code_is_refused(
    stores: Stores, campaign: Campaign, changed: tuple[str, ...]
) -> None:
    """Where both differ both are said: changed code may be why the data are prepared otherwise."""
    here = {"data": "abc", "code": code_fingerprint(*trainable_of(CONFIG))}
    stored = {**here, **dict.fromkeys(changed, "another")}
    other = replace(campaign, spec=replace(campaign.spec, fingerprints=stored))
    with pytest.raises(UsageError, match="This is not what the campaign 'night' was started with") as refusal:
        session.work(stores, MACHINE, other, CONFIG.worker, supervised=False)
    assert all(f"{name} another is now" in str(refusal.value) for name in changed)


def test_a_store_that_is_away_is_said_at_the_end(stores: Stores, campaign: Campaign) -> None:
    display = Listener()
    with session.tracking(replace(stores, tracker=AwayTracker()), campaign) as projector:
        session._last_sync(projector, campaign, display)
    assert "(MLflow is away); nothing is lost" in display.said[-1]


def test_signals_are_requests_only_while_the_block_runs() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = StopRequest()
    with session.handling_signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.count == 2
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("wanted", "is_chosen", "is_done", "is_called"),
    [(True, True, False, True), (False, True, False, False), (True, False, False, False), (True, True, True, False)],
)
def test_what_was_chosen_is_trained_again_once_and_only_where_that_was_asked_for(
    wanted: bool,
    is_chosen: bool,
    is_done: bool,
    is_called: bool,
    stores: Stores,
    campaign: Campaign,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(session, "finalize", lambda stores, names, seeds, say: called.append(names))
    monkeypatch.setattr(session, "is_finalized", lambda records, campaigns: is_done)
    champion = {"slot": 2} if is_chosen else None
    monkeypatch.setattr(Campaign, "crowned", property(lambda _: champion and SimpleNamespace(**champion)))
    config = CONFIG.model_copy(update={"finalize": wanted})
    session._finalize_once(stores, campaign, config, Listener())
    assert called == ([["night"]] if is_called else [])


class HangingEngine:
    """Its only worker claims a trial and reports nothing, while time goes by whenever it is looked at."""

    def __init__(self, clock: FakeClock, claim: Callable[[], object]) -> None:
        self._clock, self._claim = clock, claim
        self._code: int | None = None

    def start(self, numbers: Iterable[int]) -> None:
        self._claim()

    def poll(self) -> dict[int, int | None]:
        self._clock.advance(timedelta(minutes=10))
        return {1: self._code}

    def drain(self) -> None:
        self._code = 130

    kill = drain

    def last_words(self, number: int) -> str:
        return ""


@pytest.mark.usefixtures("prepared")
def test_a_trial_that_may_hang_is_warned_of(
    stores: Stores, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, display = FakeClock(), Listener()
    worker = stores.ledger.register_worker(campaign.id, WorkerIdentity("node-3", 7, 0.0))
    monkeypatch.setattr(session, "open_campaign", lambda *arguments: campaign)

    def claim() -> object:
        return stores.ledger.claim(campaign.id, worker, timedelta(hours=9))

    machine = replace(MACHINE, clock=clock, engine=lambda config: HangingEngine(clock, claim))
    with pytest.raises(Interrupted, match="time limit"):
        session.run(stores, machine, CONFIG, SPACE, display, timedelta(hours=1))
    warned = [line for line in display.said if "may hang" in line]
    assert len(warned) == 1
    assert warned[0].startswith("Warning: trial 1 on node-3 has finished no epoch for 20 minutes: it may hang.")
