"""The trainer's command line: settings, errors in one sentence, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.__main__ import main
from trainer.config import TrainerConfig
from trainer.data.panel import TrainingData
from trainer.errors import InputError, NonFiniteError
from trainer.reports import EpochReport
from trainer.tools import commands
from trainer.tools.composition import compose_config
from trainer.tools.terminal import TerminalReporter

TINY = [
    "data.horizons=[1,5]",
    "model.kind=mlp",
    "model.window=4",
    "model.hidden_size=8",
    "train.epochs=2",
    "train.batch_size=200",
    "train.precision=fp32",
    "train.device=cpu",
]


@pytest.fixture
def tiny_source(make_data: Callable[..., TrainingData], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source is the tiny panel."""
    monkeypatch.setattr(commands, "_data", lambda config, cache: make_data())


def test_overrides_and_files_change_the_defaults(tmp_path: Path) -> None:
    assert compose_config([]) == TrainerConfig()
    file = tmp_path / "c.json"
    file.write_text(TrainerConfig.model_validate({"train": {"epochs": 3, "seed": 5}}).model_dump_json())
    config = compose_config(["optim.lr=1e-4", "train.epochs=7", "data.split.train_end=2020-01-31"], file)
    assert (config.optim.lr, config.train.epochs, config.train.seed) == (1e-4, 7, 5)
    assert str(config.data.split.train_end) == "2020-01-31"
    assert compose_config(["loss.phases=baseline_to_ranking"]).loss.phases
    (tmp_path / "c.yaml").write_text("model: {kind: gru}\n")
    assert compose_config([], tmp_path / "c.yaml").model.kind == "gru"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.hiden_size=8"], "did you mean 'model.hidden_size'?"),
        (["lr=1"], "did you mean 'optim.lr'?"),
        (["nonsense.key=1"], "`trainer config` prints all there are"),
        (["optim.lr=-1"], "optim.lr=-1: Input should be greater than 0"),
        (["model.num_heads=3"], "model.num_heads=3 does not divide"),
        (["model.kind=lightgbm", "optim.lr=1e-3"], "optim.lr=0.001 changes nothing with model.kind=lightgbm"),
        (["model.kind=ridge", "train.epochs=9"], "train.epochs=9 changes nothing with model.kind=ridge"),
        (["model.kind=linear", "model={dropout:0.4}"], "model.dropout=0.4 changes nothing with model.kind=linear"),
        (["optim.lr=[1"], "do not compose"),
        (["optim.lr=1,2"], "add --multirun (-m) to train with each of them"),
        (["~optim.lr"], "'~optim.lr': no setting can be taken out"),
        (["--config", "absent.yaml"], "cannot read the configuration file absent.yaml"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_printed_configuration_is_taken_though_it_holds_what_the_model_does_not_read(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    wanted = TrainerConfig.model_validate({"model": {"kind": "ridge", "window": 10}})  # the window widens the gaps
    file.write_text(wanted.model_dump_json())
    assert compose_config([], file) == wanted
    file.write_text('{"model": {"kind": "ridge"}, "loss": {"rank_ic": 0.5}}')
    with pytest.raises(InputError, match=r"loss\.rank_ic=0\.5 changes nothing with model\.kind=ridge"):
        compose_config([], file)


def test_a_file_with_an_unknown_key_or_no_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("train: {epoch: 3}")
    with pytest.raises(InputError, match=r"'train\.epoch' on .*did you mean 'train\.epochs'"):
        compose_config([], file)
    file.write_text("- 3")
    with pytest.raises(InputError, match="mapping"):
        compose_config([], file)
    file.write_text("{")
    with pytest.raises(InputError, match="neither YAML nor JSON"):
        compose_config([], file)


def test_an_unknown_command_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["lrfind"])
    assert stop.value.code == 2
    assert "did you mean 'lr-find'" in capsys.readouterr().err


def test_config_prints_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "train.seed=3"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert TrainerConfig.model_validate(printed).train.seed == 3


@pytest.mark.usefixtures("tiny_source")
def test_training_prints_lines_and_a_table_and_goes_on_from_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, "--folder", str(tmp_path / "run")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "epoch 2/2" in said
    assert "mean daily RankIC" in said
    assert "style-neutral" in said
    assert "completed after 2 epochs" in said
    written = (tmp_path / "run" / "config.json").read_text()
    assert TrainerConfig.model_validate_json(written).train.epochs == 2
    assert main(["train", "--config", str(tmp_path / "run" / "config.json"), "--folder", str(tmp_path / "run")]) == 0
    assert main([*words, "train.epochs=5"]) == 2


@pytest.mark.usefixtures("tiny_source")
@pytest.mark.parametrize(
    ("command", "product", "sentence"),
    [
        ("lr-find", "lr_find.png", "The loss"),
        ("diagnose", "diagnose.png", "Memory: estimated"),
        ("profile", "profile.txt", "samples/s"),
    ],
)
def test_tools_leave_a_picture_or_table_and_say_what_to_do(
    command: str, product: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *TINY, "--folder", str(tmp_path)]) == 0
    assert (tmp_path / product).stat().st_size > 500
    assert sentence in capsys.readouterr().out


