"""Weights of features, weights of lags, heads."""

from __future__ import annotations

import torch

from trainer.models.baselines import LagWeights
from trainer.models.layers import HorizonHeads, VariableSelection


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
