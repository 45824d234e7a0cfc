"""What counts as the same search."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from hpo.domain.campaign import CampaignSpec, TierPlan
from hpo.domain.config import SearchConfig
from hpo.domain.trainable import Trainable
from hpo.ranking.ranker import Ranker
from hpo.trainable.loading import load_trainable
from hpo.trainable.own import FunctionTrainable
from hpo.trainable.trial import Trial
from hpo.usecases import fingerprints
from hpo.usecases.fingerprints import code_fingerprint, code_parts
from search_spaces import dump_space, load_space
from trainer import TrainerConfig

ROOT = Path(__file__).parents[4]


@dataclass
class Settings:
    """Of a training of one's own."""

    epochs: int = 1


def descend(settings: Settings, trial: Trial) -> None:
    """A training of one's own."""


def config(**changes: Any) -> SearchConfig:
    return SearchConfig.model_validate(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "other"},
        {"trials": 99},
        {"space": "atft"},
        {"worker": {"num_workers": 3}},
        {"trainer": {"data": {"source": "elsewhere.parquet"}}},
    ],
)
def test_how_and_where_the_work_is_done_is_not_science(changes: dict[str, Any]) -> None:
    assert fingerprints.config_fingerprint(config(**changes)) == fingerprints.config_fingerprint(config())


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"objective": "rank_ic_5d"}, {"sampler": {"name": "random"}}, {"trainer": {"train": {"epochs": 3}}}],
)
def test_what_can_change_a_result_is(changes: dict[str, Any]) -> None:
    assert fingerprints.config_fingerprint(config(**changes)) != fingerprints.config_fingerprint(config())


def test_the_code_has_one_fingerprint_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprints.code_fingerprint(Ranker(), TrainerConfig())
    assert fingerprints.code_fingerprint(Ranker(), TrainerConfig()) == before
    monkeypatch.setattr(fingerprints, "SCIENTIFIC_CODE", fingerprints.SCIENTIFIC_CODE[:-1])
    assert fingerprints.code_fingerprint(Ranker(), TrainerConfig()) != before


