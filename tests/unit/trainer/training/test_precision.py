"""Device and dtype choices, and that only matrix products are in bf16."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.config import TrainConfig
from trainer.errors import InputError
from trainer.training import checkpoint
from trainer.training.loop import fit
from trainer.training.precision import choose_device, choose_precision


def test_bf16_is_what_products_are_computed_in_and_fp32_what_is_kept() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 300)
    inputs = torch.rand(1, 3).bfloat16().float()
    for name in ("bf16", "fp32"):
        precision = choose_precision(TrainConfig(precision=name, device="cpu"))
        with precision.autocast():
            product, nearby = layer(inputs), layer(inputs * (1 + 1e-4))  # below half a step of bf16
        assert torch.equal(product, nearby) == (name == "bf16")
        assert layer.weight.dtype is torch.float32
        assert name in precision.reason


@pytest.mark.parametrize("name", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        choose_device(name)


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("name", "index"), [("auto", 2), ("cuda", 2), ("cuda:1", 1)])
def test_a_cuda_device_comes_with_its_index(name: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads have a current device each, so that "cuda" alone is another device in another thread."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert choose_device(name) == torch.device("cuda", index)


def test_a_bf16_run_keeps_fp32_weights_and_says_so(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="trainer")
    outcome = {}
    for name in ("bf16", "fp32"):
        config = make_config({"train.precision": name, "train.epochs": 1})
        outcome[name] = fit(config, make_data(), recorder(), tmp_path / name).score
        state = checkpoint.load(tmp_path / name / checkpoint.LAST)["folds"][0]
        assert {tensor.dtype for tensor in state["model"].values()} == {torch.float32}
        assert {s["exp_avg"].dtype for s in state["optimizer"]["state"].values()} == {torch.float32}
    assert outcome["bf16"] != outcome["fp32"]
    assert re.search("precision on cpu: bf16 .*over fp32 master weights", caplog.text)
