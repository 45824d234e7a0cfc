"""Training runs: exact resume, seeds, verdicts, typed failures, folds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.errors import DeviceMemoryError, InputError, MissingMetricError, NonFiniteError
from trainer.reports import Ending
from trainer.scoring.scorer import evaluate, load_scorer
from trainer.training import checkpoint
from trainer.training.folds import FoldRun
from trainer.training.loop import fit
from trainer.training.schedules import Schedule


def same(left: Any, right: Any) -> bool:
    """Equal to the last bit, whatever is nested in what."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left.nan_to_num(), right.nan_to_num()) if left.is_floating_point() else left.equal(right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def without_clock(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without the wall-clock figures."""
    reports = [
        {
            **{key: value for key, value in report.items() if key != "seconds"},
            "metrics": {key: value for key, value in report["metrics"].items() if not key.startswith("system/")},
        }
        for report in state["reports"]
    ]
    return {**state, "reports": reports}


RESUMED = [
    {"optim.name": "adamw", "model.dropout": 0.3},
    {"optim.name": "sgd", "optim.schedule": "one_cycle"},
    {"optim.name": "lamb", "optim.schedule": "polynomial"},
    {"optim.name": "lion", "train.ema_decay": 0.9},
    {"optim.name": "lars", "optim.schedule": "exponential"},
    {"optim.name": "sam", "train.swa_fraction": 0.5},
    {"optim.name": "lookahead", "optim.clip_adaptive": 0.01},
    {"optim.name": "ranger", "optim.schedule": "plateau", "optim.plateau_patience": 0, "optim.lr": 0.3},
    {"train.accumulate": 2, "train.precision": "bf16", "model.kind": "atft_gat_fan", "model.num_neighbours": 3},
]


