"""What a command is about: one campaign as it is, one of its trials, or what may be changed in it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpo.cli.parser import parse
from hpo.cli.selection import frozen, named_trial, separate_runs, sides, study_of
from hpo.domain.campaign import DEFAULT_STUDY
from hpo.domain.errors import UsageError

APP: Any = SimpleNamespace(records=SimpleNamespace(find=lambda name: f"campaign {name}"))


def test_the_last_name_counts_and_there_is_a_usual_one() -> None:
    assert study_of(["study=one", "study=two"]) == "two"
    assert study_of([]) == DEFAULT_STUDY


def test_a_campaign_that_is_looked_at_takes_no_settings() -> None:
    with pytest.raises(UsageError, match=r"'trials=4': this command takes study=NAME alone"):
        study_of(["study=one", "trials=4"])


def test_a_trial_is_named_by_its_number() -> None:
    assert named_trial(APP, "night") == ("campaign night", None)
    assert named_trial(APP, "night#7") == ("campaign night", 7)
    for wrong in ("night#", "night#x", "night#-1"):
        with pytest.raises(UsageError, match=f"'{wrong}': write NAME"):
            named_trial(APP, wrong)


def test_a_campaign_goes_on_as_it_was_created() -> None:
    with pytest.raises(UsageError, match=r"'seed=4': a campaign goes on as it was created; only trials= and worker\."):
        frozen(APP, ["study=night", "seed=4"], allowed=("trials=", "worker."))


def test_the_campaigns_of_a_multirun_are_composed_before_the_first_one_starts() -> None:
    runs = separate_runs(parse(["run", "study=night", "-m", "seed=0,1", "--timeout", "90s"]))
    assert [run.overrides for run in runs] == [[f"seed={n}", f"study=night-seed-{n}"] for n in (0, 1)]
    assert not any(run.multirun for run in runs)
    with pytest.raises(UsageError, match="trials=-1"):
        separate_runs(parse(["run", "-m", "trials=1,-1"]))
    with pytest.raises(UsageError, match="give one of them"):
        separate_runs(parse(["run", "-m", "seed=0,1", "--fork", "other"]))


def test_a_slash_means_the_folder_of_a_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is on both sides"):
        sides(APP, "./run", "./run")
    with pytest.raises(UsageError, match="is no folder of a training that has finished an epoch"):
        sides(APP, str(tmp_path), "night#7")
