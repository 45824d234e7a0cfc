"""The training objective: loss terms per day and horizon, scaled alike, weighted, and ramped over the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import torch
from torch.nn import functional

from trainer import imports
from trainer.config import OWN_TERM, LossConfig, LossPhase
from trainer.errors import InputError
from trainer.metrics import average_ranks
from trainer.training.labels import CHUNK_DAYS, EPSILON, unit

MIN_STOCKS = 5
"""Days with fewer labelled stocks contribute nothing."""
RANK_PARTNERS = 32
"""Scores that each score is compared with in the soft rank."""
RANK_TEMPERATURE = 0.1
"""Width of the soft comparison of two scores, in standard deviations of the day's scores."""

Term = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(scores, targets, valid), each [T, S, H] in float32, invalid entries 0 -> values per horizon [H]."""


def mse(scores: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Squared error against labels of variance 1 per day."""
    return _mean_over_days((scores - target).square(), valid)


def huber(scores: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Huber loss (threshold one standard deviation), as a share of what the score 0 costs on the same days."""
    error = functional.huber_loss(scores, target, reduction="none")
    baseline = functional.huber_loss(torch.zeros_like(target), target, reduction="none")
    return _mean_over_days(error, valid) / (_mean_over_days(baseline, valid) + EPSILON)


def ic(scores: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - Pearson correlation with the returns per day."""
    return 1.0 - _mean_over_days(unit(scores, valid) * unit(target, valid), valid)


def rank_ic(scores: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - Spearman correlation per day, with the scores' ranks made differentiable by `soft_rank`."""
    target_rank = unit(average_ranks(target, valid) / target.shape[1], valid)
    return 1.0 - _mean_over_days(unit(soft_rank(scores, valid), valid) * target_rank, valid)


def sharpe(scores: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - Sharpe / sqrt(N) of the daily long-short portfolio over the days given, N the mean number of stocks.

    The portfolio is long and short in proportion to the demeaned scores, at a gross exposure of 1 every day, and
    earns the targets. Without the root of N its gradient would outgrow that of the correlations with N. Fewer than
    two days have no Sharpe ratio and count as 1.
    """
    days = _judged(valid)
    exposure = _centred(scores, valid)
    weights = exposure / (exposure.abs().sum(dim=1, keepdim=True) + EPSILON)
    spread = _masked_mean(_centred(target, valid).square(), valid, dim=(0, 1)).sqrt()
    earned = (weights * target).sum(dim=1) / (spread + EPSILON)
    count = days.sum(dim=0)
    mean = _masked_mean(earned, days, dim=0)
    variance = _masked_mean((earned - mean).square(), days, dim=0)
    stocks = (valid & days.unsqueeze(1)).sum(dim=(0, 1)) / count.clamp(min=1)
    ratio = mean / (variance + 1e-4).sqrt() / stocks.clamp(min=1).sqrt()
    return 1.0 - torch.where(count >= 2, ratio, 0.0)


TERMS: Mapping[str, Term] = {"mse": mse, "huber": huber, "ic": ic, "rank_ic": rank_ic, "sharpe": sharpe}
"""Every term by its name in LossConfig."""
ON_RETURNS = frozenset({"ic", "sharpe"})
"""Terms whose targets are the returns themselves; those of the others are the labels."""


class RankingLoss:
    """The weighted sum of the terms of a LossConfig over horizons; see `build_loss`."""

    def __init__(self, config: LossConfig, horizons: Sequence[int]) -> None:
        given = config.horizon_weights or tuple(horizon**-0.5 for horizon in horizons)
        if len(given) != len(horizons):
            raise InputError(
                f"loss.horizon_weights has {len(given)} weights for the {len(horizons)} horizons "
                f"{', '.join(map(str, horizons))}; give one weight per horizon"
            )
        self._horizon_weights = torch.tensor(given)
        phases = config.phases or (LossPhase(fraction=1.0),)
        self._ends = tuple(accumulate(phase.fraction for phase in phases))
        self._weights = tuple(
            {term: weight for term in config.terms if (weight := getattr(config, term) * getattr(phase, term)) > 0}
            for phase in phases
        )
        self._terms, self._on_returns = dict(TERMS), set(ON_RETURNS)
        if config.own_term is not None:
            self._terms[OWN_TERM] = imports.load(config.own_term)
            if "returns" in imports.parameters_of(config.own_term):
                self._on_returns.add(OWN_TERM)

    def weights(self, progress: float) -> Mapping[str, float]:
        """The terms in force, with their weights, when this share (0 to 1) of the epochs is behind."""
        passed = sum(progress >= end - EPSILON for end in self._ends)
        return self._weights[min(passed, len(self._weights) - 1)]

    def __call__(
        self,
        scores: torch.Tensor,
        label: torch.Tensor,
        returns: torch.Tensor,
        valid: torch.Tensor,
        progress: float = 0.0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss (scalar, float32) and the unweighted value of each term in force (detached scalars).

        scores, label, returns, valid: [T, S, H], the labels as `make_labels` has them; a label that is not finite is
        not valid. progress: share of the epochs that is behind. Horizons without a day of MIN_STOCKS labels are left
        out of the average over horizons.
        """
        valid = valid & torch.isfinite(label)
        valid = valid & _judged(valid).unsqueeze(1)
        with torch.autocast(scores.device.type, enabled=False):
            scores = scores.float().masked_fill(~valid, 0.0)
            label, returns = (target.float().masked_fill(~valid, 0.0) for target in (label, returns))
            if self._horizon_weights.device != scores.device:
                self._horizon_weights = self._horizon_weights.to(scores.device)
            emphasis = self._horizon_weights * valid.any(dim=1).any(dim=0)
            emphasis = emphasis / emphasis.sum().clamp(min=EPSILON)
            loss = scores.sum() * 0.0
            parts: dict[str, torch.Tensor] = {}
            for name, weight in self.weights(progress).items():
                value = (
                    self._terms[name](scores, returns if name in self._on_returns else label, valid) * emphasis
                ).sum()
                parts[name] = value.detach()
                loss = loss + weight * value
        return loss, parts


def build_loss(config: LossConfig, horizons: Sequence[int]) -> RankingLoss:
    """The loss of a configuration. Raises InputError when `horizon_weights` does not fit the horizons."""
    return RankingLoss(config, horizons)


def check_own_term(config: LossConfig) -> None:
    """Raise InputError where the user's own term, if there is one, does not give a value per horizon to descend on."""
    if config.own_term is None:
        return
    random = torch.Generator().manual_seed(0)
    scores, targets = (torch.randn(4, 12, 3, generator=random) for _ in range(2))
    valid = torch.ones_like(scores, dtype=torch.bool)
    try:
        values = imports.load(config.own_term)(scores.requires_grad_(), targets, valid)
        (slope,) = torch.autograd.grad(values.sum(), scores)
    except Exception as error:  # the user's code may raise anything
        what = f"failed on 4 days of 12 stocks with 3 horizons: {type(error).__name__}: {error}"
        raise InputError(f"loss.own_term={config.own_term} {what}") from error
    if values.shape != (3,):
        raise InputError(
            f"loss.own_term={config.own_term} gave the shape {list(values.shape)} for 3 horizons; return one value per "
            "horizon, [H]: means over days and stocks."
        )
    if not (torch.isfinite(values).all() and torch.isfinite(slope).all() and slope.abs().max() > 0):
        raise InputError(
            f"loss.own_term={config.own_term} gave no finite value with a gradient; let it depend on scores."
        )


def soft_rank(values: torch.Tensor, valid: torch.Tensor, temperature: float = RANK_TEMPERATURE) -> torch.Tensor:
    """Differentiable ranks along dimension 1 among the valid entries, as a share of their number (0 to 1).

    The rank of a value is the share of its partners it exceeds, each comparison a sigmoid of the difference in
    standard deviations over the temperature. Partners are RANK_PARTNERS evenly spaced order statistics of the same
    day, so that the cost is S log S + S * RANK_PARTNERS, without chance. values, valid: [T, S, H].
    """
    if not torch.is_grad_enabled() and len(values) > CHUNK_DAYS:  # the memory of a whole validation is bounded so
        pieces = zip(torch.split(values, CHUNK_DAYS), torch.split(valid, CHUNK_DAYS), strict=True)
        return torch.cat([soft_rank(*piece, temperature) for piece in pieces])
    scaled = (unit(values, valid) / temperature).transpose(1, 2)  # partners last: the sums run over memory in order
    present = valid.transpose(1, 2)
    stocks = values.shape[1]
    partners = min(RANK_PARTNERS, stocks)
    steps = (torch.arange(partners, device=values.device) + 0.5) / partners
    places = (steps * present.sum(dim=2, keepdim=True)).long().clamp(max=stocks - 1)
    ordered = scaled.masked_fill(~present, torch.inf).sort(dim=2).values
    chosen = ordered.gather(2, places).nan_to_num(posinf=0.0)
    return torch.sigmoid(scaled.unsqueeze(3) - chosen.unsqueeze(2)).mean(dim=3).transpose(1, 2)


def _judged(valid: torch.Tensor) -> torch.Tensor:
    return valid.sum(dim=1) >= MIN_STOCKS


def _masked_mean(values: torch.Tensor, valid: torch.Tensor, dim: int | tuple[int, ...]) -> torch.Tensor:
    return (values * valid).sum(dim=dim) / valid.sum(dim=dim).clamp(min=1)


def _mean_over_days(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """[T, S, H] -> [H]: every judged day counts the same, however many stocks it has."""
    return _masked_mean(_masked_mean(values, valid, dim=1), _judged(valid), dim=0)


def _centred(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return (values - _masked_mean(values, valid, dim=1).unsqueeze(1)) * valid
