"""What a person sees while a campaign runs: a live table in a terminal, one line per event in a pipe."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.cli.output import say
from hpo.domain.campaign import Campaign, Outcome, SlotState, SlotView, TierPlan
from hpo.domain.failures import is_choosable, is_infeasible

REFRESHES_PER_SECOND = 4
MAX_RUNNING_ROWS = 8


class Progress:
    """Call with the slots as often as you like; use as a context manager."""

    def __init__(self, campaign: Campaign, num_epochs: int, console: Console | None = None) -> None:
        self._campaign, self._num_epochs = campaign, num_epochs
        self._console = console or Console(stderr=False)
        self._seen: dict[int, SlotState] = {}
        self._live = (
            Live(console=self._console, refresh_per_second=REFRESHES_PER_SECOND) if self._console.is_terminal else None
        )

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, slots: Sequence[SlotView]) -> None:
        if self._live:
            self._live.update(render(self._campaign, slots, self._num_epochs, datetime.now(UTC)))
        else:
            self._print_changes(slots)

    def _print_changes(self, slots: Sequence[SlotView]) -> None:
        tiers = {tier.number: tier.name for tier in self._campaign.spec.tiers}
        for slot in slots:
            before, self._seen[slot.slot] = self._seen.get(slot.slot), slot.state
            if before in (None, SlotState.DONE) or slot.state is not SlotState.DONE:
                continue
            best, left = best_score(slots), time_left(slots, datetime.now(UTC))
            tail = f", best {best:+.4f}" if best is not None else ""
            tail += f", about {left} left" if left else ""
            said = describe(slot, self._campaign.spec.objective.shown)
            say(f"[{slot.slot}/{len(slots)}] {tiers[slot.tier]}: {said}{tail}")


def best_score(slots: Sequence[SlotView]) -> float | None:
    """The best score of the completed trials that keep the space's constraints."""
    complete = filter(is_choosable, slots)
    return max((slot.score for slot in complete if slot.score is not None), default=None)


def is_stale(slot: SlotView, now: datetime) -> bool:
    """Whether a running slot's lease has run out: its worker is silent, and another may go on with it."""
    return slot.state is SlotState.RUNNING and slot.lease_expires_at is not None and slot.lease_expires_at < now


def time_left(slots: Sequence[SlotView], now: datetime) -> timedelta | None:
    """Until the budget is spent, at the median duration of the trials done and with as many running at once as now.

    None before the first trial is done, while nothing runs, and when nothing is left.
    """
    durations = [slot.finished_at - slot.started_at for slot in slots if slot.finished_at and slot.started_at]
    running = [slot for slot in slots if slot.state is SlotState.RUNNING and not is_stale(slot, now)]
    if not durations or not running:
        return None
    typical = statistics.median(duration.total_seconds() for duration in durations)
    begun = sum(min(typical, (now - slot.started_at).total_seconds()) for slot in running if slot.started_at)
    num_unfinished = sum(slot.state is not SlotState.DONE for slot in slots)
    return timedelta(seconds=round(max(0.0, typical * num_unfinished - begun) / len(running)))


def describe(slot: SlotView, label: str) -> str:
    """A finished or running slot in a few words."""
    if slot.outcome is Outcome.FAILED:
        return f"FAILED ({slot.reason})"
    score = "no score" if slot.score is None else f"{label} {slot.score:+.4f}"
    if slot.outcome is Outcome.PRUNED:
        return f"pruned after epoch {slot.epoch}, {score}"
    unwanted = f", {slot.reason}" if is_infeasible(slot) else ""
    return f"{slot.outcome.value if slot.outcome else slot.state.value}, {score}{unwanted}"


def render(campaign: Campaign, slots: Sequence[SlotView], num_epochs: int, now: datetime) -> RenderableType:
    """The live view: a row per tier, a row per running trial, and the totals."""
    return Group(
        Text(f"{campaign.name}: {campaign.spec.budget} trials, {len(campaign.spec.tiers)} tiers", style="bold"),
        _tier_table(campaign.spec.tiers, slots, campaign),
        _running_table(slots, campaign.spec.objective.shown, num_epochs, now),
        Text(summary(slots, campaign.spec.objective.shown, time_left(slots, now))),
    )


def _tier_table(tiers: Sequence[TierPlan], slots: Sequence[SlotView], campaign: Campaign) -> Table:
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for name, justify in (("tier", "left"), ("", "left"), ("done", "right"), ("pruned", "right"), ("best", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for tier in tiers:
        own = [slot for slot in slots if slot.tier == tier.number]
        num_done = sum(slot.state is SlotState.DONE for slot in own)
        best = best_score(own)
        table.add_row(
            f"{tier.number} {tier.name}",
            ProgressBar(total=max(1, len(own)), completed=num_done, width=24),
            f"{num_done}/{len(own)}",
            str(sum(slot.outcome is Outcome.PRUNED for slot in own)),
            "" if best is None else f"{best:+.4f}",
        )
    return table


def _running_table(slots: Sequence[SlotView], label: str, num_epochs: int, now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    running = [slot for slot in slots if slot.state is SlotState.RUNNING]
    for slot in running[:MAX_RUNNING_ROWS]:
        table.add_row(f"  trial {slot.slot}", *running_cells(slot, label, num_epochs, now))
    if len(running) > MAX_RUNNING_ROWS:
        table.add_row(f"  and {len(running) - MAX_RUNNING_ROWS} more")
    return table


def running_cells(slot: SlotView, label: str, num_epochs: int, now: datetime) -> tuple[str, str, str]:
    """Epoch, score, and the rate or what is wrong."""
    score = "" if slot.score is None else f"{label} {slot.score:+.4f}"
    rate = "" if slot.samples_per_second is None else f"{slot.samples_per_second:,.0f} samples/s"
    if is_stale(slot, now):
        rate = f"lease ran out {ago(slot.lease_expires_at, now)} ago"
    return f"epoch {slot.epoch or 0}/{num_epochs}", score, rate


def summary(slots: Sequence[SlotView], label: str, left: timedelta | None) -> str:
    """The campaign in a line: trials done, pruned, failed, the best score, the time left."""
    outcomes = Counter(slot.outcome for slot in slots if slot.outcome)
    parts = [f"{sum(outcomes.values())}/{len(slots)} done"]
    if outcomes[Outcome.PRUNED]:
        parts.append(f"{outcomes[Outcome.PRUNED] / sum(outcomes.values()):.0%} pruned")
    if outcomes[Outcome.FAILED]:
        parts.append(f"{outcomes[Outcome.FAILED]} failed")
    best = best_score(slots)
    if best is not None:
        parts.append(f"best {label} {best:+.4f}")
    if left is not None:
        parts.append(f"about {left} left")
    return ", ".join(parts)


def ago(moment: datetime | None, now: datetime) -> str:
    """`12 s`, `3 min`, `2.1 h` since then."""
    if moment is None:
        return ""
    seconds = max(0.0, (now - moment).total_seconds())
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
