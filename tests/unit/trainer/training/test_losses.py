"""The loss terms: scale, sign, gradient, masks, horizons, phases."""

from __future__ import annotations

import re
import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from trainer.config import LOSS_TERMS, OWN_TERM, PHASE_PRESETS, LossConfig, LossPhase
from trainer.errors import InputError
from trainer.metrics import daily_ic, daily_rank_ic
from trainer.training.labels import standardise
from trainer.training.losses import MIN_STOCKS, RANK_PARTNERS, TERMS, build_loss, check_own_term, soft_rank

DAYS, STOCKS, HORIZONS = 12, 40, (1, 5)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def only(term: str, **settings: object) -> LossConfig:
    """One term, all horizons alike."""
    equal = (1.0,) * len(HORIZONS)
    return LossConfig(**{**dict.fromkeys(LOSS_TERMS, 0.0), term: 1.0, "horizon_weights": equal, **settings})


def market(strength: float = 0.3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, targets in the size of returns that they explain a part of, and all valid: [T, S, H] each."""
    scores = torch.randn(DAYS, STOCKS, len(HORIZONS))
    target = 0.02 * (strength * scores + torch.randn_like(scores)) + 0.01 * torch.randn(DAYS, 1, len(HORIZONS))
    return scores, target, torch.ones_like(scores, dtype=torch.bool)


def value(config: LossConfig, scores: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> float:
    return judged(config, scores, target, valid)[0].item()


def judged(
    config: LossConfig, scores: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, progress: float = 0.0
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss on the z-scores of these returns, where they are valid and known."""
    known = valid & torch.isfinite(target)
    label = standardise(target.masked_fill(~known, 0.0), known).masked_fill(~known, torch.nan)
    return build_loss(config, HORIZONS)(scores, label, target, known, progress)


each_term = pytest.mark.parametrize("term", LOSS_TERMS)


def test_every_weight_of_the_configuration_has_a_term() -> None:
    assert set(TERMS) == set(LOSS_TERMS) == set(LossPhase.model_fields) - {"fraction", OWN_TERM}


@each_term
def test_a_score_that_knows_nothing_costs_one(term: str) -> None:
    _, target, valid = market()
    assert value(only(term), torch.zeros_like(target), target, valid) == pytest.approx(1.0, abs=1e-3)


@each_term
def test_knowing_more_costs_less_and_knowing_the_opposite_costs_most(term: str) -> None:
    _, target, valid = market()
    known = standardise(target, valid)
    costs = [value(only(term), share * known, target, valid) for share in (1.0, -1.0)]
    noisy = 0.3 * (known + 2 * torch.randn_like(known))
    assert costs[0] < value(only(term), noisy, target, valid) < 1.0 < costs[1]


@each_term
def test_going_down_the_gradient_raises_the_rank_correlation(term: str) -> None:
    scores, target, valid = market(strength=0.0)
    scores = (0.1 * scores).requires_grad_()
    loss, _ = judged(only(term), scores, target, valid)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert torch.isfinite(gradient).all()
    before, after = (daily_rank_ic(s, target).mean() for s in (scores, scores - gradient * 5 / gradient.norm()))
    assert after > before + 0.1


@each_term
def test_gradients_equal_finite_differences(term: str) -> None:
    scores = torch.randn(3, 8, 1, dtype=torch.float64, requires_grad=True)
    target = torch.randn(3, 8, 1, dtype=torch.float64)
    valid = torch.rand(3, 8, 1) < 0.9
    clean = target.masked_fill(~valid, 0.0)
    assert torch.autograd.gradcheck(lambda s: TERMS[term](s.masked_fill(~valid, 0.0), clean, valid), scores)


def test_no_two_terms_are_the_same_formula() -> None:
    """Neither by value nor by direction, up to scale."""
    scores, target, valid = market()
    scores = scores.exp()  # skewed, so that values and ranks part
    gradients, values = {}, {}
    for term in LOSS_TERMS:
        leaf = scores.clone().requires_grad_()
        loss, _ = judged(only(term), leaf, target, valid)
        gradients[term] = torch.autograd.grad(loss, leaf)[0].flatten()
        values[term] = loss.item()
    for one, other in combinations(LOSS_TERMS, 2):
        assert abs(values[one] - values[other]) > 1e-3, (one, other)
        assert torch.cosine_similarity(gradients[one], gradients[other], dim=0) < 0.99, (one, other)


def test_ic_is_the_exact_pearson_correlation() -> None:
    scores, target, valid = market()
    assert value(only("ic"), scores, target, valid) == pytest.approx(
        1 - float(daily_ic(scores, target).mean()), abs=1e-4
    )


@pytest.mark.parametrize("stocks", [12, RANK_PARTNERS, 40, 150, 1000])
@pytest.mark.parametrize("strength", [0.0, 0.3, 3.0])
def test_rank_ic_agrees_with_the_exact_spearman_correlation(stocks: int, strength: float) -> None:
    scores = torch.randn(20, stocks, 2)
    target = strength * scores + torch.randn_like(scores)
    target = target.sign() * target.abs() ** 3  # fat tails, which ranks do not feel
    valid = torch.rand_like(target) < 0.9
    exact = daily_rank_ic(scores, target.masked_fill(~valid, torch.nan), min_stocks=MIN_STOCKS).mean()
    assert value(only("rank_ic"), scores, target, valid) == pytest.approx(1 - float(exact), abs=0.02)


def test_soft_ranks_grow_with_the_values_and_ignore_their_scale() -> None:
    values = torch.randn(1, 50, 1)
    valid = torch.ones_like(values, dtype=torch.bool)
    valid[0, 7] = False
    ranks = soft_rank(values, valid)
    order = values[valid].argsort()
    few = values > 0.3
    alone = soft_rank(values[few].view(1, -1, 1), few[few].view(1, -1, 1))
    torch.testing.assert_close(soft_rank(values, few)[few], alone.flatten(), rtol=0, atol=0.02)
    assert (ranks[valid][order].diff() > 0).all()
    torch.testing.assert_close(soft_rank(1000 * values - 7, valid), ranks, rtol=1e-3, atol=1e-4)
    assert ranks[valid].mean() == pytest.approx(0.5, abs=0.02)


def test_the_sharpe_term_is_a_ratio_over_days() -> None:
    """The same mean earned more evenly costs less, and leverage changes nothing."""
    _, target, valid = market()
    known = standardise(target, valid)
    steady = known + torch.randn_like(known)
    uneven = steady.clone()
    uneven[::3] = -uneven[::3]
    cost = value(only("sharpe"), steady, target, valid)
    assert cost < value(only("sharpe"), uneven, target, valid) < 1.0
    assert value(only("sharpe"), 10 * steady + 3, target, valid) == pytest.approx(cost, abs=1e-3)
    days = torch.arange(DAYS).view(-1, 1, 1)
    assert value(only("sharpe"), steady, target, valid & (days == 0)) == 1.0  # one day has no ratio


def test_the_sharpe_term_equals_the_portfolio_s() -> None:
    scores, target, valid = market()
    weights = scores - scores.mean(dim=1, keepdim=True)
    weights = weights / weights.abs().sum(dim=1, keepdim=True)
    earned = (weights * target).sum(dim=1)
    expected = (earned.mean(dim=0) / earned.std(dim=0, correction=0)).mean() / STOCKS**0.5
    assert value(only("sharpe"), scores, target, valid) == pytest.approx(1 - float(expected), abs=0.01)


@each_term
def test_targets_in_percent_cost_the_same(term: str) -> None:
    scores, target, valid = market()
    cost = value(only(term), scores, target, valid)
    assert value(only(term), scores, 100 * target, valid) == pytest.approx(cost, abs=2e-3)


def test_labels_are_learnt_and_returns_are_earned() -> None:
    """IC and portfolio are of returns, whatever the labels are; everything else sees the labels alone."""
    scores, returns, valid = market()
    label, other = standardise(returns, valid), torch.randn_like(returns)
    for term in LOSS_TERMS:
        loss = build_loss(only(term), HORIZONS)
        cost = float(loss(scores, label, returns, valid)[0])
        assert (float(loss(scores, other, returns, valid)[0]) == cost) == (term in ("ic", "sharpe")), term
        assert (float(loss(scores, label, other, valid)[0]) == cost) == (term not in ("ic", "sharpe")), term


@each_term
def test_what_has_no_label_has_no_influence(term: str) -> None:
    scores, target, valid = market()
    valid &= torch.rand_like(target) < 0.8
    clean = scores.masked_fill(~valid, 9.0).requires_grad_()
    dirty = target.masked_fill(~valid, torch.nan)
    loss, _ = judged(only(term), clean, dirty, torch.ones_like(valid))
    loss.backward()
    assert loss.item() == pytest.approx(value(only(term), scores, target, valid), abs=1e-6)
    assert clean.grad is not None
    assert (clean.grad[~valid] == 0).all()
    assert (clean.grad[valid] != 0).any()


@each_term
def test_stocks_without_a_label_cost_what_they_cost_where_they_are_not_listed(term: str) -> None:
    scores, target, valid = (torch.cat([part] * 3, dim=1)[:, :110] for part in market())
    scores, target = scores + 3.0 + 0.1 * torch.randn_like(scores), target + 0.05
    listed = torch.arange(110) % 11 < 5
    expected = value(only(term), scores[:, listed], target[:, listed], valid[:, listed])
    scores[:, ~listed], target[:, ~listed] = torch.nan, torch.nan
    assert value(only(term), scores, target, valid) == pytest.approx(expected, abs=2e-3 if term == "rank_ic" else 1e-5)


@each_term
def test_days_without_a_label_cost_what_they_cost_outside_the_batch(term: str) -> None:
    scores, target, valid = market()
    expected = value(only(term), scores[:8], target[:8], valid[:8])
    valid[8:] = False
    assert value(only(term), scores, target, valid) == pytest.approx(expected, abs=1e-5)


@each_term
def test_days_with_too_few_labels_contribute_nothing(term: str) -> None:
    scores, target, valid = market()
    thin = valid.clone()
    thin[3, MIN_STOCKS - 1 :] = False
    without = valid.clone()
    without[3] = False
    assert value(only(term), scores, target, thin) == value(only(term), scores, target, without)
    enough = valid.clone()
    enough[3, MIN_STOCKS:] = False
    assert value(only(term), scores, target, enough) != value(only(term), scores, target, without)


def test_a_batch_without_labels_costs_nothing_and_moves_nothing() -> None:
    scores, target, valid = market()
    scores.requires_grad_()
    loss, parts = judged(LossConfig(), scores, target, torch.zeros_like(valid))
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad is not None
    assert (scores.grad == 0).all()
    assert set(parts) == {"mse", "rank_ic"}


@each_term
def test_constant_targets_and_scores_give_finite_gradients(term: str) -> None:
    for constant in (0.0, 3.0):
        scores = torch.full((DAYS, STOCKS, 2), constant, requires_grad=True)
        flat = torch.full((DAYS, STOCKS, 2), 0.01)
        loss, _ = judged(only(term), scores, flat, torch.ones_like(flat, dtype=torch.bool))
        loss.backward()
        assert torch.isfinite(loss)
        assert scores.grad is not None
        assert torch.isfinite(scores.grad).all()


def test_horizon_weights_choose_horizons() -> None:
    scores, target, valid = market()
    short, long = (value(only("ic", horizon_weights=w), scores, target, valid) for w in ((1.0, 0.0), (0.0, 2.0)))
    assert short == pytest.approx(1 - float(daily_ic(scores, target)[:, 0].mean()), abs=1e-4)
    mixed = value(only("ic", horizon_weights=(1.0, 3.0)), scores, target, valid)
    assert mixed == pytest.approx((short + 3 * long) / 4, abs=1e-5)
    valid[..., 1] = False  # a horizon without labels leaves the average to the others
    assert value(only("ic"), scores, target, valid) == pytest.approx(short, abs=1e-5)


def test_long_horizons_count_less_unless_told_otherwise() -> None:
    found = market()
    weights = tuple(1 / horizon**0.5 for horizon in HORIZONS)
    by_default = value(only("ic", horizon_weights=None), *found)
    assert by_default == value(only("ic", horizon_weights=weights), *found)
    assert by_default != value(only("ic"), *found)


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    scores, target, valid = market()
    config = LossConfig(mse=0.5, huber=0.1, ic=0.2, rank_ic=0.3, sharpe=0.4)
    loss, parts = judged(config, scores.requires_grad_(), target, valid)
    assert list(parts) == list(LOSS_TERMS)
    assert loss.item() == pytest.approx(sum(getattr(config, term) * float(part) for term, part in parts.items()))
    assert not any(part.requires_grad for part in parts.values())


def test_bfloat16_scores_are_judged_in_float32() -> None:
    scores, target, valid = market()
    config = LossConfig(mse=1.0, huber=1.0, ic=1.0, rank_ic=1.0, sharpe=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low, _ = judged(config, scores.bfloat16(), target, valid)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, judged(config, scores.bfloat16().float(), target, valid)[0])


def test_phases_multiply_the_weights_in_turn() -> None:
    config = LossConfig(
        mse=1.0, rank_ic=0.5, phases=(LossPhase(fraction=0.25, rank_ic=0.0), LossPhase(fraction=0.75, mse=0.2))
    )
    loss = build_loss(config, HORIZONS)
    assert loss.weights(0.0) == loss.weights(0.2) == {"mse": 1.0}
    assert loss.weights(0.25) == loss.weights(1.0) == pytest.approx({"mse": 0.2, "rank_ic": 0.5})
    scores, target, valid = market()
    _, parts = judged(config, scores, target, valid, progress=0.1)
    assert list(parts) == ["mse"]


def test_a_preset_hands_over_from_regression_to_ranking() -> None:
    config = LossConfig(mse=0.4, rank_ic=0.3, ic=0.2, sharpe=0.1, phases="baseline_to_ranking")  # type: ignore[arg-type]
    assert config.phases == PHASE_PRESETS["baseline_to_ranking"]
    loss = build_loss(config, HORIZONS)
    steps = [loss.weights(progress) for progress in (0.0, 0.25, 0.5, 0.75)]
    assert steps[0] == {"mse": 1.0}
    assert [step["mse"] for step in steps] == pytest.approx([1.0, 0.8, 0.6, 0.4])
    assert [step.get("rank_ic", 0.0) for step in steps] == pytest.approx([0.0, 0.1, 0.2, 0.3], abs=0.005)
    assert LossConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"mse": 0.0, "rank_ic": 0.0}, "at least one of mse, huber, ic, rank_ic, sharpe must be above 0"),
        ({"phases": [{"fraction": 0.5}]}, "add up to 0.5"),
        ({"phases": [{"fraction": 1.0, "mse": 0.0, "rank_ic": 0.0}]}, "in every phase"),
        ({"phases": "no_such_preset"}, "choose from constant, baseline_to_ranking"),
        ({"phases": [{"fraction": 1.0, "rankic": 0.0}]}, "rankic"),
        ({"horizon_weights": (0.0, 0.0)}, "at least one weight must be above 0"),
    ],
)
def test_settings_that_make_no_loss_are_refused(settings: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        LossConfig(**settings)


def test_horizon_weights_must_fit_the_horizons() -> None:
    with pytest.raises(InputError, match="has 3 weights for the 2 horizons 1, 5"):
        build_loss(LossConfig(horizon_weights=(1.0, 1.0, 1.0)), HORIZONS)


OWN = """
import torch


def distance(scores, labels, valid):
    return ((scores - labels).square() * valid).mean(dim=(0, 1))


def earned(scores, returns, valid):
    return -(scores * returns * valid).mean(dim=(0, 1))


def whole(scores, labels, valid):
    return (scores - labels).square().mean()


def blind(scores, labels, valid):
    return labels.mean(dim=(0, 1)) + 0 * scores.sum()


def broken(scores, labels, valid):
    return scores @ labels


def two(scores, labels):
    return scores


number = 7
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module `own_terms` of the user's."""
    (tmp_path / "own_terms.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_terms", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own")
def test_a_term_of_ones_own_is_added_with_its_weight_and_phase_on_what_it_asks_for() -> None:
    scores, target, valid = market()
    phases = [{"fraction": 0.5, "own": 0.0}, {"fraction": 0.5}]
    config = only("ic", own_term="own_terms:earned", own=0.5, phases=phases)
    loss, parts = judged(config, scores, target, valid, progress=0.5)
    expected = -(scores * target).mean()
    assert float(parts["own"]) == pytest.approx(float(expected), rel=1e-4)
    assert loss.item() == pytest.approx(float(parts["ic"] + 0.5 * expected), rel=1e-4)
    assert set(judged(config, scores, target, valid)[1]) == {"ic"}
    labels = only("ic", own_term="own_terms:distance")
    on_labels = judged(labels, 0 * scores, target, valid)[1]["own"]
    assert float(on_labels) == pytest.approx(1.0, abs=0.05), "labels have variance 1, returns have not"


@pytest.mark.usefixtures("own")
def test_a_term_of_ones_own_is_enough_by_itself() -> None:
    config = LossConfig.model_validate({**dict.fromkeys(LOSS_TERMS, 0.0), "own_term": "own_terms:distance"})
    assert config.terms == (*LOSS_TERMS, OWN_TERM)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"own_term": "own_terms:two"}, "its parameters must be scores, labels, valid or scores, returns, valid"),
        ({"own_term": "own_terms:number"}, "number is no function"),
        ({"own_term": "own_terms:none"}, "has no 'none'"),
        ({"own_term": "mse"}, "write the import path of a function as my_module:my_term"),
        ({"own": 0.5}, "loss.own=0.5 weighs the term that loss.own_term names; name one"),
    ],
)
def test_what_is_no_term_is_refused_in_a_sentence(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        LossConfig.model_validate(settings)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [("whole", "gave the shape [] for 3 horizons"), ("blind", "with a gradient"), ("broken", "failed on 4 days of 12")],
)
def test_a_term_that_cannot_be_descended_on_is_refused_before_training(name: str, said: str) -> None:
    check_own_term(LossConfig(own_term="own_terms:earned"))
    with pytest.raises(InputError, match=re.escape(said)):
        check_own_term(LossConfig(own_term=f"own_terms:{name}"))
