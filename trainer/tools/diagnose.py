"""A look inside a model in training: gradient flow, dead units, activations, loss landscape, memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer.config import TrainerConfig
from trainer.data.panel import TrainingData
from trainer.tools.figures import Spec, channel, chart, save_figure
from trainer.training import checkpoint
from trainer.training.device import DeviceWatch
from trainer.training.feed import Batch
from trainer.training.folds import FoldRun, first_fold
from trainer.training.memory import estimate, step_bytes
from trainer.training.precision import choose_device

WARM_UP_STEPS = 30
LANDSCAPE_POINTS = 21
# A layer whose gradient is this much smaller, relative to its weights, than the median layer's hardly learns.
FAINT = 1e-3


@dataclass(frozen=True)
class Layer:
    """One module with parameters. gradient: norm of its gradient over the norm of its weights. mean, std: of its
    output. dead: share of its output units that do not vary over the samples of a batch."""

    name: str
    gradient: float
    mean: float
    std: float
    dead: float


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a model in training.

    landscape: (distance, loss) along one random direction scaled to every weight's norm (Li et al. 2018).
    estimated, measured: peak bytes on a CUDA device; on a CPU those of the tensors of one step on the largest span,
        counted on fake and on really computed tensors.
    """

    layers: tuple[Layer, ...]
    landscape: tuple[tuple[float, float], ...]
    estimated: int
    measured: int

    @property
    def advice(self) -> tuple[str, ...]:
        """Sentences to act on."""
        said = []
        median = sorted(layer.gradient for layer in self.layers)[len(self.layers) // 2]
        if faint := [layer.name for layer in self.layers if layer.gradient < FAINT * median]:
            said.append(
                f"Hardly any gradient reaches {', '.join(faint)}: it learns nothing; drop it or check its path."
            )
        if dead := [f"{layer.name} ({layer.dead:.0%})" for layer in self.layers if layer.dead > 0.1]:
            said.append(f"Units that never vary in {', '.join(dead)}: lower optim.lr or model.hidden_size.")
        losses = [loss for _, loss in self.landscape]
        if min(losses) < losses[len(losses) // 2] - 0.02 * abs(losses[len(losses) // 2]):
            said.append("A random direction still lowers the loss, far from a minimum: raise optim.lr or train.epochs.")
        if not said:
            said.append("Gradient reaches every layer, units vary, and the loss is near a minimum: nothing to mend.")
        ratio = self.estimated / self.measured
        said.append(f"Memory: estimated {_mib(self.estimated)}, measured {_mib(self.measured)} ({ratio:.2f} times).")
        return tuple(said)


def diagnose(
    config: TrainerConfig, data: TrainingData, steps: int = WARM_UP_STEPS, start: Path | None = None
) -> Diagnosis:
    """Train the first fold for `steps` steps, then look at one batch. start: the `model.pt` of a training with this
    configuration on these data, whose weights are the first ones."""
    with DeviceWatch(choose_device(config.train.device)) as watch:
        run = first_fold(config, data)
        if start is not None:
            run.model.load_state_dict(checkpoint.load(start)["weights"][0])
        return _diagnosis(config, data, steps, watch, run)


def _diagnosis(config: TrainerConfig, data: TrainingData, steps: int, watch: DeviceWatch, run: FoldRun) -> Diagnosis:
    run.model.train()
    batches = itertools.chain.from_iterable(run.batches(epoch) for epoch in itertools.count(1))
    for number, batch in enumerate(itertools.islice(batches, steps)):
        run.schedule.apply(run.optimizer, number)
        run.step(batch, progress=0.0)
    batch = next(batches)
    with _outputs_of(run.model) as outputs:
        run.gradient(batch, progress=0.0)
    layers = tuple(_layer(name, run.model.get_submodule(name), output) for name, output in outputs.items())
    run.validate()
    return Diagnosis(layers, _landscape(run, batch[0]), *_memory(config, data, run, watch))


def draw_diagnosis(diagnosis: Diagnosis, path: Path) -> None:
    """Gradient flow, spread of activations, dead units by layer, and the landscape."""
    rows = [asdict(layer) for layer in diagnosis.layers]
    names = [layer.name for layer in diagnosis.layers]
    down: Spec = {"field": "name", "type": "nominal", "scale": {"domain": names}, "title": None}
    height = max(300, 14 * len(names))
    # A logarithmic axis has no zero for bars to begin at.
    dots, bars = {"type": "point", "filled": True, "size": 60}, {"type": "bar"}
    by_decade = {"scale": {"type": "log"}, "axis": {"format": "~e", "tickCount": 5}}
    hidden = {"axis": {"labels": False, "ticks": False}}
    panels: list[tuple[str, str, Spec, Spec, Spec]] = [
        ("gradient", "gradient norm / weight norm", dots, by_decade, {}),
        ("std", "standard deviation of the output", bars, {}, hidden),
        ("dead", "share of output units that never vary", bars, {"scale": {"domain": [0, 1]}}, hidden),
    ]
    charts = []
    for field, title, mark, across, aside in panels:
        shown = [row for row in rows if mark is bars or row[field] > 0]
        encoding = {"y": {**down, **aside}, "x": channel(field, None, **across)}
        charts.append(chart(title, 260, height, shown, {"mark": mark, "encoding": encoding}))
    points = [{"distance": distance, "loss": loss} for distance, loss in diagnosis.landscape if math.isfinite(loss)]
    along = channel("distance", "distance, in weight norms")
    loss = channel("loss", "loss of one batch", scale={"zero": False})
    line = {"mark": {"type": "line", "point": True}, "encoding": {"x": along, "y": loss}}
    charts.append(chart("loss along a random direction", 300, height, points, line))
    save_figure({"hconcat": charts}, path)


@contextmanager
def _outputs_of(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The last output, in the order of computation, of every module that holds parameters of its own."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            outputs[name] = tensor.detach().float()

        return hook

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        if name and any(True for _ in module.parameters(recurse=False))
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _layer(name: str, module: nn.Module, output: Tensor) -> Layer:
    weights = list(module.parameters())
    norm = float(nn.utils.get_total_norm([weight.detach() for weight in weights]))
    gradient = float(nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None]))
    units = output.flatten(0, -2)
    constant = (units.amax(0) - units.amin(0)) <= 1e-6 * units.abs().amax(0).clamp(min=1e-12)
    return Layer(
        name, gradient / max(norm, 1e-12), float(units.mean()), float(units.std()), float(constant.float().mean())
    )


@torch.no_grad()
def _landscape(run: FoldRun, batch: Batch) -> tuple[tuple[float, float], ...]:
    """Loss without dropout at distances -1 to 1 along a random direction; the weights are put back."""
    weights = [weight for weight in run.model.parameters() if weight.ndim >= 2]
    before = [weight.clone() for weight in weights]
    generator = torch.Generator().manual_seed(0)
    directions = []
    for weight in weights:
        direction = torch.randn(weight.shape, generator=generator).to(weight)
        rows = weight.flatten(1).norm(dim=1) / direction.flatten(1).norm(dim=1).clamp(min=1e-12)
        directions.append(direction * rows.view(-1, *[1] * (weight.ndim - 1)))
    run.model.eval()
    points = []
    for distance in torch.linspace(-1, 1, LANDSCAPE_POINTS).tolist():
        for weight, old, direction in zip(weights, before, directions, strict=True):
            weight.copy_(old + distance * direction)
        points.append((distance, float(run.loss(batch, progress=0.0)[0])))
    for weight, old in zip(weights, before, strict=True):
        weight.copy_(old)
    return tuple(points)


def _memory(config: TrainerConfig, data: TrainingData, run: FoldRun, watch: DeviceWatch) -> tuple[int, int]:
    days, stocks, features = data.panel.features.shape
    if watch.peak_bytes is not None:
        return estimate(config, (days, stocks, features)), watch.peak_bytes
    with FakeTensorMode():
        estimated = step_bytes(config, features, *run.plan.largest)
    return estimated, step_bytes(config, features, *run.plan.largest)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
