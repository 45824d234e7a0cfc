"""The rankers' parts against plain references, their sizes, and the settings they read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.config import MODEL_KNOBS, TABULAR_KINDS, ModelConfig
from trainer.models import MODELS, build_model
from trainer.models.atft_gat_fan import share_reach
from trainer.models.attention import BandedAttention
from trainer.models.baselines import LagWeights
from trainer.models.frequency import FrequencyNormalisation
from trainer.models.graph import Graph
from trainer.models.graph_attention import GraphAttention
from trainer.models.layers import HorizonHeads, VariableSelection


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("days", [5, 6, 12, 13, 14, 30])
@pytest.mark.parametrize("band", [2, 5])
def test_blocks_equal_one_masked_attention_over_all_days(days: int, band: int) -> None:
    stocks, hidden, heads = 3, 8, 2
    layer = BandedAttention(hidden, heads, band, dropout=0.0).eval()
    torch.nn.init.normal_(layer.lag_bias)
    h = torch.randn(days, stocks, hidden)
    normed = layer.norm(h)
    query, key, value = (
        part.view(days, stocks, heads, -1).permute(1, 2, 0, 3)
        for part in (layer.query(normed), *layer.key_value(normed).chunk(2, dim=-1))
    )
    logits = query @ key.transpose(-1, -2) / math.sqrt(hidden / heads)
    lag = torch.arange(days).view(-1, 1) - torch.arange(days)
    inside = (lag >= 0) & (lag < band)
    logits = (logits + layer.lag_bias[:, lag.clamp(0, band - 1)]).masked_fill(~inside, -torch.inf)
    mixed = (logits.softmax(-1) @ value).permute(2, 0, 1, 3).reshape(days, stocks, hidden)
    expected = (h + layer.out(mixed))[band - 1 :]
    torch.testing.assert_close(layer(h), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("reach", "layers"), [(19, 2), (10, 3), (2, 5), (1, 1)])
def test_layers_share_the_look_back_without_rest(reach: int, layers: int) -> None:
    bands = share_reach(reach, layers)
    assert len(bands) == layers
    assert sum(band - 1 for band in bands) == reach
    assert max(bands) - min(bands) <= 1


@pytest.mark.parametrize("days", [2, 7, 10])
def test_the_sliding_spectrum_is_the_discrete_fourier_transform(days: int) -> None:
    layer = FrequencyNormalisation(days)
    x = torch.randn(days, 1, 1)
    real, imaginary = (layer.analysis @ x[:, :, 0]).split(layer.frequencies)
    expected = np.abs(np.fft.rfft(x[:, 0, 0].numpy())) ** 2 * layer.synthesis.numpy()[:, 0] ** 2
    np.testing.assert_allclose((real**2 + imaginary**2)[:, 0], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("days", [2, 7, 10])
def test_both_parts_of_a_series_add_up_and_open_gates_take_all(days: int) -> None:
    layer = FrequencyNormalisation(days)
    x = torch.randn(25, 4, 3)
    rest, dominant = layer(x)
    torch.testing.assert_close(rest + dominant, x[days - 1 :])
    layer.threshold.data.fill_(-100.0)
    torch.testing.assert_close(layer(x)[1], x[days - 1 :], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cycles", [0, 1, 3])
def test_one_frequency_leaves_the_main_path_and_noise_stays(cycles: int) -> None:
    layer = FrequencyNormalisation(10)
    time = torch.arange(200.0)
    wave = torch.cos(2 * math.pi * cycles * time / 10 + 0.4).view(-1, 1, 1)
    rest, _ = layer(wave)
    assert rest.abs().max() < 0.05
    noise = torch.randn(2000, 1, 1)
    rest, _ = layer(noise)
    assert rest.var() > 0.7 * noise.var()


def test_each_path_of_the_frequency_normalisation_is_given_its_own_days() -> None:
    """The main path the newest days and their mask, the other one the scored days."""
    days, stocks, features, window = 14, 6, 3, 8
    model = build_model(ModelConfig(window=window, hidden_size=8, frequency_normalisation=True), features, 2).eval()
    model.absent.data.fill_(0.5)
    x, mask = torch.randn(days, stocks, features), torch.rand(days, stocks) < 0.7
    mask[-2:, 0], mask[-1, 1] = torch.tensor([False, True]), False
    given: dict[str, tuple[torch.Tensor, ...]] = {}
    model.temporal.register_forward_pre_hook(lambda _, inputs: given.update(temporal=inputs))
    model.dominant_path.register_forward_pre_hook(lambda _, inputs: given.update(dominant=inputs))
    model(x, mask)

    (embedded,) = given["temporal"]
    assert torch.equal((embedded == 0.5).all(dim=-1), ~mask[-embedded.shape[0] :])
    _, today = given["dominant"]
    assert torch.equal(today, x.masked_fill(~mask.unsqueeze(-1), 0.0)[window - 1 :])


def test_selection_weights_have_mean_one_and_see_all_features() -> None:
    layer = VariableSelection(6, 8)
    x = torch.randn(5, 4, 6)
    weights = layer.weights(x)
    torch.testing.assert_close(weights.mean(dim=-1), torch.ones(5, 4))
    other = x.clone()
    other[..., 0] += 1
    assert (layer.weights(other) != weights).all()


def test_lag_weights_start_from_today() -> None:
    h = torch.randn(9, 2, 3)
    torch.testing.assert_close(LagWeights(3, 4)(h), h[3:])


def test_lag_weights_sum_the_window() -> None:
    layer = LagWeights(3, 4)
    torch.nn.init.normal_(layer.weight)
    h = torch.randn(9, 2, 3)
    expected = torch.stack([(h[t - 3 : t + 1] * layer.weight[:, 0].T.unsqueeze(1)).sum(dim=0) for t in range(3, 9)])
    torch.testing.assert_close(layer(h), expected)


def test_scores_start_near_zero_with_a_head_per_horizon() -> None:
    heads = HorizonHeads(16, 4)
    h = torch.randn(1000, 16)
    assert heads(h).std() < 0.2
    (gradient,) = torch.autograd.grad(heads(h)[:, 2].sum(), heads.read)
    assert (gradient[2] != 0).all()
    assert (gradient[[0, 1, 3]] == 0).all()


def test_graph_attention_equals_a_loop_over_edges() -> None:
    days, stocks, neighbours, hidden, heads = 2, 5, 3, 8, 2
    layer = GraphAttention(hidden, heads, dropout=0.0).eval()
    h = torch.randn(days, stocks, hidden)
    graph = Graph(torch.randint(-1, stocks, (days, stocks, neighbours)), torch.rand(days, stocks, neighbours))
    graph.neighbours[0, 0] = -1  # one without any
    mask = torch.rand(days, stocks) < 0.7
    normed, found = layer.norm(h), layer(h, graph, mask)
    messages = layer.message(normed).view(days, stocks, heads, -1)
    for day in range(days):
        for stock in range(stocks):
            edges = [
                (int(j), w)
                for j, w in zip(graph.neighbours[day, stock], graph.weights[day, stock], strict=True)
                if j >= 0 and mask[day, j]
            ]
            if not edges:
                assert torch.equal(found[day, stock], h[day, stock])
                continue
            logits = torch.stack(
                [
                    torch.nn.functional.leaky_relu(
                        layer.receiving(normed[day, stock]) + layer.sending(normed[day, j]), 0.2
                    )
                    + w * layer.edge
                    for j, w in edges
                ]
            ).softmax(dim=0)
            mixed = sum(share.unsqueeze(-1) * messages[day, j] for share, (j, _) in zip(logits, edges, strict=True))
            gate = torch.sigmoid(layer.gate(normed[day, stock]))
            expected = h[day, stock] + gate * layer.out(mixed.flatten())
            torch.testing.assert_close(found[day, stock], expected, rtol=1e-4, atol=1e-5)


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


ALTERED = {
    "window": 9,
    "hidden_size": 32,
    "num_heads": 2,
    "num_layers": 3,
    "dropout": 0.1,
    "variable_selection": False,
    "frequency_normalisation": True,
    "num_neighbours": 2,
    "alpha": 1.0,
    "rounds_per_epoch": 9,
    "num_leaves": 5,
    "learning_rate": 0.3,
    "min_data_in_leaf": 90,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.5,
    "lambda_l2": 50.0,
}


@pytest.mark.parametrize("kind", sorted(set(MODELS) - TABULAR_KINDS))
@pytest.mark.parametrize("knob", ALTERED)
def test_a_setting_changes_a_model_exactly_where_the_table_says_so(kind: str, knob: str) -> None:
    base = {"kind": kind, "window": 8, "hidden_size": 16, "dropout": 0.3}
    x, mask = torch.randn(12, 5, 4), torch.ones(12, 5, dtype=torch.bool)
    graph = Graph(torch.randint(0, 5, (12, 5, 2)), torch.rand(12, 5, 2))

    def scores(settings: dict[str, object]) -> torch.Tensor:
        torch.manual_seed(1)
        model = build_model(ModelConfig(**settings), 4, 2).train()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        torch.manual_seed(2)
        return model(x, mask, graph).detach()

    changed = not torch.equal(scores(base), scores({**base, knob: ALTERED[knob]}))
    assert changed == (knob in MODEL_KNOBS[kind])


def test_the_table_of_settings_names_settings() -> None:
    assert set(MODEL_KNOBS) == set(MODELS)
    assert set().union(*MODEL_KNOBS.values()) == set(ModelConfig.model_fields) - {"kind"} == set(ALTERED)


def test_a_model_with_neighbours_asks_for_a_graph() -> None:
    model = build_model(ModelConfig(num_neighbours=3), 4, 2)
    with pytest.raises(ValueError, match="must be given a graph"):
        model(torch.randn(20, 3, 4), torch.ones(20, 3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"num_heads": 3}, "model.num_heads=3 does not divide model.hidden_size=32"),
        ({"window": 3}, "model.window=3 is too short for atft_gat_fan"),
    ],
)
def test_settings_that_make_no_model_are_refused(settings: dict[str, int], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        ModelConfig(**settings)
    ModelConfig(**settings, kind="mlp")


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


def test_the_dominant_path_sees_today_and_the_days_of_the_spectrum() -> None:
    model, day = wild(frequency_normalisation=True), 11
    model.heads.read.data.zero_()  # its path alone
    x = torch.randn(24, 3, 4)
    changed = altered(model, x, torch.ones(24, 3, dtype=torch.bool), lambda: x[day].add_(3.0))
    assert changed == list(range(day, day + model.frequency.days))


def test_the_gru_reads_its_window_oldest_day_first() -> None:
    model = wild(kind="gru", num_layers=2)
    x, day = torch.randn(24, 3, 4), 15
    with torch.no_grad():
        embedded = torch.nn.functional.silu(model.embedding(x[day - model.window + 1 : day + 1]))
        expected = model.heads(model.recurrence(embedded)[0][-1])
        scores = model(x, torch.ones(24, 3, dtype=torch.bool))
    torch.testing.assert_close(scores[day], expected, rtol=1e-4, atol=1e-5)
