"""What a class of a user's own adds to the loop: files, a package, memory, an interruption amid an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpo.domain.errors import UsageError
from hpo.domain.training import Ending, TrialFailure
from hpo.trainable import OwnTrainable, Trial
from hpo.trainable.alone import run_alone
from hpo.trainable.contract import Bench, Listener
from hpo.trainable.loading import load_trainable


@dataclass(frozen=True)
class Settings:
    text: Path = Path("text.txt")
    weights: Path | None = None
    epochs: int = 3


class Reading(OwnTrainable[Settings]):
    schema = Settings
    source = "text"

    def train(self, settings: Settings, trial: Trial) -> None:
        trial.describe(num_parameters=7, device="abacus, integers")
        for epoch in trial.epochs:
            if trial.is_interrupted():
                return
            trial.report(epoch, float(epoch), state=epoch)

    def memory_needed(self, settings: Settings, data: Path) -> int:
        return 3 * 2**30


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("once")
    return tmp_path / "text.txt"


def test_of_several_files_one_is_the_data_and_one_may_be_missing(text: Path, tmp_path: Path) -> None:
    reading = Reading()
    assert (reading.source, reading.files) == ("text", ("weights",))
    assert set(reading.path_settings) <= set(reading.shared)
    without = reading.prepare(Settings(text), tmp_path / "cache")
    assert without.summary == {"text": "text.txt"}
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "part").write_text("1")
    first = reading.prepare(Settings(text, weights), tmp_path / "cache").fingerprint
    (weights / "part").write_text("2")
    second = reading.prepare(Settings(text, weights), tmp_path / "cache").fingerprint
    assert len({without.fingerprint, first, second}) == 3
    with pytest.raises(UsageError, match=r"trainer\.weights=.*nowhere: there is no such file or folder"):
        reading.prepare(Settings(text, tmp_path / "nowhere"), tmp_path / "cache")


def test_a_training_that_needs_more_than_there_is_is_refused_by_its_estimate(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading()
    with pytest.raises(TrialFailure, match=r"about 3\.00 GiB of memory where 2\.00 GiB are") as refused:
        reading.check_memory(Settings(text), tmp_path, 2 * 2**30)
    assert (refused.value.reason, refused.value.excess) == ("does_not_fit", 0.5)
    reading.check_memory(Settings(text), tmp_path, 3 * 2**30)
    monkeypatch.setattr(Reading, "memory_needed", lambda *_: 2**60)
    with pytest.raises(SystemExit):
        run_alone(Reading, [f"text={text}", f"folder={tmp_path / 'out'}"])
    assert "it needs about" in capsys.readouterr().err


def test_an_interrupted_epoch_is_not_reported_and_is_trained_by_the_next(text: Path, tmp_path: Path) -> None:
    class Impatient(Listener):
        """Ends a training amid its second epoch."""

        def poll(self) -> Any:
            return "stop" if len(self.reports) == 1 else super().poll()

        def decide(self) -> Any:
            return "continue" if len(self.reports) == 1 else super().decide()

    reading = Reading()
    bench = Bench(reading, {"text": str(text)}, tmp_path)
    folder, listener = bench.new_folder(), Impatient()
    result = reading.fit(bench.settings, bench.prepared.search, listener, folder)
    assert (result.ending, result.last_epoch, listener.scores) == (Ending.STOPPED, 1, [1.0])
    after, whole = bench.train(folder)
    assert after.scores == [1.0, 2.0, 3.0]
    assert (whole.num_parameters, whole.device) == (7, "abacus, integers")


def test_a_package_is_fingerprinted_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "reading_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text("RATE = 1\n")
    (package / "main.py").write_text(
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Settings:\n    epochs: int = 1\n\n\n"
        "def train(settings: Settings, trial) -> None:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    trainable = load_trainable("reading_package.main:train")
    assert [file.name for file in trainable.code()] == ["__init__.py", "main.py", "parts.py"]
