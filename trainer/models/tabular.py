"""Models of a single stock-day's features that are not trained by gradients: ridge regression and boosted trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.config import ModelConfig
from trainer.models.graph import Graph
from trainer.models.ranker import Ranker

if TYPE_CHECKING:
    import lightgbm


class Ridge(Ranker):
    """Linear in today's features, without an intercept: labels and features have mean 0 over a day."""

    coefficients: torch.Tensor

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(window=1)
        self.register_buffer("coefficients", torch.zeros(num_features, num_horizons))

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return x.float() @ self.coefficients


class Trees(Ranker):
    """Boosted trees on today's features, a sequence of them per horizon, grown in parts that add up.

    A part is what one epoch of boosting added, as LightGBM's text, which is also what a checkpoint holds: plain
    strings, read by LightGBM's parser.
    """

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(window=1)
        self.num_horizons = num_horizons
        self.parts: list[list[str]] = []
        self._read: dict[str, lightgbm.Booster] = {}

    def grow(self, part: Sequence[str]) -> None:
        """Add one part: LightGBM's text of a booster per horizon."""
        if len(part) != self.num_horizons:
            raise ValueError(f"{len(part)} boosters for {self.num_horizons} horizons")
        self.parts.append(list(part))

    @property
    def num_leaves(self) -> int:
        """Leaves of all trees."""
        return sum(
            line.count(" ") + 1
            for part in self.parts
            for text in part
            for line in text.splitlines()
            if line.startswith("leaf_value=")
        )

    def outputs(self, part: Sequence[str], features: NDArray[np.float32]) -> NDArray[np.float64]:
        """What one part adds to the scores of [N, F] features: [N, H]."""
        columns = [self._booster(text).predict(features, num_threads=torch.get_num_threads()) for text in part]
        return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        features = x.flatten(0, 1).float().cpu().numpy()
        total = np.zeros((len(features), self.num_horizons))
        for part in self.parts:
            total += self.outputs(part, features)
        return torch.from_numpy(total.astype(np.float32)).view(*x.shape[:2], -1).to(x.device)

    def get_extra_state(self) -> list[list[str]]:
        """The parts: they travel in the state as any buffer does."""
        return [list(part) for part in self.parts]

    def set_extra_state(self, state: Any) -> None:
        """Take over what `get_extra_state` gave."""
        self.parts = []
        for part in state:
            self.grow(part)

    def _booster(self, text: str) -> lightgbm.Booster:
        import lightgbm  # an import of half a second, for those who use it

        if text not in self._read:
            self._read[text] = lightgbm.Booster(model_str=text)
        return self._read[text]
