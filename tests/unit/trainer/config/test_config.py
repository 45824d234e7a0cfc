"""A configuration survives the ways it travels: JSON in checkpoints and run folders, YAML from `best`."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.config import PHASE_PRESETS, TrainerConfig

positive = st.floats(1e-12, 1e6)
share = st.floats(0.0, 0.99)
days = st.dates(date(2000, 1, 1), date(2030, 1, 1))

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "data": st.fixed_dictionaries(
            {},
            optional={
                "source": st.text(min_size=1, max_size=30),
                "horizons": st.sets(st.integers(1, 250), min_size=1, max_size=5).map(sorted),
                "target": st.sampled_from(["raw", "neutral"]),
                "min_price": positive,
                "split": st.lists(days, min_size=3, max_size=3, unique=True).map(
                    lambda three: dict(zip(("train_start", "train_end", "valid_end"), sorted(three), strict=True))
                ),
            },
        ),
        "model": st.fixed_dictionaries(
            {},
            optional={
                "kind": st.sampled_from(["linear", "mlp", "gru", "atft_gat_fan"]),
                "hidden_size": st.integers(1, 64).map(lambda units: 4 * units),
                "dropout": share,
                "frequency_normalisation": st.booleans(),
            },
        ),
        "loss": st.fixed_dictionaries(
            {},
            optional={
                "rank_ic": positive,
                "horizon_weights": st.none() | st.lists(positive, min_size=1, max_size=4),
                "phases": st.sampled_from(sorted(PHASE_PRESETS)),
            },
        ),
        "optim": st.fixed_dictionaries({}, optional={"lr": positive, "warmup_fraction": share, "clip_norm": positive}),
        "train": st.fixed_dictionaries({}, optional={"seed": st.integers(0, 2**63 - 1), "ema_decay": share}),
    },
)


@settings(deadline=None)
@given(SETTINGS)
def test_a_configuration_round_trips_through_json_and_yaml(given_settings: dict[str, Any]) -> None:
    config = TrainerConfig.model_validate(given_settings)
    plain = config.model_dump(mode="json")
    assert TrainerConfig.model_validate(json.loads(json.dumps(plain))) == config
    assert TrainerConfig.model_validate(yaml.safe_load(yaml.safe_dump(plain))) == config


@pytest.mark.parametrize("section", ["data", "model", "loss", "optim", "train"])
def test_a_misspelt_setting_is_refused(section: str) -> None:
    with pytest.raises(ValidationError, match="lerning"):
        TrainerConfig.model_validate({section: {"lerning": 1}})
