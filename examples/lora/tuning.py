"""One fine-tuning as it goes on: an epoch, its judgement, the state to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo.trainable import TrialFailure
from lora import model
from lora.settings import Settings
from lora.text import Pairs, encode

JUDGED_TOGETHER = 64
"""Examples that are scored at once. The contrastive loss depends on it, the language loss does not."""
CLIP_NORM = 1.0


class Tuning:
    """A model in training. state: what `state` gave, None at the beginning."""

    def __init__(self, settings: Settings, state: Any = None) -> None:
        self._settings, self._device = settings, model.device_of(settings)
        self._model = model.tuned(settings, model.base_model(settings, self._device)).to(self._device)
        self._weights = dict(model.learning(self._model))
        self._optimizer = torch.optim.AdamW(self._weights.values(), lr=settings.rate)
        if state is not None:
            self._take(state["weights"])
            self._optimizer.load_state_dict(state["optimizer"])

    @property
    def num_parameters(self) -> int:
        """Of what is trained."""
        return sum(weight.numel() for weight in self._weights.values())

    def train_epoch(self, epoch: int, training: Pairs, is_interrupted: Callable[[], bool]) -> float | None:
        """The mean language loss of an epoch (from 1); None where it was interrupted."""
        settings = self._settings
        seed = np.random.SeedSequence([settings.seed, epoch])
        torch.manual_seed(int(seed.generate_state(1)[0]))  # dropout: a resumed epoch draws the same
        order = np.random.default_rng(seed).permutation(len(training))
        steps = -(-len(order) // settings.batch)
        self._model.train()
        total = torch.zeros((), device=self._device)
        for step in range(steps):
            if is_interrupted():
                return None
            chosen = order[step * settings.batch : (step + 1) * settings.batch]
            rate = model.rate_at((epoch - 1) * steps + step, settings.epochs * steps, settings)
            total += self._step(self._on_device(training[chosen]), rate)
        loss = float(total) / steps
        if not np.isfinite(loss):
            raise TrialFailure("non_finite", f"the training loss of epoch {epoch} is {loss}")
        return loss

    def judge(self, pairs: Pairs) -> tuple[NDArray[np.float32], float]:
        """Language loss of every example [N], and the mean contrastive loss."""
        parts = list(self._judged(pairs))
        each = torch.cat([losses for losses, _ in parts]).cpu().numpy()
        weights = [len(losses) for losses, _ in parts]
        return each, float(np.average([float(contrast) for _, contrast in parts], weights=weights))

    def loss_of(self, text: str) -> float:
        """Of any text, in nats a token; NaN of one with fewer than two tokens. Long ones are cut into passages."""
        tokens, length = encode(text, self._settings.weights), self._settings.passage
        pieces = [tokens[start : start + length] for start in range(0, len(tokens), length)]
        known = [(len(piece) - 1, self._judge_piece(piece)) for piece in pieces if len(piece) > 1]
        return sum(number * loss for number, loss in known) / sum(number for number, _ in known) if known else np.nan

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch needs."""
        weights = {name: weight.detach().cpu().clone() for name, weight in self._weights.items()}
        settings = self._settings.model_dump(mode="json")
        return {"settings": settings, "weights": weights, "optimizer": self._optimizer.state_dict()}

    def _take(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(weights[name])

    def _step(self, pairs: Tensor, rate: float) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss = model.accumulate_gradient(self._model, pairs, self._settings)
        torch.nn.utils.clip_grad_norm_(self._weights.values(), CLIP_NORM)
        self._optimizer.step()
        return loss

    @torch.no_grad()
    def _judged(self, pairs: Pairs) -> Iterator[tuple[Tensor, Tensor]]:
        self._model.eval()
        for start in range(0, len(pairs), JUDGED_TOGETHER):
            part = self._on_device(pairs[start : start + JUDGED_TOGETHER])
            yield model.losses(self._model, part, self._settings)

    @torch.no_grad()
    def _judge_piece(self, tokens: NDArray[np.int32]) -> float:
        self._model.eval()
        given = torch.from_numpy(tokens.astype(np.int64)).unsqueeze(0).to(self._device)
        return float(model.language_loss(self._model(input_ids=given, use_cache=False).logits, given))

    def _on_device(self, pairs: Pairs) -> Tensor:
        return torch.from_numpy(pairs.astype(np.int64)).to(self._device)


def restored(state: Any) -> Tuning:
    """A training from its state, to score with."""
    return Tuning(Settings.model_validate(state["settings"]), state)
