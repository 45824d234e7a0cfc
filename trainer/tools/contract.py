"""What every model promises, as checks by name, asked of one on a small made-up market; a user's own is asked the
same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from trainer.config import ModelConfig
from trainer.errors import TrainerError
from trainer.models import build_model
from trainer.models.graph import Graph
from trainer.models.ranker import Ranker

STOCKS, FEATURES, HORIZONS = 9, 5, 3
TOLERANCE = 1e-4


class Broken(Exception):
    """A promise that does not hold: the value seen, and what to change."""


@dataclass(frozen=True)
class Outcome:
    """One check's end. seen: None where it holds."""

    name: str
    rule: str
    seen: str | None


class Case:
    """A model away from the zeros of a fresh one, which would hide mistakes, and a market to score.

    x: [T, S, F], mask: [T, S], graph: of K neighbours, where the model asks for one.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config, self.window = config, config.window
        self.days = config.window + 10
        random = torch.Generator().manual_seed(7)
        self.x = torch.randn(self.days, STOCKS, FEATURES, generator=random)
        self.mask = torch.rand(self.days, STOCKS, generator=random) < 0.85
        self.graph: Graph | None = None
        if config.neighbours:
            shape = (self.days, STOCKS, config.neighbours)
            places = torch.randint(-1, STOCKS, shape, generator=random)
            self.graph = Graph(places, torch.rand(shape, generator=random) * (places >= 0))
        self.model = self.perturbed(config)

    def fresh(self, config: ModelConfig, seed: int = 1) -> Ranker:
        torch.manual_seed(seed)
        return build_model(config, FEATURES, HORIZONS)

    def perturbed(self, config: ModelConfig) -> Ranker:
        model = self.fresh(config)
        random = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=random))
        return model.eval()

    @torch.no_grad()
    def scores(self, x: torch.Tensor | None = None, mask: torch.Tensor | None = None) -> torch.Tensor:
        scores: torch.Tensor = self.model(self.x if x is None else x, self.mask if mask is None else mask, self.graph)
        return scores

    def judged(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores of the days and stocks that count."""
        first = self.window - 1
        return scores[first:][self.mask[first:]]


def scores_have_a_column_per_horizon(case: Case) -> None:
    """A score for every day, stock and horizon, finite, and not the same for all stocks."""
    scores = case.scores()
    if scores.shape != (case.days, STOCKS, HORIZONS):
        raise Broken(
            f"the shape {list(scores.shape)} for {case.days} days, {STOCKS} stocks and {HORIZONS} horizons; return "
            "[T - window + 1, S, H] from `score`"
        )
    if not torch.isfinite(case.judged(scores)).all():
        raise Broken("scores that are not finite; keep what `score` divides by and takes the root of away from 0")
    if not (scores[case.window - 1 :].std(dim=1) > 1e-6).all():
        raise Broken("the same score for all stocks of a day; let it depend on each stock's features")


def a_span_equals_each_days_own_window(case: Case) -> None:
    """A span of days gives each day the score that its own window of days alone gives."""
    span, furthest = case.scores(), 0.0
    for day in range(case.window - 1, case.days):
        days = slice(day - case.window + 1, day + 1)
        graph = case.graph and Graph(case.graph.neighbours[days], case.graph.weights[days])
        with torch.no_grad():
            alone = case.model(case.x[days], case.mask[days], graph)[-1]
        furthest = max(furthest, _difference(alone[case.mask[day]], span[day][case.mask[day]]))
    _refuse(furthest, "the last `window` days alone decide a score, and no sum or state over the whole span")


def no_day_is_seen_before_it_comes(case: Case) -> None:
    """A change of one day changes scores of that day and of the window - 1 days after it, and no others."""
    day = case.window + 2
    x = case.x.clone()
    x[day] += 3.0
    changed = (case.scores(x) != case.scores()).any(dim=2).any(dim=1)
    reached = changed.nonzero().flatten().tolist()
    allowed = range(day, min(day + case.window, case.days))
    if not reached or any(other not in allowed for other in reached):
        raise Broken(
            f"a change of day {day} reached the days {reached}, where {allowed.start} to {allowed.stop - 1} may be; "
            "look back from each day over `window` days, and never ahead"
        )


