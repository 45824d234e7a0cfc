"""What a campaign has come to: its best trial in words, as settings, as scores of new data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.domain.campaign import Campaign
from hpo.domain.doubt import best_doubt
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.domain.failures import is_choosable
from hpo.runs.folder import Attempt
from hpo.usecases.deployed import deployed_file
from hpo.usecases.records import Records
from hpo.usecases.refit.record import final_file

if TYPE_CHECKING:
    import pandas as pd

    from hpo.domain.trainable import Predicted

FORMATS = (".parquet", ".csv")


def best_slot(records: Records, campaign: Campaign) -> int:
    """The single champion's slot, or that of the best trial so far. UsageError where no trial is complete."""
    if campaign.champion is not None and campaign.champion["slot"] is not None:
        return int(campaign.champion["slot"])
    complete = [slot for slot in records.ledger.slots(campaign.id) if is_choosable(slot)]
    if not complete:
        raise UsageError(f"The campaign '{campaign.name}' has no complete trial yet; wait, or see `hpo status`.")
    return max(complete, key=lambda slot: slot.score or float("-inf")).slot


def best_settings(records: Records, campaign: Campaign) -> Mapping[str, Any]:
    """The resolved settings of the single champion, or of the best trial so far."""
    return run_of(records, campaign, best_slot(records, campaign)).config()


def standing(records: Records, campaign: Campaign) -> list[str]:
    """The champion, or the best trial so far, for a person; before it why it is not to be believed, if it is not."""
    from hpo.trainable.loading import load_trainable

    slot, slots = best_slot(records, campaign), records.ledger.slots(campaign.id)
    score = next(view.score for view in slots if view.slot == slot)
    search, trainable = campaign.spec.config["search"], load_trainable(campaign.spec.trainable)
    doubt = best_doubt(trainable, trainable.parse(search["trainer"]), search["objective"], slots)
    who = "Champion" if campaign.champion is not None else "Best so far (the campaign is not complete)"
    settings = [f"  {name} = {value}" for name, value in run_of(records, campaign, slot).run()["params"].items()]
    first = [doubt] if doubt else []
    single = [f"{who} of '{campaign.name}': trial {slot}, validation score {score:+.4f}", *settings]
    champion = campaign.crowned
    if champion is None or not champion.is_committee:
        return [*first, *single]
    members = [
        f"  {name}  weight {member.weight:.3f}, epoch {member.epoch}" for name, member in champion.members.items()
    ]
    return [
        *first,
        f"What '{campaign.name}' deploys: the mean of the daily ranks of {len(members)} trials",
        *members,
        f"Single {single[0][0].lower()}{single[0][1:]}",
        *settings,
    ]


def predict(
    records: Records,
    campaign: Campaign,
    source: Path,
    output: Path,
    *,
    everything: bool,
    trial: int | None = None,
    together: Sequence[Campaign] = (),
) -> Predicted:
    """Write the scores of new data, see `scores`, to output: `.parquet` or `.csv`.

    Raises:
        UsageError: output is no such file, or the source itself, and as `scores`. EnvironmentFault: output cannot be
            written, and as `scores`.
    """
    _check_source(source)
    _check_output(output, source)
    made = scores(records, campaign, source, everything=everything, trial=trial, together=together)
    _write(made.table, output)
    return made


def scores(
    records: Records,
    campaign: Campaign,
    source: Path,
    *,
    everything: bool,
    trial: int | None = None,
    together: Sequence[Campaign] = (),
) -> Predicted:
    """Score new data with what the campaign deploys, refitted where `hpo finalize` did that, or with the best trial so
    far.

    trial: one trial alone instead. together: further campaigns that were finalized with this one.

    source: a file or folder in the columns of the training data. everything: score also the days up to the last one
    the search was given.

    Raises:
        UsageError: the data do not fit the model, or hold no later day; the trainable cannot predict.
            EnvironmentFault: the recorded checkpoint is not here, or another file is in its place.
    """
    from hpo.trainable.loading import load_trainable

    _check_source(source)
    trainable = load_trainable(campaign.spec.trainable)
    if together and trial is not None:
        raise UsageError(f"--trial {trial}: name one campaign, as study={campaign.name}.")
    final = final_file(records, [campaign, *together]) if trial is None else None
    if together and final is None:
        names = [campaign.name, *(each.name for each in together)]
        raise UsageError(
            f"There are no refitted models of {'+'.join(names)} to score with; make them with "
            f"`hpo finalize {' '.join(names)}`."
        )
    made = trainable.predict(final or _scoring_file(records, campaign, trial), source, everything=everything)
    if final is None:
        return made
    return replace(made, notes=("Scored with the models that `hpo finalize` refitted.", *made.notes))


def _scoring_file(records: Records, campaign: Campaign, trial: int | None) -> Path:
    """What scores: the named trial, what the campaign deploys, or the best trial so far."""
    if trial is None and campaign.crowned is not None:
        return deployed_file(records, campaign, campaign.crowned)
    num_trials = campaign.spec.budget
    if trial is not None and not 1 <= trial <= num_trials:
        raise UsageError(f"--trial {trial}: the campaign '{campaign.name}' has trials 1 to {num_trials}.")
    return records.archive(campaign).model(best_slot(records, campaign) if trial is None else trial)


def _check_source(source: Path) -> None:
    if not source.exists():
        raise UsageError(f"--data {source}: there is no such file or folder.")


def _check_output(output: Path, source: Path) -> None:
    """Raise UsageError before any work for a file that cannot be meant."""
    folder = output.absolute().parent
    if output.suffix not in FORMATS:
        raise UsageError(f"--output {output}: the name must end in .parquet or .csv, which also chooses the format.")
    if not folder.is_dir():
        raise UsageError(f"--output {output}: there is no folder {folder}; make it first.")
    if output.is_dir():
        raise UsageError(f"--output {output} is a folder; name a file.")
    if source.resolve() in (output.resolve(), folder.resolve()):
        raise UsageError(f"--output {output} would become part of the data themselves; choose another place.")


def _write(table: pd.DataFrame, output: Path) -> None:
    """The table as a file that is whole or not there."""
    unfinished = output.with_name(f".{output.stem}.{os.getpid()}{output.suffix}")
    try:
        if output.suffix == ".csv":
            table.to_csv(unfinished, index=False)
        else:
            table.to_parquet(unfinished, index=False)
        unfinished.replace(output)
    except OSError as error:
        raise EnvironmentFault(f"--output {output} cannot be written: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def run_of(records: Records, campaign: Campaign, slot: int) -> Attempt:
    """The slot's attempt. EnvironmentFault where its run folder is not here, saying where, or is damaged."""
    archive = records.archive(campaign)
    attempt = archive.intact(slot)
    if attempt is None:
        raise EnvironmentFault(archive.whereabouts(slot))
    return attempt
