"""Draws the README's two pictures from a campaign that was run here: `make pictures`, after `make hpo-run`.

    python docs/pictures.py [STUDY]

pictures/terminal.svg: the live table as it stood when 60 % of the trials were done, from the ledger and the run
folders.
pictures/report.png: the top of its report, in a headless Chromium.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from hpo.cli.progress import render
from hpo.domain.campaign import DEFAULT_STUDY, SlotState, SlotView
from hpo.runs.entries import EpochRecord
from hpo.usecases.conclusion import report_folder
from hpo.wiring import open_app

FOLDER = Path(__file__).with_name("pictures")
MOMENT = 0.6
WIDTH, HEIGHT, COLUMNS = 1280, 1000, 96


def as_of(slot: SlotView, moment: datetime, epochs: Callable[[int], list[EpochRecord]]) -> SlotView:
    """The slot as it stood at a moment; its newest epoch is read from its run folder."""
    if slot.finished_at is not None and slot.finished_at <= moment:
        return slot
    unfinished = replace(slot, outcome=None, score=None, epoch=None, finished_at=None)
    if slot.started_at is None or slot.started_at > moment:
        return replace(unfinished, state=SlotState.OPEN, started_at=None)
    done = [epoch for epoch in epochs(slot.slot) if epoch.time <= moment]
    newest = {} if not done else {"epoch": done[-1].epoch, "score": done[-1].score}
    return replace(unfinished, state=SlotState.RUNNING, **newest)


def main(study: str) -> None:
    """Draw both. The campaign must be complete."""
    FOLDER.mkdir(exist_ok=True)
    with open_app() as app:
        campaign = app.records.find(study)
        archive = app.records.archive(campaign)
        slots = app.ledger.slots(campaign.id)
        report = report_folder(app.records, campaign) / "report.html"

    def epochs(slot: int) -> list[EpochRecord]:
        attempt = archive.attempt(slot)
        return [] if attempt is None else list(attempt.epochs())

    last = sorted(slot.finished_at for slot in slots if slot.finished_at is not None)[int(MOMENT * len(slots)) - 1]
    following = next(slot for slot in slots if slot.started_at is not None and slot.started_at > last)
    begun = epochs(following.slot)
    moment = begun[len(begun) // 2].time if begun else last
    then = [as_of(slot, moment, epochs) for slot in slots]
    console = Console(record=True, width=COLUMNS, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(render(campaign, then, campaign.spec.config["num_epochs"], moment))
    console.save_svg(str(FOLDER / "terminal.svg"), title="make hpo-run HPO_TRIALS=20")
    picture = FOLDER / "report.png"
    command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    subprocess.run([*command, f"--screenshot={picture}", "--virtual-time-budget=5000", report.as_uri()], check=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_STUDY)
