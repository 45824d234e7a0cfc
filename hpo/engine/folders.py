"""The run folders of the trials that train here: opened, uploaded, answered for in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo.domain.campaign import CheckpointRecord, Claim, WorkerIdentity
from hpo.domain.ports import Ledger
from hpo.engine.uploads import Uploads
from hpo.runs.durable import sha256_of
from hpo.runs.folder import Attempt, SlotFolder


class TrialFolders:
    """runs: the campaign's folder of run folders."""

    def __init__(self, runs: Path, ledger: Ledger, identity: WorkerIdentity, uploads: Uploads) -> None:
        self._runs, self._ledger, self._identity, self.uploads = runs, ledger, identity, uploads

    def open(
        self, claim: Claim, run: Mapping[str, Any], config: Mapping[str, Any], stop: Callable[[], bool]
    ) -> Attempt:
        """The claim's own attempt, with the newest checkpoints of the slot, wherever they were made."""
        self.uploads.fetch(claim, stop)
        own = {"slot": claim.slot, "tier": claim.tier, **run, "worker": asdict(self._identity)}
        attempt = SlotFolder(self._runs, claim.slot).open_attempt(claim.fence, own, config)
        self.uploads.begin(claim, attempt)
        return attempt

    def own(self, claim: Claim) -> Attempt | None:
        """The claim's attempt, or the newest before it where this claim did not train; never a later owner's."""
        attempts = SlotFolder(self._runs, claim.slot).attempts()
        return next((attempt for attempt in reversed(attempts) if attempt.fence <= claim.fence), None)

    def has(self, claim: Claim) -> bool:
        """Whether the claim's own attempt is there."""
        attempt = self.own(claim)
        return attempt is not None and attempt.fence == claim.fence

    def answer_for(self, claim: Claim, attempt: Attempt, score: float | None, model_epoch: int | None) -> None:
        """Record the files of an attempt that has its result, and have them uploaded. model_epoch: of its model."""
        self._record(claim, "result", attempt.result_file, len(attempt.epochs()), score)
        if model_epoch is not None and attempt.model.exists():
            self._record(claim, "model", attempt.model, model_epoch, score)
        self.uploads.finish(attempt)

    def _record(self, claim: Claim, kind: str, file: Path, epoch: int, score: float | None) -> None:
        home = self._runs.parent.parent
        path, host = str(file.relative_to(home)), self._identity.host
        record = CheckpointRecord(claim.slot, kind, epoch, path, host, str(home), sha256_of(file), score)
        self._ledger.record_checkpoint(claim, record)