@pytest.mark.usefixtures("tiny_source")
def test_an_interrupted_training_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = TerminalReporter.report

    def interrupt(self: TerminalReporter, report: EpochReport) -> Any:
        signal.raise_signal(signal.SIGINT)
        return heard(self, report)

    monkeypatch.setattr(TerminalReporter, "report", interrupt)
    folder = tmp_path / "a run"
    assert main([*TINY, "train.epochs=5", "--folder", str(folder)]) == 130
    said = capsys.readouterr().out
    assert f"epochs 1 to 1 are saved. To go on: trainer --resume '{folder}'" in said
    monkeypatch.undo()


def test_a_second_interrupt_ends_at_once() -> None:
    reporter = TerminalReporter(3)
    with reporter.listening():
        signal.raise_signal(signal.SIGINT)
        assert reporter.poll() == "stop"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (NonFiniteError("not finite."), 1, "the training failed (non_finite): not finite."),
        (InputError("bad file."), 2, "trainer: bad file."),
        (OSError(28, "No space left on device", "/x"), 3, "No space left on device: /x."),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> bool:
        raise error

    monkeypatch.setitem(commands.RUNNERS, "train", fail)
    assert main(TINY) == code
    assert sentence in capsys.readouterr().err


def test_help_does_not_import_torch() -> None:
    probe = (
        "import sys, trainer.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, 'hydra' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "lr-find" in done.stdout
    assert done.stdout.splitlines()[-1] == "False False"


@pytest.mark.usefixtures("tiny_source")
def test_a_multirun_trains_each_combination_in_its_own_folder_and_a_failed_one_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, "-m", "optim.lr=1e-3,1e30", "train.seed=1,2", "--folder", str(tmp_path)]
    assert main(words) == 0
    trained = {n: json.loads((tmp_path / str(n) / "config.json").read_text()) for n in range(1, 5)}
    assert [(c["optim"]["lr"], c["train"]["seed"]) for c in trained.values()] == [
        (1e-3, 1),
        (1e-3, 2),
        (1e30, 1),
        (1e30, 2),
    ]
    table = capsys.readouterr().out.partition("runs, the best first")[2]
    assert table.count("non_finite") == 2
    assert "optim.lr=0.001 train.seed=2" in table
    assert main([*TINY, "-m", "optim.lr=1e30,1e31", "--folder", str(tmp_path / "none")]) == 1


def test_every_run_of_a_multirun_is_checked_before_the_first_one_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "-m", "optim.lr=1e-3,-1", "--folder", str(tmp_path / "run")]) == 2
    assert "optim.lr=-1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_cfg_job_prints_the_composed_configuration_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cfg", "job", "model=gru", "+train.epochs=3"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert TrainerConfig.model_validate(printed) == compose_config(["model.kind=gru", "train.epochs=3"])


@pytest.mark.parametrize("words", ["config", "--cfg job"])
def test_a_reader_that_leaves_is_no_error(words: str) -> None:
    command = f"{sys.executable} -m trainer {words} | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
