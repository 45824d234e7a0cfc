"""Another run's weights as the first ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer.config import TrainerConfig
from trainer.data.panel import TrainingData
from trainer.errors import InputError
from trainer.reports import EpochReport, Verdict
from trainer.training import checkpoint
from trainer.training.loop import fit


class Silent:
    def report(self, report: EpochReport) -> Verdict:
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.CONTINUE


def config(lr: float = 1e-3, epochs: int = 1, **model: object) -> TrainerConfig:
    return TrainerConfig.model_validate(
        {
            "data": {"horizons": [1, 5]},
            "model": {"kind": "mlp", "window": 4, "hidden_size": 8, **model},
            "optim": {"lr": lr},
            "train": {"epochs": epochs, "batch_size": 200, "precision": "fp32", "device": "cpu", "seed": 5},
        }
    )


def test_a_run_starts_from_the_weights_of_another(make_data: Callable[..., TrainingData], tmp_path: Path) -> None:
    data = make_data()
    fit(config(), data, Silent(), tmp_path / "first")
    first = checkpoint.load(tmp_path / "first/model.pt")["weights"][0]
    # A rate of next to nothing: what is kept is what it started from.
    fit(config(lr=1e-12), data, Silent(), tmp_path / "second", tmp_path / "first/model.pt")
    second = checkpoint.load(tmp_path / "second/model.pt")["weights"][0]
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)
    fit(config(lr=1e-12), data, Silent(), tmp_path / "third")
    third = checkpoint.load(tmp_path / "third/model.pt")["weights"][0]
    assert any(not torch.allclose(third[name], value) for name, value in first.items())


def test_a_checkpoint_in_the_folder_counts_more(make_data: Callable[..., TrainingData], tmp_path: Path) -> None:
    data = make_data()
    fit(config(), data, Silent(), tmp_path / "first")
    done = fit(config(lr=2e-3), data, Silent(), tmp_path / "second")
    again = fit(config(lr=2e-3), data, Silent(), tmp_path / "second", tmp_path / "first/model.pt")
    assert again.score == done.score


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({"hidden_size": 16}, r"do not fit: .* give the settings of `model`"),
        ({"num_layers": 1}, r"do not fit: .*absent"),
        ({"kind": "gru"}, r"has the model\.kind mlp, this run gru; make them equal"),
        ({"kind": "ridge"}, r"model\.kind=ridge is not trained by gradients"),
    ],
)
def test_weights_of_another_shape_are_refused(
    model: dict[str, object], sentence: str, make_data: Callable[..., TrainingData], tmp_path: Path
) -> None:
    fit(config(), make_data(), Silent(), tmp_path / "first")
    with pytest.raises(InputError, match=sentence):
        fit(config(**model), make_data(), Silent(), tmp_path / "second", tmp_path / "first/model.pt")