@pytest.mark.parametrize("package", ["torch", "lightgbm", "numpy", "optuna"])
def test_another_version_of_what_computes_is_other_code(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprints.code_fingerprint(Ranker(), TrainerConfig())
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.0" if name == package else version(name))
    assert fingerprints.code_fingerprint(Ranker(), TrainerConfig()) != before


def test_differences_name_the_setting_and_both_values() -> None:
    old, new = config(), config(seed=5, trials=30, worker={"num_workers": 2})

    def spec(held: SearchConfig, digest: str) -> CampaignSpec:
        tiers = (TierPlan(1, "capacity", held.trials),)
        return CampaignSpec("night", {"search": held.model_dump(mode="json")}, {"config": digest}, tiers, held.seed)

    stored, wanted = spec(old, "a" * 64), spec(new, "b" * 64)
    assert fingerprints.differences(stored, stored) == []
    first, second = fingerprints.differences(stored, wanted)
    assert first == "config aaaaaaaa is now bbbbbbbb: seed 0 -> 5"
    assert "its budget is 20 trials, not 30" in second
    assert "hpo resume study=night trials=30" in second
    smaller = replace(stored, tiers=(TierPlan(1, "capacity", 4),))
    assert "trials=20" in fingerprints.differences(stored, smaller)[0]


def test_code_that_differs_is_named_by_its_files_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    ranker, settings = Ranker(), TrainerConfig()

    def spec() -> CampaignSpec:
        fingerprint = code_fingerprint(ranker, settings)
        code = {"fingerprint": fingerprint, "parts": code_parts(ranker, settings)}
        return CampaignSpec("night", {"code": code}, {"code": fingerprint}, (TierPlan(1, "all", 4),), 0)

    before, version, read = spec(), metadata.version, fingerprints._sources
    monkeypatch.setattr(metadata, "version", lambda name: "9.9" if name == "numpy" else version(name))
    edited = "hpo/engine/objective.py"
    monkeypatch.setattr(
        fingerprints, "_sources", lambda place: [(n, f"{t}#") if n == edited else (n, t) for n, t in read(place)]
    )
    (said,) = fingerprints.differences(before, spec())

    assert f"numpy {version('numpy')} -> 9.9" in said
    assert f"{edited} " in said
    assert said.count("->") == 2
    forgotten = replace(before, config={})
    assert "->" not in fingerprints.differences(forgotten, spec())[0], "a campaign from before this was kept"


def test_a_changed_space_is_shown_by_its_changes() -> None:
    text = dump_space(load_space("quickstart"))

    def spec(yaml: str, digest: str) -> CampaignSpec:
        return CampaignSpec("night", {"space": {"yaml": yaml}}, {"space": digest}, (TierPlan(1, "capacity", 2),), 0)

    changed = text.replace("high: 0.4", "high: 0.6")
    assert changed != text
    (said,) = fingerprints.differences(spec(text, "a" * 64), spec(changed, "b" * 64))
    assert said == "space aaaaaaaa is now bbbbbbbb: tiers.regularisation.model.dropout.high 0.4 -> 0.6"


def test_a_class_derived_from_the_ranker_is_fingerprinted_by_its_own_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "derived_from_ranker.py"
    text = "from hpo.ranking.ranker import Ranker\n\n\nclass Mine(Ranker):\n    pass\n"
    file.write_text(text)
    monkeypatch.chdir(tmp_path)
    mine = load_trainable("derived_from_ranker:Mine")
    before = code_fingerprint(mine, mine.parse({}))
    file.write_text(f"{text}\n\n# changed\n")
    assert code_fingerprint(mine, mine.parse({})) != before


def test_a_model_of_ones_own_is_fingerprinted_by_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, beside = tmp_path / "fingerprinted_model.py", tmp_path / "beside.py"
    shutil.copy(ROOT / "tests/support/own/lagged.py", file)
    monkeypatch.chdir(tmp_path)
    settings = Ranker().parse({"model": {"kind": "fingerprinted_model:Lagged"}})
    before = code_fingerprint(Ranker(), settings)
    beside.write_text("")
    assert code_fingerprint(Ranker(), settings) == before
    assert code_fingerprint(Ranker(), TrainerConfig()) != before
    file.write_text(f"{file.read_text()}# changed\n")
    assert code_fingerprint(Ranker(), settings) != before


def changed_by_an_edit_of(file: str, trainable: Trainable[Any], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the fingerprint is another with one more line in this file of ours."""
    before, read_text = code_fingerprint(trainable, trainable.parse({})), Path.read_text

    def edited(path: Path, *arguments: Any, **options: Any) -> str:
        text = read_text(path, *arguments, **options)
        return f"{text}# edited\n" if path.resolve() == ROOT / file else text

    assert (ROOT / file).is_file()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", edited)
        return code_fingerprint(trainable, trainable.parse({})) != before


RANKERS = (
    "hpo/domain/campaign.py",  # derives seeds
    "hpo/adapters/optuna/study_storage.py",
    "hpo/adapters/optuna/trial_statements.py",
    "hpo/engine/objective.py",
    "hpo/engine/joint/model.py",
    "search_spaces/dimensions.py",
    "trainer/training/loop.py",
    "trainer/data/features.py",
)
OWNS = (
    "hpo/domain/campaign.py",
    "hpo/adapters/optuna/study_storage.py",
    "hpo/trainable/own.py",
    "hpo/trainable/trial.py",
    "hpo/trainable/states.py",
)
SHOWN = (
    "hpo/cli/progress.py",
    "hpo/engine/supervisor.py",
    "hpo/engine/worker.py",
    "hpo/report/page.py",
    "hpo/trainable/contract.py",
    "trainer/__main__.py",
    "trainer/tools/lr_find.py",
    "trainer/tools/terminal.py",  # the progress bar
)


@pytest.mark.parametrize("file", RANKERS)
def test_an_edit_of_what_decides_a_rankers_results_is_other_code(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed_by_an_edit_of(file, Ranker(), monkeypatch)


@pytest.mark.parametrize("file", OWNS)
def test_an_edit_of_what_a_training_of_ones_own_runs_in_is_other_code(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed_by_an_edit_of(file, FunctionTrainable(descend), monkeypatch)


@pytest.mark.parametrize("file", [*SHOWN, "hpo/trainable/trial.py"])
def test_an_edit_of_what_shows_or_starts_it_is_the_same_code(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not changed_by_an_edit_of(file, Ranker(), monkeypatch)


@pytest.mark.parametrize("file", [*SHOWN, "trainer/training/loop.py"])
def test_an_edit_of_the_ranker_is_the_same_code_to_a_training_of_ones_own(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not changed_by_an_edit_of(file, FunctionTrainable(descend), monkeypatch)
