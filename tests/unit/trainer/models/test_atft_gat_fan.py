"""The whole model: its size, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainer.config import ModelConfig
from trainer.models import build_model

ALL_PARTS = {"frequency_normalisation": True, "num_neighbours": 8}


def test_four_hundred_features_at_width_256_stay_small() -> None:
    model = build_model(ModelConfig(hidden_size=256, **ALL_PARTS), 400, 4)
    assert 3e6 < sum(parameter.numel() for parameter in model.parameters()) < 8e6


def test_the_table_of_sizes_in_the_documentation_is_what_is_built() -> None:
    page = (Path(__file__).parents[4] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (default|all) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for features, parts, *sizes in rows:
        for hidden, size in zip((128, 256, 512), sizes, strict=True):
            config = ModelConfig(hidden_size=hidden, **(ALL_PARTS if parts == "all" else {}))
            with torch.device("meta"):
                model = build_model(config, int(features), 4)
            millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
            assert f"{millions:.2f}" == size, (features, parts, hidden)


def altered(model: torch.nn.Module, x: torch.Tensor, mask: torch.Tensor, alter: Callable[[], None]) -> list[int]:
    """The days whose scores change."""
    with torch.no_grad():
        before = model(x, mask)
        alter()
        return (model(x, mask) - before).abs().amax(dim=(1, 2)).gt(1e-6).nonzero().flatten().tolist()


def wild(**settings: Any) -> torch.nn.Module:
    model = build_model(ModelConfig(**{"window": 8, "hidden_size": 16, **settings}), 4, 2).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_what_stands_in_for_a_masked_day_is_seen_from_that_day_on() -> None:
    model, day = wild(frequency_normalisation=True), 11
    mask = torch.ones(24, 3, dtype=torch.bool)
    mask[day, 1] = False
    reach = model.window - model.frequency.days
    assert altered(model, torch.randn(24, 3, 4), mask, lambda: torch.nn.init.normal_(model.absent)) == list(
        range(day, day + reach + 1)
    )
