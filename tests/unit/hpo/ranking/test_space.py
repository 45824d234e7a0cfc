"""Which of the ranker's settings fit together."""

from __future__ import annotations

import pytest

from hpo.domain.errors import UsageError
from hpo.ranking.space import check_heads
from search_spaces import ChoiceDimension, Dimension, IntegerDimension, Space, Tier
from trainer.config import TrainerConfig

WIDTH = ChoiceDimension(name="model.hidden_size", choices=(16, 32), ordered=True, default=16)
WIDE = IntegerDimension(name="model.hidden_size", low=0, high=9_000_000_000_000_000, step=60, default=60)


def check(*dimensions: Dimension, **model: object) -> None:
    check_heads(Space("s", {}, (Tier("one", dimensions),)), TrainerConfig.model_validate({"model": model}))


@pytest.mark.parametrize(
    ("dimensions", "model"),
    [
        ((WIDTH, ChoiceDimension(name="model.num_heads", choices=(2, 3), default=2)), {}),
        ((WIDTH, IntegerDimension(name="model.num_heads", low=1, high=4, default=1)), {}),
        ((ChoiceDimension(name="model.num_heads", choices=(2, 4), default=2),), {"hidden_size": 18, "num_heads": 2}),
        ((WIDE, IntegerDimension(name="model.num_heads", low=1, high=9_000_000_000_000_000, default=2)), {}),
    ],
)
def test_heads_divide_every_width_that_can_occur(dimensions: tuple[Dimension, ...], model: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"model\.num_heads \d does not divide model\.hidden_size \d+"):
        check(*dimensions, **model)


def test_agreeing_heads_and_models_without_heads_are_taken() -> None:
    check(WIDTH, num_heads=16, hidden_size=16)
    check(WIDE, IntegerDimension(name="model.num_heads", low=1, high=6, default=2))
    check(WIDTH, kind="mlp", num_heads=5)
