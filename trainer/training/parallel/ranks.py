"""What the processes of one training say to each other; with one process, nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.config import TrainConfig
from trainer.reports import EpochReport, Reporter, Verdict


@dataclass(frozen=True)
class Ranks:
    """Processes that train one model in step, each on a device of its own.

    Each holds the same weights. It passes its share of a span's days through the model; the scores of the whole span
    are put together, so that every loss term sees what it sees in one process; and the gradients are added up.

    rank: which one this is, from 0. size: how many there are. device: this one's; empty: what the configuration says.
    control: the group that words travel by, on the host.
    """

    rank: int = 0
    size: int = 1
    device: str = ""
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this one writes checkpoints and is heard."""
        return self.rank == 0

    def here(self, config: TrainConfig) -> TrainConfig:
        """The loop's settings with this process's device, and its part of the threads."""
        if self.size == 1:
            return config
        threads = max(1, (config.threads or torch.get_num_threads()) // self.size)
        return config.model_copy(update={"device": self.device, "threads": threads})

    def share(self, days: range, rank: int | None = None) -> range:
        """This process's part of consecutive days, or that of another; empty where there are fewer days than
        processes."""
        number = self.rank if rank is None else rank
        return days[len(days) * number // self.size : len(days) * (number + 1) // self.size]

    def work(self, days: range) -> range:
        """What this process passes through the model: its share, or all of them where it has none, because its
        gradients are asked for too. `whole` leaves out what is no share."""
        return self.share(days) or days

    def whole(self, part: Tensor, days: range) -> Tensor:
        """Values of `work(days)`, [len(work), ...], as those of all days, [len(days), ...]. Gradients flow to the share
        alone: each process descends on its own scores."""
        if self.size == 1:
            return part
        part = part[: len(self.share(days))]
        lengths = [len(self.share(days, rank)) for rank in range(self.size)]
        gathered: Tensor = _Gathered.apply(part, lengths, self.rank)  # type: ignore[no-untyped-call]  # torch's
        return gathered

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Leave the sum of all processes' gradients in the parameters, the same bits everywhere."""
        if self.size == 1:
            return
        learning = [weight for weight in parameters if weight.requires_grad]
        for weight in learning:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in learning if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def agreed(self, word: bool) -> bool:
        """What the leading process says; all of them ask at the same point."""
        if self.size == 1:
            return word
        said = torch.tensor([word])
        dist.broadcast(said, src=0, group=self.control)
        return bool(said)

    def collected(self, mine: Any) -> list[Any]:
        """What each process has of something, in order of their ranks. Plain values and tensors on the CPU."""
        if self.size == 1:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine, group=self.control)
        return found


ALONE = Ranks()
"""A training in one process."""


class CommonReporter:
    """The leading process's reporter, whose verdicts all processes hear. Others have none."""

    def __init__(self, ranks: Ranks, reporter: Reporter | None) -> None:
        self._ranks, self._reporter = ranks, reporter

    def report(self, report: EpochReport) -> Verdict:
        return self._heard(self._reporter is not None and self._reporter.report(report) is Verdict.STOP)

    def poll(self) -> Verdict:
        return self._heard(self._reporter is not None and self._reporter.poll() is Verdict.STOP)

    def _heard(self, stops: bool) -> Verdict:
        return Verdict.STOP if self._ranks.agreed(stops) else Verdict.CONTINUE


class _Gathered(torch.autograd.Function):
    """Pieces of all processes one after another; the gradient of the whole, cut down to the own piece.

    Every process computes the same loss from the same whole, so that its gradient is the same too and need not travel.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, lengths: list[int], rank: int) -> Tensor:
        ctx.start, ctx.length = sum(lengths[:rank]), lengths[rank]
        longest = max(lengths)
        padded = part.new_zeros(longest, *part.shape[1:])
        padded[: len(part)] = part
        pieces = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(pieces, padded)
        return torch.cat([piece[:length] for piece, length in zip(pieces, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.start : ctx.start + ctx.length], None, None
