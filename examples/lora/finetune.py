"""The trainable: `hpo run trainable=lora.finetune:FineTuning`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.domain.errors import UsageError
from hpo.trainable import Metric, OwnTrainable, Trial, TrialFailure, run_alone
from lora.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces import Space


class FineTuning(OwnTrainable[Settings]):
    """Judged by the language loss of passages that it was not trained on."""

    schema = Settings
    metric = Metric("loss", "validation loss", direction="minimize")
    source = "corpus"
    shared = ("passage", "hidden_size", "num_layers", "four_bit", "checkpointing", "accumulate", "budget", "device")
    preload = ("torch", "torch._dynamo", "transformers.models.llama.modeling_llama", "peft", "trainer.training.memory")
    packages = ("torch", "transformers", "peft")

    def check_space(self, space: Space, settings: Settings) -> None:
        if settings.four_bit:
            from lora.model import check_four_bit, device_of

            try:
                check_four_bit(device_of(settings))
            except TrialFailure as refusal:
                raise UsageError(str(refusal)) from None

    def describe_device(self, settings: Settings | None = None) -> str:
        from lora.model import described

        return described(settings or Settings())

    def split(self, settings: Settings) -> tuple[Any, Any]:
        from lora.text import examples

        try:
            training, validation, holdout = examples(settings)
        except (OSError, ValueError) as error:
            named = settings.corpus or settings.weights or "the made text"
            raise UsageError(f"{named}: {str(error).splitlines()[0]}; give another corpus or weights.") from None
        return {"training": training, "validation": validation}, holdout

    def memory_needed(self, settings: Settings, data: Path) -> int:
        from lora.memory import needed

        return needed(settings)

    def check_memory(self, settings: Settings, data: Path, limit: int) -> None:
        super().check_memory(settings, data, min(limit, settings.budget))

    def train(self, settings: Settings, trial: Trial) -> None:
        from lora.tuning import Tuning

        tuning = Tuning(settings, trial.load())
        trial.describe(num_parameters=tuning.num_parameters, device=self.describe_device(settings))
        for epoch in trial.epochs:
            loss = tuning.train_epoch(epoch, trial.data["training"], trial.is_interrupted)
            if loss is None:
                return
            each, contrast = tuning.judge(trial.data["validation"])
            said = {"train/loss": loss, "valid/contrast": contrast}
            trial.report(epoch, float(np.mean(each)), series=each, metrics=said, state=tuning.state())

    def evaluate(self, state: Any, holdout: Any) -> Sequence[float]:
        from lora.tuning import restored

        each: Sequence[float] = restored(state).judge(holdout)[0]
        return each

    def answer(self, state: Any, table: pd.DataFrame) -> pd.DataFrame:
        """The column `loss`, in nats a token, for texts in a column `text`."""
        from lora.tuning import restored

        tuning = restored(state)
        return table.assign(loss=[tuning.loss_of(text) for text in table["text"]])


if __name__ == "__main__":
    run_alone(FineTuning)
