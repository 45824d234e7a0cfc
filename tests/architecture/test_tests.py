"""Every module has a test file of its name, or is named here with where it is tested and why there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hpo", "tiertune", "trainer", "search_spaces")
ELSEWHERE = ("contract", "property")
"""Folders below tests/ beside `unit`: suites over all implementations of one thing."""

TOGETHER = {
    "contract/test_ledger.py": (
        "one suite for both ledgers, their rows, statements and rules",
        "hpo/adapters/ledger/postgres_ledger hpo/adapters/ledger/rows hpo/domain/ledger_rules hpo/testing/memory_ledger"
        " hpo/testing/memory_slots"
        " hpo/domain/ledger_invariants",
    ),
    "contract/test_ledger_concurrency.py": ("claims of several processes", "hpo/adapters/ledger/statements"),
    "contract/test_study_storage.py": (
        "one suite for both stores of studies, through the cache that the engine uses",
        "hpo/adapters/optuna/trial_statements hpo/engine/study_cache hpo/testing/memory_storage",
    ),
    "unit/hpo/adapters/postgres/test_embedded.py": ("a home is where a server starts", "hpo/adapters/postgres/home"),
    "contract/test_pooler.py": ("needs a real PgBouncer", "hpo/adapters/postgres/pooling"),
    "faults/test_database.py": ("needs a server that goes away", "hpo/adapters/postgres/retry"),
    "contract/test_tracker.py": (
        "one suite for all trackers, on a real store",
        "hpo/adapters/mlflow/null_tracker hpo/adapters/mlflow/projection hpo/adapters/mlflow/store",
    ),
    "contract/test_champion.py": (
        "a registered model is loaded by MLflow, in a process of its own",
        "hpo/adapters/mlflow/model hpo/adapters/mlflow/registry hpo/adapters/mlflow/quiet hpo/ranking/serving",
    ),
    "property/test_secrets.py": ("drawn URLs, refused or shown nowhere", "hpo/adapters/mlflow/address"),
    "contract/test_dashboard_pages.py": (
        "the pages as optuna-dashboard stores them",
        "hpo/adapters/dashboard/pages",
    ),
    "unit/hpo/adapters/dashboard/test_campaign_studies.py": (
        "what a study holds is what was written",
        "hpo/adapters/dashboard/statements",
    ),
    "contract/test_runners.py": (
        "one suite for both runners of a training",
        "hpo/adapters/processes/ends hpo/domain/training hpo/ranking/fitting hpo/adapters/processes/clock",
    ),
    "contract/test_artifacts.py": ("one suite for all stores of artifacts", "hpo/testing/memory_artifacts"),
    "unit/hpo/engine/test_uploads.py": ("a trial's folder, opened and uploaded", "hpo/engine/folders"),
    "contract/test_engines.py": ("one suite for all engines", "hpo/adapters/engines/logs"),
    "contract/test_damage.py": (
        "a whole campaign through the wiring, its files damaged one by one",
        "hpo/usecases/doctor/checkup hpo/usecases/doctor/files hpo/wiring hpo/cli/terminal hpo/runs/durable",
    ),
    "unit/hpo/usecases/test_finalize.py": (
        "campaigns that really trained, their members trained again and walked forward",
        "hpo/ranking/refitting hpo/usecases/refit/members hpo/usecases/refit/record hpo/usecases/refit/walk_forward"
        " trainer/data/known",
    ),
    "unit/hpo/usecases/test_contenders.py": ("trained and judged for a report", "hpo/ranking/contenders"),
    "unit/hpo/usecases/test_session.py": ("a record of functions, used by a sitting", "hpo/usecases/host"),
    "unit/tiertune/test_campaign.py": ("a campaign is started before it is looked at", "tiertune/start"),
    "unit/hpo/report/test_holdout.py": ("the report measures what the ranker scores", "hpo/ranking/holdout"),
    "unit/hpo/ranking/test_metrics.py": (
        "names and their labels",
        "hpo/domain/metric trainer/metric_names",
    ),
    "unit/hpo/cli/test_config_loader.py": ("fields are set by what is typed", "hpo/domain/config"),
    "unit/hpo/cli/test_status.py": ("both draw one made-up campaign", "hpo/cli/progress"),
    "unit/hpo/cli/test_main.py": ("which error ends a command with which exit code", "hpo/domain/errors"),
    "unit/hpo/runs/test_folder.py": ("the lines and the end of an attempt", "hpo/runs/entries"),
    "unit/hpo/usecases/test_results.py": (
        "they share one campaign that really trained",
        "hpo/usecases/inspection/compare hpo/usecases/deployed",
    ),
    "unit/hpo/engine/test_worker.py": (
        "they are a worker's parts, and seen through what it does",
        "hpo/engine/conversation hpo/domain/ports",
    ),
    "unit/hpo/engine/joint/test_sampler.py": (
        "the model behind the proposals has no meaning of its own",
        "hpo/engine/joint/coordinates hpo/engine/joint/observations hpo/engine/joint/proposals",
    ),
    "unit/hpo/engine/joint/test_choice.py": (
        "seen by what is chosen",
        "hpo/engine/joint/model hpo/engine/joint/fitting",
    ),
    "unit/hpo/report/test_page.py": (
        "the parts of one page, each read in the page",
        "hpo/report/document hpo/report/evidence hpo/report/local_paths hpo/report/summary hpo/report/sections/answer"
        " hpo/report/sections/data hpo/report/sections/deployed hpo/report/sections/luck hpo/report/sections/reproduce"
        " hpo/report/sections/search hpo/report/sections/search_charts hpo/ranking/sections",
    ),
    "unit/hpo/report/test_verdict.py": ("what is found is seen by what is said", "hpo/report/findings"),
    "unit/hpo/report/test_collect.py": (
        "words and doubts",
        "hpo/report/formatting hpo/domain/doubt",
    ),
    "unit/hpo/trainable/test_contract.py": (
        "the suite that every trainable passes, and the broken ones that do not",
        "hpo/trainable/trial hpo/domain/trainable hpo/ranking/ranker",
    ),
    "acceptance/test_trainable.py": ("`python my_file.py` in a process of its own", "hpo/trainable/alone"),
    "contract/test_models.py": (
        "one suite for every kind of model",
        "trainer/models/ranker trainer/models/tabular",
    ),
    "unit/trainer/config/test_config.py": (
        "every section is read, written and refused alike",
        "trainer/config/data trainer/config/section trainer/config/training",
    ),
    "unit/trainer/data/test_loader.py": (
        "files are read as a user gives them",
        "trainer/data/reading/cells trainer/data/reading/columns trainer/data/reading/files"
        " trainer/data/reading/formats trainer/data/reading/prices trainer/data/reading/table"
        " trainer/data/checking/bars trainer/data/checking/values",
    ),
    "unit/trainer/data/test_spellings.py": (
        "one panel in every form that vendors ship",
        "trainer/data/reading/tables trainer/data/reading/wide",
    ),
    "unit/trainer/data/test_leaks.py": ("the same refusals, in some stocks alone", "trainer/data/checking/shares"),
    "unit/trainer/data/test_features_and_targets.py": (
        "features and targets of one market, against plain loops",
        "trainer/data/cross_section trainer/data/features trainer/data/rolling trainer/data/targets"
        " trainer/data/market",
    ),
    "unit/trainer/data/test_prepare.py": ("what is prepared and said of it", "trainer/data/panel trainer/data/summary"),
    "unit/trainer/test_main.py": (
        "the commands of a terminal and their ends",
        "trainer/errors trainer/tools/commands trainer/tools/terminal trainer/suggestions",
    ),
    "unit/trainer/training/test_fitters.py": (
        "what all fitters promise",
        "trainer/training/fitters/samples trainer/training/evaluate",
    ),
    "unit/trainer/training/test_loop.py": ("a loop over folds", "trainer/training/folds trainer/reports"),
    "unit/search_spaces/test_loading.py": ("what a space is refused for", "search_spaces/errors"),
}
"""Test file -> why there, and the modules that are tested in it."""


def modules() -> Iterator[Path]:
    """Every module below the packages, `__init__` and `__main__` apart."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if not file.stem.startswith("__") and "migrations" not in file.parts:
                yield file.relative_to(ROOT).with_suffix("")


def has_a_test_of_its_name(module: Path) -> bool:
    """A test of the module's name in its room or a room around it, or among the suites."""
    rooms = [ROOT / "tests/unit" / room for room in module.parents if room.parts]
    places = [*rooms, *(ROOT / "tests" / folder for folder in ELSEWHERE)]
    return any((place / f"test_{module.name}.py").is_file() for place in places)


NAMED = {module: test for test, (_, names) in TOGETHER.items() for module in map(Path, names.split())}


def test_every_module_has_a_test_of_its_name_or_a_reason() -> None:
    assert [str(module) for module in modules() if not has_a_test_of_its_name(module) and module not in NAMED] == []


def test_the_reasons_are_needed_and_lead_to_a_test() -> None:
    known = set(modules())
    assert [str(module) for module in NAMED if module not in known or has_a_test_of_its_name(module)] == []
    assert [test for test in TOGETHER if not (ROOT / "tests" / test).is_file()] == []


@pytest.mark.parametrize("folder", [folder for package in PACKAGES for folder in (ROOT / package).rglob("*")])
def test_no_folder_is_crowded(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 15, "14 modules and the package's own"
