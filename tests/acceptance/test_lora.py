"""The example that ranks no stocks: a language model tuned by a campaign, killed, resumed, asked, refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from support.command import clean_environment, kill_tree, wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
PEAK = Path(__file__).parents[1] / "support" / "lora_peak.py"
NAME = "lora.finetune:FineTuning"
TINY = {"hidden_size": 16, "num_layers": 1, "passage": 16, "epochs": 2}
missing = [name for name in ("transformers", "peft") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed (the extra `lora`)")
packing = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")


def start(home: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "hpo", *words],
        cwd=EXAMPLES,
        env=clean_environment(home, PYTHONDONTWRITEBYTECODE="1", **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def said(running: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = running.communicate(timeout=900)
    assert running.returncode == code, output
    return output


def trainer(**settings: object) -> list[str]:
    return [f"trainer.{name}={value}" for name, value in settings.items()]


def run(home: Path, database: str, trials: int, *words: str) -> subprocess.Popen[str]:
    space = ("--space", "lora/space.yaml")
    return start(home, "run", f"trainable={NAME}", "study=words", f"trials={trials}", *space, *words,
                 HPO_DATABASE_URL=database)  # fmt: skip


def test_a_campaign_tunes_a_language_model(tmp_path: Path, database_url: str) -> None:
    output = said(run(tmp_path, database_url, 1, *trainer(**TINY)))
    assert "[1/1] capacity: complete, minus validation loss -" in output
    report = json.loads((tmp_path / "reports" / "words" / "report.json").read_text())
    assert report["sections"]["answer"]["facts"]["holdout"]["value"]["estimate"] is not None
    (result,) = (tmp_path / "runs" / "words").glob("slot-0001/attempt-*/result.json")
    assert json.loads(result.read_text())["num_parameters"] > 0


@pytest.mark.slow_faults
@pytest.mark.parametrize("packed", [False, pytest.param(True, marks=packing)], ids=["whole", "4-bit"])
def test_it_keeps_what_every_trainable_promises(packed: bool, tmp_path: Path) -> None:
    settings = {**TINY, "hidden_size": 64, "epochs": 3, "dropout": 0.2, "four_bit": packed}
    words = (f"{name}={value}" for name, value in settings.items())
    assert "0 broken" in said(start(tmp_path, "check-trainable", NAME, *words))


@pytest.mark.slow_faults
def test_a_campaign_that_is_killed_goes_on_and_answers(tmp_path: Path, database_url: str) -> None:
    pruner = ("pruner.name=median", "pruner.options.n_startup_trials=2", "pruner.options.n_warmup_steps=2")
    began = time.monotonic()
    first = run(tmp_path, database_url, 12, *pruner, *trainer(passage=32, hidden_size=32))
    try:
        wait_for(lambda: (tmp_path / "runs/words/slot-0003").exists() or first.poll() is not None, 600)
    finally:
        kill_tree(first.pid)
    first.communicate()
    database = {"HPO_DATABASE_URL": database_url}
    resumed = said(start(tmp_path, "resume", "study=words", **database))
    assert "[12/12]" in resumed
    assert time.monotonic() - began < 1800
    said(start(tmp_path, "doctor", "study=words", **database))
    report = json.loads((tmp_path / "reports" / "words" / "report.json").read_text())
    assert report["finding"] in ("better", "same"), report["verdict"]
    texts = tmp_path / "texts.csv"
    pd.DataFrame({"text": ["Bata bodi kofe.", "0123 ?!", "x"]}).to_csv(texts, index=False)
    asked = ("predict", "study=words", "--data", str(texts), "--output", str(tmp_path / "out.csv"))
    said(start(tmp_path, *asked, **database))
    losses = pd.read_csv(tmp_path / "out.csv")["loss"]
    assert losses[0] < losses[1]  # what looks like the text surprises less
    assert losses.isna().tolist() == [False, False, True]


@pytest.mark.slow_faults
def test_what_does_not_fit_the_budget_is_refused(tmp_path: Path, database_url: str) -> None:
    output = said(run(tmp_path, database_url, 2, *trainer(**TINY, budget="100kB")), code=2)
    assert "does_not_fit" in output


@pytest.mark.slow_faults
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 512, "num_layers": 4, "passage": 128},
        {"hidden_size": 512, "num_layers": 2, "passage": 128, "checkpointing": False, "targets": "linear"},
        {"hidden_size": 256, "num_layers": 8, "passage": 64, "batch": 32, "rank": 16},
        {"hidden_size": 1024, "num_layers": 4, "batch": 8, "rank": 64, "targets": "linear"},
        pytest.param({"hidden_size": 1024, "num_layers": 4, "batch": 8, "four_bit": True}, marks=packing),
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_the_estimate_is_near_the_measured_peak(settings: dict[str, object]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES), "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-W", "ignore", str(PEAK), json.dumps({**settings, "device": "cpu"})]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    estimated, measured = map(int, made.stdout.split())
    assert 0.8 * measured < estimated < 1.2 * measured


WEIGHTS = """
import sys
from pathlib import Path
from tokenizers import ByteLevelBPETokenizer
from transformers import Qwen2Config, AutoModelForCausalLM, PreTrainedTokenizerFast
from lora.text import made_text
bpe = ByteLevelBPETokenizer()
bpe.train_from_iterator(made_text().splitlines(), vocab_size=300, show_progress=False)
PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer).save_pretrained(sys.argv[1])
config = Qwen2Config(vocab_size=300, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                     num_key_value_heads=2)
AutoModelForCausalLM.from_config(config).save_pretrained(sys.argv[1])
"""


@pytest.mark.slow_faults
@pytest.mark.parametrize("packed", [False, pytest.param(True, marks=packing)], ids=["whole", "4-bit"])
def test_weights_of_ones_own_are_tuned(packed: bool, tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, PYTHONPATH=str(EXAMPLES))
    weights = tmp_path / "weights"
    subprocess.run([sys.executable, "-c", WEIGHTS, str(weights)], env=environment, check=True, capture_output=True)
    text = tmp_path / "text.txt"
    text.write_text("It was the best of times, it was the worst of times. " * 200)
    settings = {"weights": weights, "corpus": text, "epochs": 2, "passage": 16, "four_bit": packed, "targets": "linear"}
    words = [f"{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "lora.finetune", *words, f"folder={tmp_path / 'out'}"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    losses = [float(line.split("valid/loss ")[1].split()[0]) for line in made.stdout.splitlines() if "valid/" in line]
    assert losses[1] < losses[0]


@pytest.mark.slow_faults
def test_four_bits_are_refused_where_they_do_not_run(tmp_path: Path, database_url: str) -> None:
    broken = tmp_path / "bitsandbytes"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no library for this processor')")
    words = ("run", f"trainable={NAME}", "study=packed", "trials=1", "--space", "lora/space.yaml", *trainer(**TINY))
    environment = {"HPO_DATABASE_URL": database_url, "PYTHONPATH": str(tmp_path)}
    output = said(start(tmp_path, *words, "trainer.four_bit=true", **environment), code=2)
    assert "four_bit=true: bitsandbytes does not run on cpu (no library for this processor)" in output
    assert "Traceback" not in output
