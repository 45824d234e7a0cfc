"""Sentences about curves: each is said where it holds, and not where it does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.tools.history import History

LEARNING = np.array([0.000, 0.030, 0.040, 0.046, 0.048, 0.0485, 0.0487, 0.0488, 0.0489, 0.0489])


def said(scores: Sequence[float], **curves: Sequence[float]) -> str:
    """The findings. curves: `train_rank`, `valid_rank`, `grad_norm` by epoch; a training that goes on learning where
    they are not given."""
    number = len(scores)
    given = {
        "train_rank": np.linspace(0.01, 0.06, number),
        "valid_rank": np.array(scores),
        "grad_norm": np.ones(number),
        **{name: np.array(curve) for name, curve in curves.items()},
    }
    epochs = [
        {
            "train/loss": 2 - given["train_rank"][n],
            "train/loss_rank_ic": 1 - given["train_rank"][n],
            "valid/loss_rank_ic": 1 - given["valid_rank"][n],
            "train/grad_norm": given["grad_norm"][n],
        }
        for n in range(number)
    ]
    return " ".join(History.of(scores, epochs).findings)


def test_nothing_is_said_of_a_training_that_went_well() -> None:
    assert said(LEARNING.tolist()) == "Validation follows training, and the curves have settled."


def test_overfitting_is_a_fall_while_the_training_days_are_still_learnt() -> None:
    rises_and_falls = [0.01, 0.03, 0.05, 0.06, 0.061, 0.055, 0.05, 0.045, 0.04, 0.035]
    assert "Overfits: the validation score fell" in said(rises_and_falls)
    assert "Overfits" not in said(rises_and_falls, train_rank=[0.04] * 10)


def test_noise_is_seldom_called_overfitting() -> None:
    noise = np.random.default_rng(0).normal(0, 0.004, (200, 12))
    assert np.mean(["Overfits" in said((0.04 + each).tolist()) for each in noise]) < 0.06


def test_a_gap_between_training_and_validation_days() -> None:
    told = said(LEARNING.tolist(), train_rank=np.linspace(0.05, 0.3, 10).tolist())
    assert "Rank correlation of 0.272 on the training days and 0.049 on the validation days" in told
    assert "0.272" not in said(LEARNING.tolist())


def test_a_training_that_was_too_short() -> None:
    assert "Underfits" in said(np.linspace(0.0, 0.05, 8).tolist())


def test_a_rise_is_seen_through_noise_and_noise_is_seldom_called_one() -> None:
    noise = np.random.default_rng(1).normal(0, 0.002, (100, 12))
    rising = np.mean(["Underfits" in said((np.linspace(0.0, 0.05, 12) + each).tolist()) for each in noise])
    flat = np.mean(["Underfits" in said((0.04 + 3 * each).tolist()) for each in noise])
    assert rising > 0.9
    assert flat < 0.15


def test_a_plateau_is_nothing_learnt_on_either_days() -> None:
    flat = (0.04 + np.random.default_rng(0).normal(0, 0.002, 10)).tolist()
    assert "Plateau: nothing improved after epoch 6" in said(flat, train_rank=[0.05, 0.051] * 5)
    assert "Plateau" not in said(flat)


def test_a_growing_gradient() -> None:
    told = said(LEARNING.tolist(), grad_norm=[1, 1, 1, 2, 3, 4, 6, 8, 9, 10])
    assert "grew to 9.0 times that of the first epochs: lower optim.lr." in told


def test_a_score_around_zero_is_nothing_learnt() -> None:
    around = [0.002, -0.004, 0.003, -0.002, 0.004, -0.003, 0.001, -0.002]
    assert "cannot be told from zero" in said(around)
    assert "cannot be told" not in said(LEARNING.tolist())


def test_a_curve_that_lacks_a_term_or_epochs_is_judged_by_what_there_is() -> None:
    trees = History.of([0.04] * 4, [{"train/loss": 1.0}] * 4)
    assert all("gradient" not in sentence for sentence in trees.findings)
    assert History.of([0.1], [{}]).findings == ("1 epoch: a curve is judged from 4 on.",)
