"""What a step asks of a GPU, counted on the CPU: kernels to launch, and answers to wait for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.training.folds import first_fold
from trainer.training.optim import StepGuard

READS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.equal.default"}
"""What makes a host wait for its device."""
VIEWS = ("view", "reshape", "expand", "permute", "transpose", "t.", "slice", "select", "split", "unsqueeze", "detach")


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts the operators that are called, views left out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if not name.removeprefix("aten.").lstrip("_").startswith(VIEWS):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def cost(config: Any, data: Any) -> Counter[str]:
    """Of the second step, as on a device that the host does not wait for."""
    run = first_fold(config, data)
    run._guard = StepGuard(torch.device("cpu"), wait=False)
    run.model.train()
    first, second = next(run.batches(1)), next(run.batches(2))
    run.step(first, 0.0)
    with Launches() as launches:
        run.step(second, 0.0)
    return launches.counts


@pytest.mark.parametrize(
    "settings", [{}, {"train.ema_decay": 0.9}, {"optim.clip_adaptive": 0.1}, {"train.accumulate": 2}]
)
def test_a_step_waits_for_nothing(settings: dict[str, Any], make_config: Any, make_data: Any) -> None:
    counts = cost(make_config({"model.kind": "atft_gat_fan", **settings}), make_data())
    assert {name: count for name, count in counts.items() if name in READS} == {}


def test_a_step_of_the_default_model_does_not_launch_more_than_it_did(make_config: Any, make_data: Any) -> None:
    counts = cost(make_config({"model.kind": "atft_gat_fan", "train.precision": "fp32"}), make_data())
    assert counts.total() <= 520