@pytest.mark.parametrize("settings", RESUMED, ids=lambda s: "-".join(map(str, s.values())))
def test_a_killed_run_ends_where_the_undisturbed_one_ends(
    settings: dict[str, Any], make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config, data = make_config({"train.epochs": 10, **settings}), make_data(days=60, stocks=16)
    whole = fit(config, data, recorder(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(config, data, recorder(die_after=4), tmp_path / "killed")
    again = recorder()
    resumed = fit(config, data, again, tmp_path / "killed")
    assert [report.epoch for report in again.reports] == list(range(1, 11))
    assert (resumed.score, resumed.last_epoch, resumed.ending) == (whole.score, whole.last_epoch, whole.ending)
    left, right = (without_clock(checkpoint.load(tmp_path / run / checkpoint.LAST)) for run in ("whole", "killed"))
    assert same(left, right)
    left, right = (checkpoint.load(tmp_path / run / checkpoint.MODEL) for run in ("whole", "killed"))
    assert same(left, right)


def test_a_plateau_is_one_of_the_monitored_score(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    monkeypatch.setattr(Schedule, "epoch_ended", lambda _, score: told.append(score))
    watching = recorder()
    fit(make_config({"optim.schedule": "plateau"}), make_data(), watching, tmp_path)
    assert told == [report.score for report in watching.reports]
    assert len(set(told)) == 4


def test_the_model_is_written_anew_where_only_the_last_checkpoint_was_carried_over(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config, data = make_config(), make_data()
    fit(config, data, recorder(), tmp_path / "first")
    model = checkpoint.load(tmp_path / "first" / checkpoint.MODEL)
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / checkpoint.LAST).rename(tmp_path / "second" / checkpoint.LAST)
    fit(config, data, recorder(), tmp_path / "second")
    assert same(checkpoint.load(tmp_path / "second" / checkpoint.MODEL), model)


@pytest.mark.parametrize("settings", [{}, {"train.ema_decay": 0.9}, {"train.swa_fraction": 0.5}])
def test_the_model_is_what_the_last_epoch_was_judged_by(
    settings: dict[str, Any], make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config, data = make_config({"optim.lr": 0.05, "train.epochs": 8, **settings}), make_data(signal=0.0)
    heard = recorder()
    result = fit(config, data, heard, tmp_path)
    scores = [report.score for report in heard.reports]
    assert max(scores) > scores[-1], "an epoch before the last one is the luckiest"
    scorer = load_scorer(tmp_path / checkpoint.MODEL, device="cpu")
    assert result.last_epoch == scorer.epoch == 8
    daily = evaluate(scorer, data.panel, data.folds[0].valid)
    for name, series in heard.reports[-1].daily.items():
        np.testing.assert_array_equal(daily[name], series)


@pytest.mark.parametrize("stop_at", [2, 5])
def test_an_epoch_that_is_answered_stop_leaves_no_mark_in_the_model(
    stop_at: int, make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config, data = make_config({"train.epochs": 8}), make_data()
    taken = stop_at - 1
    heard = recorder(die_after=taken)
    with pytest.raises(KeyboardInterrupt):
        fit(config, data, heard, tmp_path / "before")
    before = checkpoint.load(tmp_path / "before" / checkpoint.MODEL)
    assert before["epoch"] == taken

    for _ in range(2):  # also when it goes on from a last checkpoint that has the epoch
        result = fit(config, data, recorder(stop_at=stop_at), tmp_path / "stopped")
        assert result.last_epoch == taken
        assert same(checkpoint.load(tmp_path / "stopped" / checkpoint.MODEL), before)


def test_a_stop_within_an_epoch_leaves_the_model_of_the_one_before(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config, data = make_config({"train.epochs": 8}), make_data()
    whole = recorder()
    fit(config, data, whole, tmp_path / "whole")
    counted = recorder(die_after=3, polls=10**9)
    with pytest.raises(KeyboardInterrupt):
        fit(config, data, counted, tmp_path / "counted")
    asked = 10**9 - counted.polls
    heard = recorder(polls=asked + 1)  # one optimizer step of the fourth epoch is taken
    result = fit(config, data, heard, tmp_path / "stopped")
    assert (result.ending, result.last_epoch, len(heard.reports)) == (Ending.STOPPED, 3, 3)
    daily = evaluate(load_scorer(tmp_path / "stopped" / checkpoint.MODEL, "cpu"), data.panel, data.folds[0].valid)
    np.testing.assert_array_equal(daily["rank_ic_1d"], whole.reports[2].daily["rank_ic_1d"])


def test_a_damaged_checkpoint_costs_one_epoch(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, data = make_config(), make_data()
    whole = fit(config, data, recorder(), tmp_path)
    last = tmp_path / checkpoint.LAST
    last.write_bytes(last.read_bytes()[:-100])
    again = fit(config, data, recorder(), tmp_path)
    assert "damaged" in caplog.text
    assert [report.score for report in again.reports] == [report.score for report in whole.reports]
    for name in (checkpoint.LAST, checkpoint.PREVIOUS):
        (tmp_path / name).write_bytes(b"nothing")
    anew = recorder()
    assert fit(config, data, anew, tmp_path).score == whole.score
    assert len(anew.reports) == config.train.epochs


def test_a_seed_decides_everything(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> None:
    data = make_data()
    scores = [
        [report.score for report in fit(make_config({"train.seed": seed}), data, recorder(), tmp_path / name).reports]
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    ]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]


def test_a_run_leaves_the_callers_random_state_and_threads_alone(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(make_config({"train.epochs": 1, "train.threads": 2}), make_data(), recorder(), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 1


def test_stop_ends_the_run(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> None:
    config, data = make_config(), make_data()
    first = recorder(stop_at=2)
    result = fit(config, data, first, tmp_path / "report")
    assert (result.ending, len(result.reports), len(first.reports)) == (Ending.STOPPED, 2, 2)
    replayed = recorder(stop_at=2)
    assert fit(config, data, replayed, tmp_path / "report").ending is Ending.STOPPED
    assert len(replayed.reports) == 2
    at_once = recorder(polls=1)
    result = fit(config, data, at_once, tmp_path / "poll")
    assert (result.ending, result.reports, at_once.reports) == (Ending.STOPPED, (), [])
    assert not (tmp_path / "poll" / checkpoint.LAST).exists()


def test_early_stopping_waits_for_patience(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> None:
    settings = {"train.epochs": 30, "train.patience": 3, "train.score_epochs": 1, "optim.lr": 0.05}
    data = make_data(signal=0.0)
    result = fit(make_config(settings), data, recorder(), tmp_path)
    scores = [report.score for report in result.reports]
    assert result.ending is Ending.EARLY_STOPPED
    assert int(np.argmax(scores)) + 1 == len(scores) - 3
    assert result.last_epoch == len(scores)
    assert fit(make_config(settings), data, recorder(), tmp_path).ending is Ending.EARLY_STOPPED


def test_the_score_is_the_mean_of_the_last_epochs(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    result = fit(make_config({"train.epochs": 6}), make_data(signal=0.2), recorder(), tmp_path)
    assert result.score == pytest.approx(np.mean([report.score for report in result.reports[-3:]]))
    assert checkpoint.load(tmp_path / checkpoint.MODEL)["epoch"] == result.last_epoch == 6


def test_a_gradient_that_is_not_finite_ends_the_run_before_the_step(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    data = make_data()
    features = data.panel.features.copy()
    features[10, data.panel.mask[10]] = np.inf
    spoilt = replace(data, panel=replace(data.panel, features=features))
    with pytest.raises(NonFiniteError, match="not finite"):
        fit(make_config(), spoilt, recorder(), tmp_path)
    assert not (tmp_path / checkpoint.LAST).exists()


def test_a_second_gradient_that_is_not_finite_ends_the_run_too(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAM computes it at perturbed weights, where the loss may overflow though it did not before."""
    real, calls = FoldRun.gradient, 0

    def overflows(run: FoldRun, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        scalars = real(run, *args)
        return {**scalars, "grad_norm": scalars["grad_norm"] * torch.inf} if calls % 2 == 0 else scalars

    monkeypatch.setattr(FoldRun, "gradient", overflows)
    with pytest.raises(NonFiniteError, match="not finite"):
        fit(make_config({"optim.name": "sam"}), make_data(), recorder(), tmp_path)


def test_a_metric_that_cannot_be_computed_is_a_failure(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    with pytest.raises(MissingMetricError, match="rank_ic"):
        fit(make_config(), make_data(stocks=8), recorder(), tmp_path)


def test_wrong_settings_are_one_sentence(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> None:
    data = make_data()
    with pytest.raises(InputError, match=r"train\.monitor='rank_ic_5'.*did you mean 'rank_ic_5d'"):
        fit(make_config({"train.monitor": "rank_ic_5"}), data, recorder(), tmp_path)
    with pytest.raises(InputError, match="not a device"):
        fit(make_config({"train.device": "abacus"}), data, recorder(), tmp_path)
    fit(make_config({"train.epochs": 1}), data, recorder(), tmp_path)
    with pytest.raises(InputError, match=r"train\.epochs=1, not 2"):
        fit(make_config({"train.epochs": 2}), data, recorder(), tmp_path)
    unlabelled = {name: np.full_like(target, np.nan) for name, target in data.panel.targets.items()}
    with pytest.raises(InputError, match="no labelled stock-day"):
        fit(make_config(), replace(data, panel=replace(data.panel, targets=unlabelled)), recorder(), tmp_path / "other")


def test_folds_advance_in_lockstep_and_are_averaged(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config, data = make_config({"train.epochs": 2}), make_data(folds=2, days=120)
    both = fit(config, data, recorder(), tmp_path / "both").reports[-1]
    series = both.daily["rank_ic_1d"]
    lengths = [len(fold.valid) for fold in data.folds]
    assert len(series) == sum(lengths)
    halves = series[: lengths[0]], series[lengths[0] :]
    assert both.metrics["valid/rank_ic_1d"] == pytest.approx(np.mean([np.nanmean(half) for half in halves]), abs=1e-6)
    alone = fit(config, replace(data, folds=data.folds[:1]), recorder(), tmp_path / "alone").reports[0]
    assert not math.isnan(alone.score)
    assert len(checkpoint.load(tmp_path / "both" / checkpoint.MODEL)["weights"]) == 2


def test_an_epoch_tells_all_there_is_to_watch(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> None:
    report = fit(make_config({"train.epochs": 1}), make_data(), recorder(), tmp_path).reports[0]
    expected = {"train/loss", "train/loss_mse", "train/loss_rank_ic", "train/grad_norm", "train/lr", "valid/loss"}
    for prefix in ("", "neutral_", "lag1_", "neutral_lag1_"):
        expected |= {f"valid/{prefix}rank_ic", f"valid/{prefix}rank_ic_1d", f"valid/{prefix}icir_5d"}
        assert report.daily[f"{prefix}rank_ic_5d"].shape == (30,)
    assert expected | {"system/samples_per_second"} <= report.metrics.keys()
    assert all(map(math.isfinite, report.metrics.values()))


@pytest.mark.parametrize(("signal", "low", "high"), [(3.0, 0.5, 1.0), (0.0, -0.12, 0.12)])
def test_signal_is_found_and_noise_is_not(
    signal: float, low: float, high: float, make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    config = make_config({"train.epochs": 8, "optim.lr": 1e-2})
    assert low < fit(config, make_data(signal=signal, days=150), recorder(), tmp_path).score < high


def test_a_device_without_memory_is_a_typed_failure_that_leaves_the_batch_alone(
    make_config: Any, make_data: Any, recorder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a capacity of 79 GiB")
    calls = []

    def gradient(*_: object) -> None:
        calls.append(1)
        raise full

    monkeypatch.setattr(FoldRun, "gradient", gradient)
    with pytest.raises(DeviceMemoryError, match=r"out of memory on cpu: lower train\.batch_size") as caught:
        fit(make_config(), make_data(), recorder(), tmp_path)
    assert (caught.value.reason, caught.value.__cause__, len(calls)) == ("out_of_memory", full, 1)
