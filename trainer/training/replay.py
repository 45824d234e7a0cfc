"""The gradient of a span as a CUDA graph: one launch where there were hundreds."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable
from typing import TypeAlias

import torch
from torch import Tensor

from trainer.config import TrainerConfig
from trainer.imports import is_path
from trainer.training.batches import Span, SpanPlan
from trainer.training.feed import Batch

logger = logging.getLogger(__name__)

LENGTHS = 16
"""A span's days are rounded up to a multiple of the nominal span's over this: few shapes, and little computed in
vain."""
LARGEST = 131_072
"""Stock-days of a span above which computing takes longer than launching."""

Scalars: TypeAlias = dict[str, Tensor]


def can_replay(config: TrainerConfig, plan: SpanPlan, device: torch.device) -> bool:
    """Whether replaying steps pays and is possible: their kernels must depend on nothing but the shape of the spans.

    They do not where stocks have neighbours, whose number varies, nor under SAM, which drops the gradients within a
    step, nor in code of the user's, which may ask the device for a number.
    """
    own = any(map(is_path, (config.model.kind, config.loss.own_term or "")))
    varies = own or config.model.neighbours > 0 or config.optim.name == "sam"
    pays = device.type == "cuda" and math.prod(plan.largest) <= LARGEST
    return config.train.cuda_graphs and pays and not varies


class Replay:
    """Replays what a function of a batch does on the device.

    At a small width a step is hundreds of kernels of a few microseconds, and launching one takes as long. Spans are
    padded with masked stock-days to one of a few shapes. The first span of a shape is passed to the function as it is,
    the second one is captured, and from then on the capture is replayed, with the same results. What the function
    writes to must stay where it is (gradients are set to zero, not to None), and it must read nothing from the device.
    """

    def __init__(self, plan: SpanPlan, device: torch.device) -> None:
        self._device = device
        self._most_days, self._stocks = plan.largest
        self._quantum = math.ceil(len(plan.days) / plan.cuts / LENGTHS)
        self._buffers: tuple[Tensor, ...] = ()
        self._seen: set[Hashable] = set()
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Scalars]] = {}
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no types here
        self._pool = torch.cuda.graph_pool_handle()
        self._works = True

    def __call__(self, batch: Batch, function: Callable[[Batch], Scalars], variant: Hashable) -> Scalars:
        """What `function(batch)` returns, good until the next call. variant: what else its kernels depend on."""
        padded = self._padded(batch)
        key = len(padded.span.days), variant
        if key in self._graphs:
            graph, scalars = self._graphs[key]
            graph.replay()
            return scalars
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            if self._works and key in self._seen:
                scalars = self._captured(key, padded, function)
            else:
                self._seen.add(key)
                scalars = function(padded)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return scalars

    def _captured(self, key: Hashable, padded: Batch, function: Callable[[Batch], Scalars]) -> Scalars:
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may go on meanwhile, such as the one that brings the next batches.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                scalars = function(padded)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            logger.warning("a step cannot be captured and is launched kernel by kernel: %s", error)
            self._works = False
            return function(padded)
        self._graphs[key] = graph, scalars
        graph.replay()
        return scalars

    def _padded(self, batch: Batch) -> Batch:
        """The batch at the start of the buffers; what an earlier one left behind it is masked."""
        span = batch.span
        given = (batch.features, batch.mask, batch.label, batch.returns, batch.labelled)
        if not self._buffers:
            most = (self._most_days, self._most_days, *[self._most_days - span.context] * 3)
            self._buffers = tuple(
                value.new_zeros(days, self._stocks, *value.shape[2:]) for days, value in zip(most, given, strict=True)
            )
        scored = min(-(-len(span.days) // self._quantum) * self._quantum, self._most_days - span.context)
        lengths = (scored + span.context, scored + span.context, *[scored] * 3)
        padded = [buffer[:days] for buffer, days in zip(self._buffers, lengths, strict=True)]
        for buffer, value in zip(padded, given, strict=True):
            if buffer.dtype is torch.bool:
                buffer.zero_()
            buffer[: value.shape[0], : value.shape[1]].copy_(value)
        features, mask, label, returns, labelled = padded
        return Batch(Span(range(scored), span.stocks, span.context), features, mask, label, returns, labelled, None)