def what_is_masked_has_no_influence(case: Case) -> None:
    """Features of masked stock-days change nothing, missing values included."""
    changed = case.scores(case.x.masked_fill(~case.mask.unsqueeze(-1), torch.nan))
    _refuse(_difference(case.judged(changed), case.judged(case.scores())), "override `score` and not `forward`")


def the_order_of_stocks_does_not_matter(case: Case) -> None:
    """Stocks in another order get their scores in that order."""
    order = torch.randperm(STOCKS, generator=torch.Generator().manual_seed(3))
    expected, kept = case.scores()[:, order], case.graph
    if kept is not None:
        places = torch.cat([order.argsort(), torch.tensor([-1])])  # the last entry serves the index -1
        case.graph = Graph(places[kept.neighbours[:, order]], kept.weights[:, order])
    found = case.scores(case.x[:, order], case.mask[:, order])
    case.graph = kept
    valid = case.mask[:, order]
    _refuse(_difference(found[valid], expected[valid]), "no weight may belong to a place among the stocks")


def the_other_stocks_do_not_matter(case: Case) -> None:
    """Stocks that are nobody's neighbour change no score: training sees a part of them, scoring all."""
    some, kept = [1, 5, 6], case.graph
    if kept is not None:
        case.graph = Graph(torch.full_like(kept.neighbours, -1), torch.zeros_like(kept.weights))
    everywhere = case.scores()[:, some]
    if case.graph is not None:
        case.graph = Graph(case.graph.neighbours[:, some], case.graph.weights[:, some])
    alone = case.scores(case.x[:, some], case.mask[:, some])
    case.graph = kept
    valid = case.mask[:, some]
    _refuse(_difference(alone[valid], everywhere[valid]), "let stocks meet through `graph` alone")


