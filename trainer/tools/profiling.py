"""Where the time of a training step goes, by torch's profiler."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from torch.profiler import ProfilerActivity, profile

from trainer.config import TrainerConfig
from trainer.data.panel import TrainingData
from trainer.training.folds import first_fold
from trainer.training.precision import choose_device

WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Profile:
    """The profiler's table of operators, and the split of a step in seconds.

    gather: bringing the batch together. step: everything else. samples: labelled stock-days a step.
    """

    table: str
    gather: float
    step: float
    samples: float

    @property
    def advice(self) -> str:
        """A sentence to act on."""
        share = self.gather / (self.gather + self.step)
        speed = f"{self.samples / (self.gather + self.step):,.0f} samples/s; {share:.0%} of the time gathers batches."
        if share > 0.25:
            return speed + " A larger train.batch_size has less look-back to gather per sample."
        return speed + " The model costs the rest: a smaller model.hidden_size, num_layers or window is faster."


def profile_steps(config: TrainerConfig, data: TrainingData, steps: int = 10, rows: int = 15) -> Profile:
    """Profile `steps` optimizer steps of the first fold after a warm-up; the `rows` dearest operators."""
    run = first_fold(config, data)
    run.model.train()
    batches = itertools.chain.from_iterable(run.batches(epoch) for epoch in itertools.count(1))
    for batch in itertools.islice(batches, WARM_UP_STEPS):
        run.step(batch, progress=0.0)
    on_cuda = choose_device(config.train.device).type == "cuda"
    gather = step = samples = 0.0
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]) as profiler:
        for _ in range(steps):
            started = time.perf_counter()
            batch = next(batches)
            gathered = time.perf_counter()
            samples += float(run.step(batch, progress=0.0)["samples"])  # waits for the device
            gather += gathered - started
            step += time.perf_counter() - gathered
    order = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=rows, max_name_column_width=45)
    return Profile(table, gather / steps, step / steps, samples / steps)
