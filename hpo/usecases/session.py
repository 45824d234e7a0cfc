"""One sitting at a campaign, from its data to its champion: what `hpo run`, `hpo resume` and `hpo worker` do."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Protocol

from hpo.domain.campaign import Campaign, CampaignState, SlotState, SlotView
from hpo.domain.config import SearchConfig, WorkerConfig
from hpo.domain.errors import Interrupted, UsageError
from hpo.domain.failures import hopeless
from hpo.domain.ports import Clock, Engine, Ledger
from hpo.domain.trainable import Prepared
from hpo.engine.supervisor import Chore, StopRequest, Supervisor
from hpo.engine.worker import Worker
from hpo.usecases.arithmetic import refuse_other_arithmetic
from hpo.usecases.budget import affordable, grown
from hpo.usecases.campaigns import (
    decide_rest,
    frozen_config,
    length_of,
    open_campaign,
    prepare_data,
    recalled,
    refuse_changes,
    retry_failed,
    trainable_of,
)
from hpo.usecases.champion import choose
from hpo.usecases.conclusion import conclude, is_concluded, project
from hpo.usecases.doctor.checkup import mend
from hpo.usecases.fingerprints import code_fingerprint
from hpo.usecases.host import Host
from hpo.usecases.records import Records, Stores
from hpo.usecases.refit.finalize import finalize
from hpo.usecases.refit.record import is_finalized
from hpo.usecases.stalls import Stalls
from search_spaces import Space

SYNC_EVERY = timedelta(seconds=2)
REVIVE_EVERY = timedelta(seconds=1)


class BuildWorker(Protocol):
    """Makes a worker of this process, once its code (a fingerprint) and prepared data are those of the campaign."""

    def __call__(
        self, campaign: Campaign, config: SearchConfig, space: Space, data: Path, code: str, drain: threading.Event
    ) -> Worker: ...


@dataclass(frozen=True)
class Machine:
    """What a sitting is given of the machine it runs on.

    revive: starts the database's server again where it is ours and has died. engine: where a campaign's
    workers run. build_worker: a worker of this process.
    """

    clock: Clock
    revive: Callable[[], object]
    engine: Callable[[SearchConfig], Engine]
    build_worker: BuildWorker
    host: Host


class Display(Protocol):
    """Where a sitting says what it does."""

    def say(self, line: str) -> None: ...

    def warn(self, line: str) -> None:
        """Of what needs a person, who may have left the terminal."""
        ...

    def preparing(self) -> AbstractContextManager[Callable[[str, float], None]]:
        """A progress display for the panel: called with a step's name and its done fraction."""
        ...

    def watching(
        self, campaign: Campaign, num_epochs: int
    ) -> AbstractContextManager[Callable[[Sequence[SlotView]], None]]:
        """A progress display for the campaign: called with its slots."""
        ...


def run(
    stores: Stores, machine: Machine, config: SearchConfig, space: Space, display: Display, timeout: timedelta | None
) -> None:
    """Open or join the campaign and bring it to its full budget and its champion.

    Raises:
        UsageError: the campaign exists with other settings. Interrupted: stopped; everything is saved.
        EnvironmentFault: the stores or the workers are not usable.
    """
    engine = machine.engine(config)
    stores.check_store()
    _run(stores, machine, engine, config, space, _prepare(stores, config, display), display, timeout)


def resume(
    stores: Stores,
    machine: Machine,
    campaign: Campaign,
    config: SearchConfig,
    space: Space,
    display: Display,
    timeout: timedelta | None,
    *,
    retries: bool,
) -> None:
    """Go on with a campaign as it was created, with the budget in `config`. What cannot go on is refused before
    anything is changed; then its stores are mended. retries: its failed trials are tried again.

    Raises:
        as `run`; UsageError also where somebody works on a campaign that `retries`.
    """
    engine = machine.engine(config)
    stores.check_store()
    prepared = _prepare(stores, config, display)
    if retries:
        retry_failed(stores.ledger, campaign, config, space, prepared, display.say)
    else:
        refuse_changes(campaign, config, space, prepared)
    _raise_budget(stores.ledger, campaign, config)
    mend(stores, machine.host, campaign, display.say)
    _run(stores, machine, engine, config, space, prepared, display, timeout)


