"""Brings spans of a panel to the device: from a resident copy where it fits, else from the memory map with prefetch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.config import ModelConfig
from trainer.data.panel import Panel
from trainer.models.graph import Graph, GraphSchedule
from trainer.training.batches import Span
from trainer.training.labels import Labels

# Share of the free device memory that a resident panel may take.
RESIDENT_SHARE = 0.3
PREFETCHED = 2


@dataclass(frozen=True)
class Batch:
    """The tensors of one span, C context days before T scored days, G stocks: the span's own, and after them, for a
    model with a graph, neighbours of theirs that carry no label here.

    features: float32 [C+T, G, F]. mask: bool [C+T, G], usable as input. label, returns: float32 [T, G, H], see
    `Labels`, 0 where there is none. labelled: bool [T, G, H]. graph: neighbours on the C+T days, None for models
    without one.
    """

    span: Span
    features: Tensor
    mask: Tensor
    label: Tensor
    returns: Tensor
    labelled: Tensor
    graph: Graph | None

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Graph | None]:
        """What the model is called with."""
        return self.features, self.mask, self.graph


class Feed:
    """Spans of one panel and its labels, as batches for `model` on `device`."""

    def __init__(self, panel: Panel, labels: Labels, model: ModelConfig, device: torch.device) -> None:
        self.panel, self.labels = panel, labels
        self._device = device
        self._graphs: GraphSchedule | None = None
        if model.neighbours:
            self._graphs = GraphSchedule(panel.dates, panel.returns, panel.sectors, model.neighbours)
        self._arrays = (panel.features, panel.mask, labels.label, labels.returns)

    @cached_property
    def _resident(self) -> list[Tensor] | None:
        """The panel on the device, made at the first batch; None where it is read from the memory map.

        On the CPU the memory map itself is the resident copy, shared by all processes.
        """
        days, stocks, features = self.panel.features.shape
        size = resident_bytes((days, stocks, features, len(self.panel.horizons)))
        if self._device.type != "cuda" or size > RESIDENT_SHARE * torch.cuda.mem_get_info(self._device)[0]:
            return None
        return [torch.from_numpy(np.array(array)).to(self._device) for array in self._arrays]

    def batch(self, span: Span) -> Batch:
        """One span, gathered where the panel lies.

        A neighbour outside the span is fetched too. Else training would see the few neighbours that chance puts into
        a span, and scoring all of them.
        """
        stocks, graph = span.stocks, None
        if self._graphs is not None:
            # Days before the panel are masked, so that it does not matter that they get the first day's neighbours.
            calendar = np.arange(span.days.start - span.context, span.days.stop).clip(min=0).tolist()
            stocks = self._graphs.with_neighbours(calendar, span.stocks)
            graph = self._graphs.graph_for(calendar, stocks).to(self._device)
        days = slice(max(0, span.days.start - span.context), span.days.stop)
        scored = slice(span.days.start, span.days.stop)
        taken = (days, days, scored, scored)
        if self._resident is not None:
            chosen = torch.from_numpy(stocks).to(self._device, non_blocking=True)
            gathered = [tensor[rows][:, chosen] for tensor, rows in zip(self._resident, taken, strict=True)]
        else:
            gathered = [
                self._upload(np.take(array[rows], stocks, axis=1))
                for array, rows in zip(self._arrays, taken, strict=True)
            ]
        features, mask, label, returns = gathered
        before_panel = span.context + len(span.days) - len(mask)
        if before_panel:
            features = functional.pad(features, (0, 0, 0, 0, before_panel, 0))
            mask = functional.pad(mask, (0, 0, before_panel, 0))
        own = torch.arange(len(stocks), device=mask.device) < len(span.stocks)
        return Batch(span, features, mask, *_labelled(mask[span.context :] & own, label, returns), graph)

    @property
    def num_stocks(self) -> int:
        """Stocks of the panel."""
        return int(self._arrays[1].shape[1])

    def targets(self, days: range) -> tuple[Tensor, Tensor, Tensor]:
        """Labels and returns of all stocks (0 where there is none) and whether there is one, each [len(days), S, H]."""
        rows = slice(days.start, days.stop)
        if self._resident is not None:
            mask, label, returns = (tensor[rows] for tensor in self._resident[1:])
        else:
            mask, label, returns = (self._upload(array[rows]) for array in self._arrays[1:])
        return _labelled(mask, label, returns)

    def steps(self, plan: Iterable[tuple[Span, ...]]) -> Iterator[tuple[Batch, ...]]:
        """The batches of every optimizer step; gathered ahead by a thread where they, or their graphs, must travel to a
        device."""
        if self._device.type == "cpu" or (self._resident is not None and self._graphs is None):
            yield from (tuple(map(self.batch, spans)) for spans in plan)
            return
        with ThreadPoolExecutor(1) as pool:
            ahead: deque[Future[tuple[Batch, ...]]] = deque()
            for spans in plan:
                ahead.append(pool.submit(lambda spans: tuple(map(self.batch, spans)), spans))
                if len(ahead) > PREFETCHED:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _upload(self, block: NDArray[np.generic]) -> Tensor:
        # Rows of a read-only memory map are copied; what was gathered already is not.
        tensor = torch.from_numpy(np.require(block, requirements=["C", "W"]))
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)


def resident_bytes(panel_shape: tuple[int, int, int, int]) -> int:
    """Device memory of a whole panel [D, S, F] with its mask, labels and returns of H horizons."""
    days, stocks, features, horizons = panel_shape
    return days * stocks * (4 * features + 1 + 8 * horizons)


def _labelled(mask: Tensor, label: Tensor, returns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    labelled = torch.isfinite(label) & mask.unsqueeze(-1)
    return label.masked_fill(~labelled, 0.0), returns.masked_fill(~labelled, 0.0), labelled
