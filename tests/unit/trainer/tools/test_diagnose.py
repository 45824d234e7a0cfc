"""The look inside a model, and the profile."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainer.tools import diagnose as room
from trainer.tools.diagnose import Diagnosis, Layer, diagnose
from trainer.training.folds import first_fold


def test_layers_landscape_and_memory_are_found(make_config: Any, make_data: Any) -> None:
    found = diagnose(make_config({"model.kind": "atft_gat_fan"}), make_data(signal=3.0), steps=10)
    assert len(found.layers) > 4
    assert all(layer.gradient > 0 and layer.std > 0 and 0 <= layer.dead < 0.5 for layer in found.layers)
    distances = [distance for distance, _ in found.landscape]
    assert distances[0] == -1
    assert distances[10] == pytest.approx(0, abs=1e-6)
    assert found.estimated == pytest.approx(found.measured, rel=0.02)


def test_a_dead_unit_is_seen(make_config: Any, make_data: Any) -> None:
    layer = torch.nn.Linear(3, 4)
    with torch.no_grad():
        layer.weight[:2] = 0.0
    output = layer(torch.randn(10, 5, 3))
    output.sum().backward()
    assert room._layer("x", layer, output.detach()).dead == 0.5


def test_the_landscape_leaves_the_weights_alone(make_config: Any, make_data: Any) -> None:
    config, data = make_config(), make_data()
    run = first_fold(config, data)
    before = [weight.detach().clone() for weight in run.model.parameters()]
    batch = next(run.batches(1))[0]
    points = room._landscape(run, batch)
    assert all(map(torch.equal, before, run.model.parameters()))
    assert len({loss for _, loss in points}) > 10


def test_sentences_name_what_to_do() -> None:
    layers = (
        Layer("embed", 1.0, 0.0, 1.0, 0.0),
        Layer("mix", 1.0, 0.0, 1.0, 0.5),
        Layer("head", 1e-9, 0.0, 1.0, 0.0),
    )
    said = Diagnosis(layers, ((-1.0, 0.5), (0.0, 1.0), (1.0, 2.0)), 2**20, 2**21).advice
    assert said[0].startswith("Hardly any gradient reaches head")
    assert "mix (50%)" in said[1]
    assert "still lowers the loss" in said[2]
    assert said[3] == "Memory: estimated 1.0 MiB, measured 2.0 MiB (0.50 times)."
    healthy = Diagnosis(layers[:1], ((-1.0, 2.0), (0.0, 1.0), (1.0, 2.0)), 2**20, 2**20)
    assert healthy.advice[0].endswith("nothing to mend.")
    assert len(healthy.advice) == 2