def _raise_budget(ledger: Ledger, campaign: Campaign, config: SearchConfig) -> None:
    """To that of the configuration. UsageError where it is smaller than the campaign's."""
    if config.epochs is None:
        if config.trials != campaign.spec.budget:
            ledger.raise_budget(campaign.id, config.trials)
        return
    before = campaign.spec.config["search"]["epochs"]
    if config.epochs < before:
        raise UsageError(f"The campaign '{campaign.name}' has a budget of {before} epochs already; give more.")
    if config.epochs > before:
        ledger.raise_budget(campaign.id, campaign.spec.budget + affordable(ledger, campaign, config), config.epochs)


def _prepare(records: Records, config: SearchConfig, display: Display) -> Prepared:
    with display.preparing() as progress:
        prepared = prepare_data(records.cache, config, progress)
    for line in (*prepared.lines, *(f"Warning: {warning}" for warning in prepared.warnings)):
        display.say(line)
    return prepared


def _run(
    stores: Stores,
    machine: Machine,
    engine: Engine,
    config: SearchConfig,
    space: Space,
    prepared: Prepared,
    display: Display,
    timeout: timedelta | None,
) -> None:
    memory = recalled(stores, config, space)
    if memory:
        display.say(
            f"Starts from the campaign '{config.warm_start}': its {len(memory)} trials are a prior belief, not results."
        )
    campaign = open_campaign(stores.ledger, config, space, prepared, memory)
    if campaign.state is CampaignState.COMPLETE:
        _refuse_hopeless(stores.ledger, campaign)
        display.say(_already_complete(campaign))
        if stores.runs(campaign.name).exists() and not is_concluded(stores, campaign):
            display.say("Its conclusion was interrupted and is made now.")
            conclude(stores, machine.host, campaign, config, prepared, display.say)
        _finalize_once(stores, campaign, config, display)
        return
    with Chore("server", machine.revive, REVIVE_EVERY), tracking(stores, campaign) as projector:
        begun, is_over = machine.clock.monotonic(), False
        while not is_over:
            _supervise(stores.ledger, machine, engine, campaign, config, display, timeout, begun)
            campaign, added = grown(stores, campaign, config)
            if added:
                display.say(f"Pruning has left epochs for {added} more {'trial' if added == 1 else 'trials'}.")
            is_over = all(slot.state is SlotState.DONE for slot in stores.ledger.slots(campaign.id))
        _finish(stores, machine.host, campaign, config, space, prepared, display)
    _last_sync(projector, campaign, display)
    _refuse_hopeless(stores.ledger, campaign)


def work(stores: Stores, machine: Machine, campaign: Campaign, settings: WorkerConfig, supervised: bool) -> None:
    """Work on a campaign in this process until nothing is left, or a signal (or, supervised, a closed standard input)
    asks to drain."""
    config, space = frozen_config(campaign)
    config = config.model_copy(update={"worker": settings})
    stores.check_store()
    prepared = prepare_data(stores.cache, config)
    refuse_changes(campaign, config, space, prepared)
    if settings.same_arithmetic:
        refuse_other_arithmetic(stores, campaign, config, space, machine.host.device(config))
    drain = threading.Event()
    if supervised:
        threading.Thread(target=_drain_at_end_of_input, args=(drain,), name="supervisor", daemon=True).start()
    stop = StopRequest(on_first=drain.set)
    with handling_signals(stop):
        code = code_fingerprint(*trainable_of(config))
        worker = machine.build_worker(campaign, config, space, prepared.search, code, drain)
        if supervised:
            worker.run()
            return
        with Chore("server", machine.revive, REVIVE_EVERY), tracking(stores, campaign):
            worker.run()
    if drain.is_set():
        raise Interrupted(f"Stopped. Whatever was running is saved; go on with `hpo worker study={campaign.name}`.")
    _refuse_hopeless(stores.ledger, campaign)


def _refuse_hopeless(ledger: Ledger, campaign: Campaign) -> None:
    """Raise, with the commonest reason, where all trials failed."""
    reason = hopeless(campaign.name, ledger.slots(campaign.id))
    if reason is not None:
        raise reason


