"""What a person sees while a campaign runs: a live table in a terminal, one line per event in a pipe."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.domain import Campaign, Outcome, SlotState, SlotView, TierPlan

REFRESHES_PER_SECOND = 4
MAX_RUNNING_ROWS = 8


class Progress:
    """Call with the slots as often as you like; use as a context manager."""

    def __init__(self, campaign: Campaign, num_epochs: int, console: Console | None = None) -> None:
        self._campaign, self._num_epochs = campaign, num_epochs
        self._console = console or Console(stderr=False)
        self._started = time.monotonic()
        self._num_done_at_start: int | None = None
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
        num_done = sum(slot.state is SlotState.DONE for slot in slots)
        if self._num_done_at_start is None:
            self._num_done_at_start = num_done
        if self._live:
            self._live.update(render(self._campaign, slots, self._num_epochs, self._time_left(slots)))
        else:
            self._print_changes(slots)

    def _time_left(self, slots: Sequence[SlotView]) -> timedelta | None:
        num_done = sum(slot.state is SlotState.DONE for slot in slots)
        done_here = num_done - (self._num_done_at_start or 0)
        if not done_here:
            return None
        per_trial = (time.monotonic() - self._started) / done_here
        return timedelta(seconds=round(per_trial * (len(slots) - num_done)))

    def _print_changes(self, slots: Sequence[SlotView]) -> None:
        tiers = {tier.number: tier.name for tier in self._campaign.spec.tiers}
        best = best_score(slots)
        for slot in slots:
            before = self._seen.get(slot.slot)
            if slot.state is before:
                continue
            self._seen[slot.slot] = slot.state
            if slot.state is SlotState.DONE and before is not None:
                left = self._time_left(slots)
                tail = f", best {best:+.4f}" if best is not None else ""
                tail += f", about {left} left" if left else ""
                print(f"[{slot.slot}/{len(slots)}] {tiers[slot.tier]}: {describe(slot)}{tail}", flush=True)
        sys.stdout.flush()


def best_score(slots: Sequence[SlotView]) -> float | None:
    """The best score of the completed trials."""
    return max((s.score for s in slots if s.outcome is Outcome.COMPLETE and s.score is not None), default=None)


def describe(slot: SlotView) -> str:
    """A finished or running slot in a few words."""
    if slot.outcome is Outcome.FAILED:
        return f"FAILED ({slot.reason})"
    score = "no score" if slot.score is None else f"RankIC {slot.score:+.4f}"
    if slot.outcome is Outcome.PRUNED:
        return f"pruned after epoch {slot.epoch}, {score}"
    return f"{slot.outcome.value if slot.outcome else slot.state.value}, {score}"


def render(
    campaign: Campaign, slots: Sequence[SlotView], num_epochs: int, time_left: timedelta | None
) -> RenderableType:
    """The live view: a row per tier, a row per running trial, and the totals."""
    return Group(
        Text(f"{campaign.name}: {campaign.spec.budget} trials, {len(campaign.spec.tiers)} tiers", style="bold"),
        _tier_table(campaign.spec.tiers, slots, campaign),
        _running_table(slots, num_epochs),
        _totals(slots, time_left),
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


def _running_table(slots: Sequence[SlotView], num_epochs: int) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    running = [slot for slot in slots if slot.state is SlotState.RUNNING]
    for slot in running[:MAX_RUNNING_ROWS]:
        rate = "" if slot.samples_per_second is None else f"{slot.samples_per_second:,.0f} samples/s"
        score = "" if slot.score is None else f"RankIC {slot.score:+.4f}"
        table.add_row(f"  trial {slot.slot}", f"epoch {slot.epoch or 0}/{num_epochs}", score, rate)
    if len(running) > MAX_RUNNING_ROWS:
        table.add_row(f"  and {len(running) - MAX_RUNNING_ROWS} more")
    return table


def _totals(slots: Sequence[SlotView], time_left: timedelta | None) -> Text:
    outcomes = Counter(slot.outcome for slot in slots if slot.outcome)
    parts = [f"{sum(outcomes.values())}/{len(slots)} done"]
    if outcomes[Outcome.PRUNED]:
        parts.append(f"{outcomes[Outcome.PRUNED] / sum(outcomes.values()):.0%} pruned")
    if outcomes[Outcome.FAILED]:
        parts.append(f"{outcomes[Outcome.FAILED]} failed")
    best = best_score(slots)
    if best is not None:
        parts.append(f"best RankIC {best:+.4f}")
    if time_left is not None:
        parts.append(f"about {time_left} left")
    return Text(", ".join(parts))


def ago(moment: datetime | None, now: datetime) -> str:
    """`12 s`, `3 min`, `2.1 h` since then."""
    if moment is None:
        return ""
    seconds = max(0.0, (now - moment).total_seconds())
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
