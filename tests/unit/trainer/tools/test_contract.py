"""The promises of a model: kept by ours and by the example, and each broken by a model that is told what to change."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from trainer.__main__ import main
from trainer.config import TABULAR_KINDS, ModelConfig
from trainer.models import MODELS
from trainer.tools.contract import CHECKS, check_model

OWN = Path(__file__).parents[3] / "support" / "own"
BROKEN = """
import torch
from pydantic import BaseModel
from torch import nn

from trainer.models import Ranker


class Settings(BaseModel):
    width: int = 4
    unread: float = 0.5


class Sound(Ranker):
    def __init__(self, config, num_features, num_horizons):
        super().__init__(config.window)
        self.linear = nn.Linear(num_features, num_horizons)

    def score(self, x, mask, graph):
        return self.linear(x[self.window - 1 :] + x.unfold(0, self.window, 1).mean(-1))


class OneColumn(Sound):
    def score(self, x, mask, graph):
        return super().score(x, mask, graph)[..., :1]


class Running(Sound):
    def score(self, x, mask, graph):
        return self.linear(x.cumsum(0)[self.window - 1 :])


class Ahead(Sound):
    def score(self, x, mask, graph):
        return super().score(torch.cat([x[1:], x[-1:]]), mask, graph)


class Unmasked(Sound):
    def forward(self, x, mask, graph=None, context=None):
        return self.linear(x + torch.cat([x[:1], x[:-1]]))


class Placed(Sound):
    def score(self, x, mask, graph):
        return super().score(x, mask, graph) + torch.arange(x.shape[1])[None, :, None]


class Together(Sound):
    def score(self, x, mask, graph):
        return super().score(x - x.mean(1, keepdim=True), mask, graph)


class Divided(Sound):
    def score(self, x, mask, graph):
        return super().score(x / mask.any(0)[None, :, None], mask, graph)


class Chance(Sound):
    def score(self, x, mask, graph):
        return super().score(x, mask, graph) + torch.randn(())


class Drawn(Sound):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.register_buffer("drawn", torch.rand(1, generator=torch.Generator().manual_seed(next(COUNT))))


class Idle(Sound):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.unused = nn.Parameter(torch.zeros(3))


class Forgetful(Sound):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.shift = torch.rand(5)

    def score(self, x, mask, graph):
        return super().score(x * self.shift, mask, graph)


class Coarse(Sound):
    def score(self, x, mask, graph):
        return super().score(x, mask, graph) * 1e3 % 1.0


class Deaf(Sound):
    schema = Settings

    def __init__(self, config, num_features, num_horizons):
        super().__init__(config, num_features, num_horizons)
        self.wide = nn.Sequential(nn.Linear(num_features, config.own.width), nn.Linear(config.own.width, num_horizons))

    def score(self, x, mask, graph):
        return super().score(x, mask, graph) + self.wide(x[self.window - 1 :])


class Unbuilt(Sound):
    def __init__(self, config):
        super().__init__(config, 5, 3)


import itertools
COUNT = itertools.count()
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's."""
    (tmp_path / "broken_models.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_models", raising=False)
    return "broken_models"


@pytest.mark.parametrize("kind", sorted(MODELS.keys() - TABULAR_KINDS))
def test_our_models_keep_every_promise_and_leave_chance_as_it_was(kind: str) -> None:
    before = torch.get_rng_state()
    seen = {outcome.name: outcome.seen for outcome in check_model(ModelConfig(kind=kind, window=5))}
    assert seen == {check.__name__: None for check in CHECKS}
    assert torch.equal(torch.get_rng_state(), before)


def test_neighbours_are_given_to_a_model_that_asks_for_them() -> None:
    outcomes = check_model(ModelConfig(window=5, num_neighbours=3))
    assert [outcome.seen for outcome in outcomes] == [None] * len(CHECKS)


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        ("OneColumn", "scores_have_a_column_per_horizon", "return [T - window + 1, S, H] from `score`"),
        ("Running", "a_span_equals_each_days_own_window", "no sum or state over the whole span"),
        ("Ahead", "no_day_is_seen_before_it_comes", "and never ahead"),
        ("Unmasked", "what_is_masked_has_no_influence", "override `score` and not `forward`"),
        ("Placed", "the_order_of_stocks_does_not_matter", "no weight may belong to a place among the stocks"),
        ("Together", "the_other_stocks_do_not_matter", "let stocks meet through `graph` alone"),
        ("Divided", "days_and_stocks_without_data_are_harmless", "0 / 0"),
        ("Chance", "the_same_input_gives_the_same_scores", "as nn.Dropout does"),
        ("Drawn", "the_same_seed_builds_the_same_model", "drawn"),
        ("Idle", "every_parameter_is_learnt", "no gradient in unused; use it, or take it out"),
        ("Forgetful", "a_state_restores_the_scores", "register_buffer"),
        ("Coarse", "half_precision_gives_nearly_the_same_scores", "x.float()"),
        ("Deaf", "every_own_setting_has_an_effect", "another unread; read config.own.unread"),
        ("Unbuilt", "a_model_is_built", "TypeError"),
    ],
)
def test_a_broken_model_is_told_what_to_change(broken: str, name: str, check: str, words: str) -> None:
    outcomes = {outcome.name: outcome for outcome in check_model(ModelConfig(kind=f"{broken}:{name}", window=5))}
    assert outcomes[check].seen is not None
    assert words in outcomes[check].seen


def test_every_check_is_broken_by_one_of_them() -> None:
    (mark,) = (each for each in test_a_broken_model_is_told_what_to_change.pytestmark if each.name == "parametrize")
    assert {check.__name__ for check in CHECKS} <= {check for _, check, _ in mark.args[1]}


def test_the_command_says_each_promise_and_how_many_hold(
    broken: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check-model", f"{broken}:Sound"]) == 0
    said = capsys.readouterr().out
    assert all(check.__name__ in said for check in CHECKS)
    assert f"{len(CHECKS)} checks ran, 0 broken." in said
    assert main(["check-model", f"{broken}:Idle"]) == 2
    captured = capsys.readouterr()
    assert "1 broken" in captured.out
    assert f"breaks 1 of the {len(CHECKS)} promises of a model" in captured.err
    assert main(["check-model", "ridge"]) == 2
    monkeypatch.chdir(OWN)
    assert main(["check-model", "lagged:Lagged", "model.own.width=8"]) == 0