def tracking(stores: Stores, campaign: Campaign) -> Chore:
    """Keeps MLflow up to date in the background."""
    return Chore("projector", lambda: project(stores, stores.tracker, campaign.name), SYNC_EVERY)


@contextmanager
def handling_signals(stop: StopRequest) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP become requests to stop while the block runs. Only a main thread can hear them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.ask()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _supervise(
    ledger: Ledger,
    machine: Machine,
    engine: Engine,
    campaign: Campaign,
    config: SearchConfig,
    display: Display,
    timeout: timedelta | None,
    begun: float,
) -> None:
    stop, stalls = StopRequest(), Stalls()
    with handling_signals(stop), display.watching(campaign, length_of(config).num_epochs) as show:

        def on_progress(slots: Sequence[SlotView]) -> None:
            show(slots)
            for line in stalls.look(slots, machine.clock.monotonic()):
                display.warn(line)

        supervisor = Supervisor(
            ledger,
            campaign,
            engine,
            config.worker.num_workers,
            machine.clock,
            stop,
            on_progress,
            timeout,
            begun,
        )
        try:
            supervisor.run()
        except Interrupted as reason:
            raise Interrupted(f"{reason} {_how_to_go_on(ledger, campaign)}") from None


def _finish(
    stores: Stores,
    host: Host,
    campaign: Campaign,
    config: SearchConfig,
    space: Space,
    prepared: Prepared,
    display: Display,
) -> None:
    """Decide what is undecided, choose the champion once, whoever comes first, and say what it is worth."""
    with stores.ledger.exclusive(f"champion of {campaign.name}"):
        current = stores.find(campaign.name)
        if current.state is not CampaignState.COMPLETE:
            decided = decide_rest(stores, current, config, space)
            champion = choose(decided, stores.archive(campaign))
            current = stores.ledger.complete_campaign(campaign.id, champion.as_plain())
    conclude(stores, host, current, config, prepared, display.say)
    _finalize_once(stores, current, config, display)


def _finalize_once(stores: Stores, campaign: Campaign, config: SearchConfig, display: Display) -> None:
    """Train what was chosen again, where that was asked for and has not been done."""
    is_there = campaign.crowned is not None and campaign.crowned.slot is not None
    if not config.finalize or not is_there or is_finalized(stores, [campaign]):
        return
    try:
        finalize(stores, [campaign.name], 1, display.say)
    except UsageError as error:
        display.say(f"The campaign is not finalized. {error}")


def _last_sync(projector: Chore, campaign: Campaign, display: Display) -> None:
    if not projector.once():
        display.say(
            f"MLflow could not be brought up to date ({projector.problem}); nothing is lost: "
            f"`hpo sync study={campaign.name}` does it later."
        )


def _already_complete(campaign: Campaign) -> str:
    budget, epochs = campaign.spec.budget, campaign.spec.config["search"].get("epochs")
    more = f"HPO_TRIALS={2 * budget}" if epochs is None else f"HPO_EPOCHS={2 * epochs}"
    return (
        f"The campaign '{campaign.name}' is complete: all {budget} trials are done, nothing was trained. "
        f"See it with `hpo report study={campaign.name}`, go further with "
        f"`make hpo-resume HPO_STUDY={campaign.name} {more}`, or start another with HPO_STUDY=name."
    )


def _how_to_go_on(ledger: Ledger, campaign: Campaign) -> str:
    slots = ledger.slots(campaign.id)
    num_done = sum(slot.state is SlotState.DONE for slot in slots)
    begun = [slot for slot in slots if slot.state is not SlotState.DONE and slot.trial_number is not None]
    saved = f", {len(begun)} begun {'is' if len(begun) == 1 else 'are'} saved at the last epoch" if begun else ""
    return f"{num_done} of {len(slots)} trials are done{saved}. Go on with: make hpo-resume HPO_STUDY={campaign.name}"


def _drain_at_end_of_input(drain: threading.Event) -> None:
    # Not through sys.stdin: a thread that still waits in it makes Python abort at its end, whatever the exit code.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    drain.set()
