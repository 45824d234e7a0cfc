"""A walk downhill, as the smallest training there is."""

from dataclasses import dataclass

from hpo.trainable import Trial


@dataclass
class Settings:
    epochs: int = 6
    rate: float = 0.1
    momentum: float = 0.5
    width: int = 2


def train(settings: Settings, trial: Trial) -> None:
    place, speed = trial.load() or (float(settings.width), 0.0)
    for epoch in trial.epochs:
        speed = settings.momentum * speed - settings.rate * 2 * place
        place += speed
        trial.report(epoch, -abs(place), state=(place, speed))
