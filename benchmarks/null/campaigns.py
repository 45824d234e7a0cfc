"""One campaign of the product on one market without signal, from its file to the verdict, with stores in memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.null.markets import FORMS, SHAPES, shaped, walk
from hpo.adapters.processes.clock import SystemClock
from hpo.adapters.processes.runners import InProcessRunner
from hpo.cli.config_loader import load
from hpo.domain.campaign import Campaign, WorkerIdentity
from hpo.domain.champion import Champion
from hpo.domain.config import SearchConfig
from hpo.domain.trainable import Prepared
from hpo.engine.objective import Objective
from hpo.engine.worker import Worker
from hpo.ranking.ranker import Ranker
from hpo.report.collect import collect
from hpo.report.findings import analyse
from hpo.report.holdout import measure
from hpo.report.verdict import Finding
from hpo.runs.archive import Archive
from hpo.runs.folder import campaign_folder
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.campaigns import open_campaign
from hpo.usecases.champion import choose
from search_spaces import Space

DAYS, STOCKS, KNOWN_UNTIL = 620, 40, 360

RIDGE = """
settings: {model.kind: ridge, model.window: 4}
tiers:
  capacity:
    model.alpha: {type: float, low: 1.0e-4, high: 10.0, log: true, default: 1.0e-3}
"""

QUIET = (Finding.NOTHING, Finding.UNCONFIRMED)
"""Findings that deploy nothing."""


@dataclass(frozen=True)
class Outcome:
    """What a campaign ended with: its finding, the default's and the champion's validation score, and the mean holdout
    RankIC of what it would deploy."""

    finding: str
    is_nothing: bool
    default: float
    validation: float
    holdout: float


def run(seed: int, shape: str, form: str, space: str, num_trials: int, folder: Path) -> Outcome:
    """The campaign on market `seed` in this shape and form. folder: empty, for the file and the run folders."""
    data = folder / "data"
    data.mkdir()
    source = FORMS[form](shaped(walk(seed, DAYS, STOCKS, KNOWN_UNTIL), SHAPES[shape]), data)
    if space == "ridge":
        file = folder / "ridge.yaml"
        file.write_text(RIDGE, encoding="utf-8")
        space = str(file)
    settings = [f"study=null-{seed}", f"trials={num_trials}", f"seed={seed}", f"space={space}"]
    config, chosen = load([*settings, "trainer.train.threads=1", "trainer.train.device=cpu"], None, str(source))
    trainable = Ranker()
    prepared = trainable.prepare(trainable.parse(config.trainer), folder / "cache")
    ledger = MemoryLedger(SystemClock())
    campaign = _searched(ledger, config, chosen, prepared, folder)
    return _outcome(ledger, campaign, prepared, folder)


def _searched(ledger: MemoryLedger, config: SearchConfig, space: Space, prepared: Prepared, home: Path) -> Campaign:
    """The campaign with all tiers decided and its champion."""
    identity = WorkerIdentity("here", 1, 0.0)
    campaign = open_campaign(ledger, config, space, prepared)
    runs = campaign_folder(home, config.study)
    objective = Objective(
        campaign,
        config,
        space,
        Ranker(),
        ledger,
        MemoryStorage(),
        InProcessRunner(),
        prepared.search,
        runs,
        identity,
        "",
    )
    drain = threading.Event()
    Worker(ledger, objective, campaign, identity, config.worker, SystemClock(), lambda _: False, drain).run()
    decided = ledger.find_campaign(config.study)
    assert decided is not None, "it was just worked on"
    champion = choose(decided, Archive(runs, ledger.checkpoints(campaign.id)))
    return ledger.complete_campaign(campaign.id, champion.as_plain())


def _outcome(ledger: MemoryLedger, campaign: Campaign, prepared: Prepared, home: Path) -> Outcome:
    """The report's verdict. The holdout is opened once."""
    assert prepared.holdout is not None, "the ranker has one"
    archive = Archive(campaign_folder(home, campaign.name), ledger.checkpoints(campaign.id))
    slots, champion = ledger.slots(campaign.id), campaign.crowned
    assert champion is not None, "it was just chosen"
    deployed = _deployed(archive, champion, home)
    trainable = Ranker()
    holdout = measure(trainable, archive, [champion.slot or 1, 1], prepared.holdout, champion, deployed)
    evidence = collect(campaign, slots, archive, trainable, holdout, prepared=prepared)
    found = analyse(replace(evidence, num_holdout_openings=1))
    scores = {slot.slot: slot.score for slot in slots}
    series = (evidence.deployed or {})[evidence.objective.name]
    return Outcome(
        finding=found.verdict.finding.value,
        is_nothing=found.verdict.finding in QUIET,
        default=scores[1] or 0.0,
        validation=scores[champion.slot or 1] or 0.0,
        holdout=float(np.nanmean(series)),
    )


def _deployed(archive: Archive, champion: Champion, home: Path) -> Path:
    if not champion.is_committee:
        return archive.model(champion.slot or 1)
    joined = home / "committee.json"
    members = {name: archive.model(member.slot) for name, member in champion.members.items()}
    Ranker().join(members, champion.weights, joined)
    return joined
