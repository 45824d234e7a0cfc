"""Every ranker, with every part switched on and off, keeps the model contract."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainer.config import TABULAR_KINDS, ModelConfig
from trainer.models import MODELS, build_model
from trainer.models.graph import Graph
from trainer.models.ranker import Ranker
from trainer.models.tabular import Ridge, Trees

DAYS, STOCKS, FEATURES, HORIZONS, WINDOW, NEIGHBOURS = 22, 9, 5, 3, 8, 3
SCORED = range(WINDOW - 1, DAYS)

VARIANTS: dict[str, dict[str, Any]] = {
    **{kind: {"kind": kind} for kind in MODELS if kind not in TABULAR_KINDS},
    **{kind: {"kind": kind, "window": 1} for kind in sorted(TABULAR_KINDS)},  # they look at today alone
    "mlp-deep": {"kind": "mlp", "num_layers": 3},
    "gru-one-layer": {"kind": "gru", "num_layers": 1},
    "atft-one-layer": {"num_layers": 1},
    "atft-many-layers": {"num_layers": 6, "frequency_normalisation": True},
    "atft-one-head": {"num_heads": 1},
    "atft-odd-window": {"window": 7, "frequency_normalisation": True},
    "atft-shortest-window": {"window": 4, "frequency_normalisation": True},
    "atft-no-selection": {"variable_selection": False},
    "atft-frequency": {"frequency_normalisation": True},
    "atft-graph": {"num_neighbours": NEIGHBOURS},
    "atft-attention-alone": {"variable_selection": False},
    "atft-all-parts": {"num_neighbours": NEIGHBOURS, "frequency_normalisation": True},
}


class Case:
    """A model with a random market to score."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.config = ModelConfig(**{"window": WINDOW, "hidden_size": 16, "dropout": 0.3, **settings})
        torch.manual_seed(7)
        self.model: Ranker = build_model(self.config, FEATURES, HORIZONS).eval()
        for parameter in self.model.parameters():  # away from the zeros of a fresh model, which would hide mistakes
            torch.nn.init.normal_(parameter, std=0.3)
        fit_to_noise(self.model)
        self.x = torch.randn(DAYS, STOCKS, FEATURES)
        self.mask = torch.rand(DAYS, STOCKS) < 0.85
        self.graph: Graph | None = None
        if self.config.num_neighbours:
            neighbours = torch.randint(-1, STOCKS, (DAYS, STOCKS, NEIGHBOURS))
            self.graph = Graph(neighbours, torch.rand(DAYS, STOCKS, NEIGHBOURS) * (neighbours >= 0))

    def scores(self, x: torch.Tensor | None = None, mask: torch.Tensor | None = None) -> torch.Tensor:
        with torch.no_grad():
            return self.model(self.x if x is None else x, self.mask if mask is None else mask, self.graph)

    def judged(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores of the days and stocks that count."""
        first = self.config.window - 1
        return scores[first:][self.mask[first:]]


def fit_to_noise(model: Ranker) -> None:
    """Fill what is not a parameter: the coefficients of a regression, or trees."""
    if isinstance(model, Ridge):
        model.coefficients.normal_(std=0.3)
    if isinstance(model, Trees):
        import lightgbm

        x, y = torch.randn(2000, FEATURES).numpy(), torch.randn(HORIZONS, 2000).numpy()
        settings = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2}
        for _ in range(2):
            boosters = [lightgbm.train(settings, lightgbm.Dataset(x, label), num_boost_round=20) for label in y]
            model.grow([booster.model_to_string() for booster in boosters])


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_scores_have_one_column_per_horizon_and_differ_between_stocks(case: Case) -> None:
    scores = case.scores()
    assert scores.shape == (DAYS, STOCKS, HORIZONS)
    assert scores.dtype == torch.float32
    assert (scores[: case.config.window - 1] == 0).all()
    assert (scores[case.config.window - 1 :].std(dim=1) > 1e-3).all()


def test_a_span_equals_every_day_s_own_window(case: Case) -> None:
    span, window = case.scores(), case.config.window
    for day in range(window - 1, DAYS):
        days = slice(day - window + 1, day + 1)
        graph = case.graph and Graph(case.graph.neighbours[days], case.graph.weights[days])
        with torch.no_grad():
            alone = case.model(case.x[days], case.mask[days], graph)
        torch.testing.assert_close(alone[-1], span[day], rtol=1e-4, atol=1e-5)


def test_the_days_before_a_short_context_count_as_masked(case: Case) -> None:
    window, context = case.config.window, 2
    with torch.no_grad():
        short = case.model(case.x, case.mask, case.graph, context=context)
        hidden = torch.cat([torch.randn(window, STOCKS, FEATURES), case.x])
        mask = torch.cat([torch.zeros(window, STOCKS, dtype=torch.bool), case.mask])
        full = case.model(hidden, mask, case.graph, context=window + context)
    torch.testing.assert_close(short, full[window:], rtol=1e-4, atol=1e-5)
    assert (short[:context] == 0).all()
    assert (short[context][case.mask[context]].abs() > 0).all()


def test_more_context_than_the_window_changes_nothing(case: Case) -> None:
    with torch.no_grad():
        late = case.model(case.x, case.mask, case.graph, context=DAYS - 3)
    torch.testing.assert_close(late[-3:], case.scores()[-3:], rtol=1e-4, atol=1e-5)


def test_a_span_without_a_day_to_score_is_refused(case: Case) -> None:
    with pytest.raises(ValueError, match="leaves none to score"):
        case.model(case.x[: case.config.window - 1], case.mask[: case.config.window - 1], case.graph)


def test_a_change_of_one_day_reaches_exactly_the_window_from_it_on(case: Case) -> None:
    """Causality and look-back at once: days before are untouched, the last day that sees it is day + window - 1."""
    before, day = case.scores(), 9
    x = case.x.clone()
    x[day] += 3.0
    changed = (case.scores(x) != before).any(dim=2).any(dim=1)
    reached = [d for d in range(case.config.window - 1, DAYS) if day <= d < day + case.config.window]
    assert changed.nonzero().flatten().tolist() == reached


def test_what_is_masked_has_no_influence(case: Case) -> None:
    x = case.x.masked_fill(~case.mask.unsqueeze(-1), torch.nan)
    torch.testing.assert_close(case.scores(x), case.scores(), rtol=0, atol=0)


def test_masking_a_stock_day_takes_its_influence_away(case: Case) -> None:
    stock = 0
    mask = case.mask.clone()
    mask[:, stock] = True
    visible = case.scores(mask=mask)
    mask[-2, stock] = False
    later = -1 if case.config.window > 1 else -2  # its own score, where nothing is looked back at
    assert (visible - case.scores(mask=mask))[later, stock].abs().max() > 1e-5


def test_reordered_stocks_get_reordered_scores(case: Case) -> None:
    order = torch.randperm(STOCKS)
    expected = case.scores()[:, order]
    if case.graph is not None:
        places = torch.cat([order.argsort(), torch.tensor([-1])])  # the last entry serves the index -1
        case.graph = Graph(places[case.graph.neighbours[:, order]], case.graph.weights[:, order])
    torch.testing.assert_close(case.scores(case.x[:, order], case.mask[:, order]), expected, rtol=1e-4, atol=1e-5)


def test_only_neighbours_influence_a_stock(case: Case) -> None:
    x, stock = case.x.clone(), 4
    x[:, stock] += 1.0
    changed = (case.scores(x) - case.scores()).abs().amax(dim=2) > 1e-6
    expected = torch.zeros(DAYS, STOCKS, dtype=torch.bool)
    expected[case.config.window - 1 :, stock] = True
    if case.graph is not None:
        sees = (case.graph.neighbours == stock).any(dim=2) & case.mask[:, stock].unsqueeze(1)
        expected[case.config.window - 1 :] |= sees[case.config.window - 1 :]
    present = case.mask.clone()
    present[:, stock] = False  # its own masked days depend on which of its other days are seen
    assert torch.equal(changed & present, expected & present)
    assert changed[SCORED.start :, stock].any()


def test_the_other_stocks_of_the_batch_do_not_matter(case: Case) -> None:
    if case.graph is not None:  # those that are nobody's neighbour
        case.graph = Graph(torch.full_like(case.graph.neighbours, -1), torch.zeros_like(case.graph.weights))
    everywhere, some = case.scores(), [1, 5, 6]
    if case.graph is not None:
        case.graph = Graph(case.graph.neighbours[:, some], case.graph.weights[:, some])
    torch.testing.assert_close(
        case.scores(case.x[:, some], case.mask[:, some]), everywhere[:, some], rtol=1e-4, atol=1e-5
    )


def test_tiny_changes_of_the_input_change_scores_by_about_as_little(case: Case) -> None:
    jitter = 1e-7 * torch.randn_like(case.x)
    difference = (case.scores(case.x + jitter) - case.scores()).abs().max()
    assert difference < 1e-4 * case.judged(case.scores()).abs().max()


@pytest.mark.filterwarnings("error")
def test_bfloat16_autocast_gives_finite_scores_close_to_float32(case: Case) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = case.scores()
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()
    exact = case.judged(case.scores())
    correlation = torch.corrcoef(torch.stack([case.judged(scores).flatten(), exact.flatten()]))[0, 1]
    assert correlation > 0.99


def test_the_same_input_gives_the_same_bits(case: Case) -> None:
    assert torch.equal(case.scores(), case.scores())


def test_the_same_seed_builds_the_same_model(case: Case) -> None:
    def build(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        state = build_model(case.config, FEATURES, HORIZONS).state_dict()
        return [value for value in state.values() if isinstance(value, torch.Tensor)]

    assert all(torch.equal(a, b) for a, b in zip(build(1), build(1), strict=True))
    if case.config.kind not in TABULAR_KINDS:  # those start from nothing
        assert not all(torch.equal(a, b) for a, b in zip(build(1), build(2), strict=True))


def test_every_parameter_receives_a_gradient(case: Case) -> None:
    torch.manual_seed(3)
    model = build_model(case.config, FEATURES, HORIZONS)
    if case.config.kind in TABULAR_KINDS:
        assert not list(model.parameters())
        return
    loss = (model(case.x, case.mask, case.graph) * torch.randn(DAYS, STOCKS, HORIZONS)).sum()
    loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


def test_dropout_is_active_in_training_only(case: Case) -> None:
    def varies(model: Ranker) -> bool:
        return not torch.equal(
            model(case.x, case.mask, case.graph).detach(), model(case.x, case.mask, case.graph).detach()
        )

    assert not varies(case.model.eval())
    assert varies(case.model.train()) == (case.config.kind not in ("linear", *TABULAR_KINDS))


def test_a_state_restores_the_scores(case: Case) -> None:
    other = build_model(case.config, FEATURES, HORIZONS).eval()
    other.load_state_dict(case.model.state_dict())
    with torch.no_grad():
        assert torch.equal(other(case.x, case.mask, case.graph), case.scores())


def test_stocks_and_days_without_any_data_are_harmless(case: Case) -> None:
    mask = case.mask.clone()
    mask[:, 2] = False
    mask[DAYS // 2] = False
    assert torch.isfinite(case.scores(mask=mask)).all()
