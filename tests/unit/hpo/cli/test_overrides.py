"""Plus signs, choices from groups and sweeps on the command line of the search."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.cli import config_loader
from hpo.cli.overrides import swept
from hpo.domain.errors import UsageError
from search_spaces.errors import SpaceError


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_plus_says_nothing_more(plus: str) -> None:
    assert config_loader.load([f"{plus}trials=7"])[0].trials == 7


def test_a_choice_of_the_ranker_is_laid_below_single_settings() -> None:
    config, _ = config_loader.load(["space=trees", "trainer/model=lightgbm", "trainer.train.epochs=3"])
    assert (config.trainer["model"]["kind"], config.trainer["train"]["epochs"]) == ("lightgbm", 3)
    with pytest.raises(UsageError, match=r"trainer/model=gruu: choose one of .* Did you mean 'gru'\?"):
        config_loader.load(["trainer/model=gruu"])
    with pytest.raises((UsageError, SpaceError), match="searched by the space 'quickstart'"):
        config_loader.load(["trainer/preset=production"])


def test_the_users_own_groups_lie_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {"preset/night": "trials: 33", "sampler/wide": "name: gp", "trainer/data/none": "source: planted:null"}
    for name, text in texts.items():
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    config, _ = config_loader.load(["preset=night", "sampler=wide", "trainer/data=none"])
    assert (config.trials, config.sampler.name) == (33, "gp")
    assert config.trainer["data"]["source"] == "planted:null"
    with pytest.raises(UsageError, match=r"preset=nigt: .*write conf/preset/nigt\.yaml\. Did you mean 'night'"):
        config_loader.load(["preset=nigt"])
    (tmp_path / "conf/preset/night.yaml").write_text("trails: 3")
    with pytest.raises(UsageError, match=r"Unknown setting 'trails' on a chosen group.*Did you mean 'trials'"):
        config_loader.load(["preset=night"])


def test_the_campaigns_of_a_multirun_are_named_by_what_varies() -> None:
    found = config_loader.multirun(["study=night", "seed=0,1", "trials=4", "space=atft,quickstart"])
    assert list(found) == [f"night-seed-{seed}-space-{space}" for seed in (0, 1) for space in ("atft", "quickstart")]
    config, _ = config_loader.load(found["night-seed-1-space-atft"])
    assert (config.study, config.seed, config.trials, config.space) == ("night-seed-1-space-atft", 1, 4, "atft")
    assert list(config_loader.multirun(["study=a,b"])) == ["a", "b"]
    assert list(config_loader.multirun(["trainer.loss.own=1.5,2"])) == ["default-own-1.5", "default-own-2"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["seed=1"], "nothing to vary"),
        (["seed=0,0"], "two campaigns would be called 'default-seed-0'"),
        (["seed=glob(*)"], "write them one by one"),
    ],
)
def test_a_multirun_that_makes_no_sense_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        config_loader.multirun(words)


def test_the_last_setting_varies_fastest() -> None:
    runs = swept(["seed=0,1", "trials=range(2,4)"], ())
    assert [[value for _, value, _ in run] for run in runs] == [["0", "2"], ["0", "3"], ["1", "2"], ["1", "3"]]
