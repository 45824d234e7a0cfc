"""What the user types becomes a configuration, or one sentence."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from hpo.cli import config_loader
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.domain.settings import quoted
from search_spaces import SpaceError
from trainer.config import PHASE_PRESETS, TrainerConfig
from trainer.tools.composition import compose_config


def source_of(config: SearchConfig) -> str:
    return str(config.trainer["data"]["source"])


def test_later_wins_defaults_space_file_overrides(tmp_path: Path) -> None:
    space = tmp_path / "mine.yaml"
    space.write_text(
        "settings:\n  train.epochs: 5\n  train.score_epochs: 2\n  model.window: 7\n"
        "tiers:\n  one:\n    optim.lr: {type: float, low: 1.0e-4, high: 1.0e-2, log: true, default: 1.0e-3}\n"
    )
    file = tmp_path / "settings.yaml"
    file.write_text(f"space: {space}\ntrials: 3\ntrainer: {{train: {{epochs: 6, score_epochs: 3}}}}\n")
    config, loaded = config_loader.load(["trainer.train.epochs=8"], file)
    trainer = TrainerConfig.model_validate(config.trainer)
    assert (config.trials, trainer.train.epochs, trainer.train.score_epochs, trainer.model.window) == (3, 8, 3, 7)
    assert [tier.name for tier in loaded.tiers] == ["one"]
    assert config.seed == SearchConfig().seed


def test_paths_are_kept_absolute_and_names_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_of(config_loader.load(["trainer.data.source=prices.csv"])[0]) == f"{tmp_path}/prices.csv"
    assert source_of(config_loader.load([], data="prices.csv")[0]) == f"{tmp_path}/prices.csv"
    assert source_of(config_loader.load([])[0]) == "planted:realistic"
    assert config_loader.load(["space=atft"])[0].space == "atft"


def test_the_objective_is_what_the_trainer_monitors() -> None:
    config, _ = config_loader.load(["objective=neutral_rank_ic"])
    assert config.trainer["train"]["monitor"] == "neutral_rank_ic"


def test_options_of_optuna_classes_take_any_key() -> None:
    config, _ = config_loader.load(["sampler.options.n_startup_trials=7"])
    assert config.sampler.options == {"n_startup_trials": 7}


def test_a_printed_configuration_is_read_back(tmp_path: Path) -> None:
    given = ["trials=7", "objective=rank_ic_5d", "seed=4", "trainer.train.epochs=2", "worker.trial_timeout=90"]
    config, _ = config_loader.load(given)
    file = tmp_path / "printed.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert config_loader.load([], file)[0] == config


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["trails=3"], ["'trails'", "command line", "Did you mean 'trials'?"]),
        (["hidden_size=3"], ["Did you mean 'trainer.model.hidden_size'?"]),
        (["trials=0"], ["trials=0", "HPO_TRIALS", "greater than or equal to 1"]),
        (["trials=many"], ["trials=many", "HPO_TRIALS"]),
        (["trials=1000000"], ["trials=1000000", "HPO_TRIALS", "less than or equal to 20000"]),
        (["study=a/b"], ["a/b", "choose another name (HPO_STUDY)."]),
        (["trials"], ["'trials' is not an override", "key=value"]),
        (["~trials"], ["'~trials'", "no setting can be taken out"]),
        (["trials=1,2"], ["lists several values", "--multirun"]),
        (["+trails=3"], ["'trails'", "Did you mean 'trials'?"]),
        (["trainer.model.kind=transformer"], ["trainer.model.kind=transformer", "'atft_gat_fan'"]),
        (
            ["trainer.optim.lr=0.1"],
            ["'trainer.optim.lr' is searched by the space 'quickstart'", "--space FILE"],
        ),
        (["trainer.optim={lr:0.2}"], ["'trainer.optim.lr' is searched"]),
        (["trainer.train.monitor=rank_ic_5d"], ["follows 'objective'"]),
        (["trainer.train.seed=5"], ["follows 'seed'"]),
        (["objective=sharpe"], ["'ranker' has no such metric", "rank_ic_5d"]),
        (["objective=rank_ic_7d"], ["objective=rank_ic_7d", "Did you mean 'rank_ic_"]),
        (["trainable=linear"], ["trainable=linear", "my_module:MyTrainable"]),
        (["trainable=rankr"], ["Did you mean 'ranker'?"]),
        (["trainable=no_such_module:Thing"], ["there is no module 'no_such_module'"]),
        (["trainable=math:tau"], ["a float is no trainable"]),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(overrides: Sequence[str], words: Sequence[str]) -> None:
    with pytest.raises(UsageError) as refusal:
        config_loader.load(overrides)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trials: [", "is neither YAML nor JSON"),
        ("- 1", "must hold a mapping"),
        ("trails: 3", "Did you mean 'trials'?"),
        ("trainer: {optim: {lr: 0.5}}", "'trainer.optim.lr' is searched"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"\A[^\n]+\Z") as refusal:
        config_loader.load([], file)
    assert words in str(refusal.value)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the configuration file .*gone\.yaml"):
        config_loader.load([], tmp_path / "gone.yaml")
    with pytest.raises(SpaceError, match=r"gone\.yaml"):
        config_loader.load([f"space={tmp_path / 'gone.yaml'}"])
    with pytest.raises(SpaceError, match="Did you mean 'quickstart'"):
        config_loader.load(["space=quikstart"])


def test_changed_keeps_what_is_not_named() -> None:
    config, _ = config_loader.load(["trials=9", "seed=3"])
    assert config_loader.changed(config, ["trials=12"]) == config.model_copy(update={"trials": 12})
    with pytest.raises(UsageError, match="Did you mean 'trials'"):
        config_loader.changed(config, ["trails=12"])


@pytest.mark.parametrize("text", ["it's \\ a, b=c {d} $x?y [z]", "a\\'b", "a\\\\'b", "ends in \\", "'", '"', "\\"])
def test_any_text_survives_quoting(text: str) -> None:
    source = f"/data/{text}"
    config, _ = config_loader.load([f"trainer.data.source={quoted(source)}"])
    assert source_of(config) == source


@pytest.mark.parametrize("source", ["planted:clean?stocks=40&days=500", "/data/a, b [c].csv", "'planted:null'"])
def test_a_source_needs_no_quotes(source: str) -> None:
    config, _ = config_loader.load([f"trainer.data.source={source}"])
    assert source_of(config) == compose_config([f"data.source={source}"]).data.source == source.strip("'")


def test_settings_as_overrides_are_what_the_trainer_takes() -> None:
    settings = TrainerConfig.model_validate(
        {
            "data": {"source": "planted:clean?stocks=40&days=500", "horizons": (1, 5), "split": {"num_folds": 2}},
            "loss": {"phases": PHASE_PRESETS["baseline_to_ranking"], "horizon_weights": (1.0, 0.5)},
            "optim": {"lr": 0.00011449983589389072},
        }
    )
    overrides = config_loader.as_overrides(settings.model_dump(mode="json"))
    assert compose_config(overrides) == settings
    words = subprocess.run(  # as in `trainer $(hpo best --format hydra)`
        ["bash", "-c", 'printf "%s\\n" $(cat)'], input="\n".join(overrides), text=True, capture_output=True, check=True
    )
    assert words.stdout.splitlines() == overrides


def test_options_of_sbatch_are_a_text_and_need_slurm() -> None:
    given = ["worker.engine=slurm", "worker.sbatch=--gres=gpu:1 --time=8:00:00"]
    config, _ = config_loader.load(given)
    assert config.worker.sbatch == "--gres=gpu:1 --time=8:00:00"
    with pytest.raises(UsageError, match=r"add worker\.engine=slurm"):
        config_loader.load(given[1:])
    with pytest.raises(UsageError, match="no line of options"):
        config_loader.load([given[0], "worker.sbatch=--comment='open"])


def test_options_of_ray_are_any_and_need_ray() -> None:
    given = ["worker.engine=ray", "worker.ray.num_cpus=4", "worker.ray.accelerator_type=H100"]
    config, _ = config_loader.load(given)
    assert config.worker.ray == {"num_cpus": 4, "accelerator_type": "H100"}
    with pytest.raises(UsageError, match=r"ray has no effect with engine=local; add worker\.engine=ray"):
        config_loader.load(given[1:])