def days_and_stocks_without_data_are_harmless(case: Case) -> None:
    """A stock or a day that is masked as a whole leaves all scores finite."""
    mask = case.mask.clone()
    mask[:, 2] = False
    mask[case.days // 2] = False
    if not torch.isfinite(case.scores(mask=mask)).all():
        raise Broken("scores that are not finite; keep means over masked entries away from 0 / 0")


def the_same_input_gives_the_same_scores(case: Case) -> None:
    """Scoring has no chance in it."""
    if not torch.equal(case.scores(), case.scores()):
        raise Broken("other scores for the same input; switch chance off unless `self.training`, as nn.Dropout does")


def the_same_seed_builds_the_same_model(case: Case) -> None:
    """A new model's weights come from torch's global random state alone."""
    one, other = case.fresh(case.config).state_dict(), case.fresh(case.config).state_dict()
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    if differing:
        raise Broken(
            f"other values in {', '.join(differing)}; draw weights with torch, without a generator of your own"
        )


def every_parameter_is_learnt(case: Case) -> None:
    """Each parameter receives a gradient from the scores."""
    model = case.perturbed(case.config).train()
    (model(case.x, case.mask, case.graph) * case.x[..., :HORIZONS]).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    if not list(model.parameters()) or silent:
        raise Broken(f"no gradient in {', '.join(silent) or 'a model without parameters'}; use it, or take it out")


def a_state_restores_the_scores(case: Case) -> None:
    """What a checkpoint holds gives the same scores in another model of the same settings."""
    other = case.fresh(case.config, seed=5).eval()
    other.load_state_dict(case.model.state_dict())
    with torch.no_grad():
        found = other(case.x, case.mask, case.graph)
    if not torch.equal(found, case.scores()):
        raise Broken("other scores; keep everything that scores in parameters and buffers (`register_buffer`)")


def half_precision_gives_nearly_the_same_scores(case: Case) -> None:
    """Under bf16 autocast, in which trials are trained, scores are finite and ordered nearly the same."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = case.judged(case.scores())
    exact = case.judged(case.scores())
    correlation = float(torch.corrcoef(torch.stack([rounded.flatten(), exact.flatten()]))[0, 1])
    if not torch.isfinite(rounded).all() or not correlation > 0.98:
        raise Broken(f"a correlation of {correlation:.3f} with fp32; compute sums and exponentials in x.float()")


def every_own_setting_has_an_effect(case: Case) -> None:
    """Each field of the model's `schema` changes it somewhere in its range."""
    own = case.config.own
    idle = [name for name in type(own).model_fields if not _turns(case, own, name)] if own is not None else []
    if idle:
        raise Broken(f"the same model with another {', '.join(idle)}; read config.own.{idle[0]}, or take the field out")


CHECKS: tuple[Callable[[Case], None], ...] = (
    scores_have_a_column_per_horizon,
    a_span_equals_each_days_own_window,
    no_day_is_seen_before_it_comes,
    what_is_masked_has_no_influence,
    the_order_of_stocks_does_not_matter,
    the_other_stocks_do_not_matter,
    days_and_stocks_without_data_are_harmless,
    the_same_input_gives_the_same_scores,
    the_same_seed_builds_the_same_model,
    every_parameter_is_learnt,
    a_state_restores_the_scores,
    half_precision_gives_nearly_the_same_scores,
    every_own_setting_has_an_effect,
)


def check_model(config: ModelConfig, say: Callable[[Outcome], None] = lambda outcome: None) -> list[Outcome]:
    """Every check's outcome, in order. Raises TrainerError where there is no model of these settings."""
    found = []
    with torch.random.fork_rng(devices=[]):
        try:
            case = Case(config)
        except TrainerError:
            raise
        except Exception as error:  # the user's code may raise anything
            return [Outcome("a_model_is_built", "The class takes (config, num_features, num_horizons).", _said(error))]
        for check in CHECKS:
            outcome = Outcome(check.__name__, " ".join(str(check.__doc__).split()), _seen(check, case))
            say(outcome)
            found.append(outcome)
    return found


def _seen(check: Callable[[Case], None], case: Case) -> str | None:
    try:
        check(case)
    except Broken as broken:
        return str(broken)
    except Exception as error:  # the user's code may raise anything
        return _said(error)
    return None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference as a share of the largest score; infinite where one of them is not finite."""
    apart = (found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
    return float(apart.nan_to_num(nan=float("inf")))


def _refuse(difference: float, remedy: str) -> None:
    if not difference < TOLERANCE:
        raise Broken(f"scores that differ by {difference:.2g} of the largest; {remedy}")


def _turns(case: Case, own: BaseModel, name: str) -> bool:
    """Whether another value of the setting makes another model; True where none is known that its class takes."""
    others = [_with(case.config, own, name, value) for value in _others(getattr(own, name))]
    tried = [config for config in others if config is not None]
    return not tried or any(_fingerprint(case, config) != _fingerprint(case, case.config) for config in tried)


def _others(value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (2 * value, value + 1, value - 1)
    return (value / 2, 2 * value, value + 0.1) if isinstance(value, float) else ()


def _with(config: ModelConfig, own: BaseModel, name: str, value: Any) -> ModelConfig | None:
    try:
        changed = {**own.model_dump(), name: value}
        return ModelConfig.model_validate({**config.model_dump(exclude={"own"}), "own": changed})
    except ValidationError:
        return None


def _fingerprint(case: Case, config: ModelConfig) -> list[Any]:
    """Weights as they begin, and scores in training, where chance acts."""
    fresh = case.fresh(config).state_dict()
    model, graph = case.perturbed(config).train(), Case(config).graph if config.neighbours else None
    torch.manual_seed(4)
    scores = model(case.x, case.mask, graph).detach()
    return [*((name, value.tolist()) for name, value in fresh.items()), scores.tolist()]
