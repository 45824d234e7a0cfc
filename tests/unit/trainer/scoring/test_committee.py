"""Several scorers as one: members by name, ranks averaged, every member there or named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from trainer.errors import CheckpointError, InputError
from trainer.scoring.committee import Committee, load_committee, mean_ranks, open_scorer, write_manifest
from trainer.scoring.scorer import Scorer, load_scorer
from trainer.training.checkpoint import MODEL
from trainer.training.loop import fit

WEIGHTS = {"night#1": 1.0, "night#7": 3.0}


def _by_hand(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Ranks as shares, a day and a horizon at a time."""
    shares = np.full(scores.shape, np.nan)
    for day in range(scores.shape[0]):
        for column in range(scores.shape[2]):
            known = np.isfinite(scores[day, :, column])
            shares[day, known, column] = (rankdata(scores[day, known, column]) - 1) / max(known.sum() - 1, 1)
    return shares


@pytest.fixture
def members(make_config: Any, make_data: Any, recorder: Any, tmp_path: Path) -> dict[str, Path]:
    """Two trainings with other widths, look-backs and seeds."""
    found = {}
    for number, (name, width) in enumerate(zip(WEIGHTS, (8, 12), strict=True)):
        folder = tmp_path / name
        settings = {"model.hidden_size": width, "model.window": 4 + number, "train.seed": number, "train.epochs": 1}
        fit(make_config(settings), make_data(), recorder(), folder)
        found[name] = folder / MODEL
    return found


@pytest.fixture
def manifest(members: dict[str, Path], tmp_path: Path) -> Path:
    path = tmp_path / "committee.json"
    write_manifest(path, members, WEIGHTS)
    return path


def test_scores_are_the_weighted_mean_of_the_members_daily_ranks(
    manifest: Path, members: dict[str, Path], make_panel: Any
) -> None:
    panel, days = make_panel(), range(30, 60)

    scores = load_committee(manifest, device="cpu").score(panel, days)

    alone = {name: _by_hand(load_scorer(path, device="cpu").score(panel, days)) for name, path in members.items()}
    np.testing.assert_allclose(scores, (alone["night#1"] + 3 * alone["night#7"]) / 4, atol=1e-6)
    assert np.isnan(scores).any()
    np.testing.assert_array_equal(np.isnan(scores).all(axis=2), ~panel.mask[30:60])


def test_weights_follow_the_names_whatever_the_order(manifest: Path, make_panel: Any) -> None:
    panel, days = make_panel(), range(30, 60)
    scores = load_committee(manifest, device="cpu").score(panel, days)
    content = json.loads(manifest.read_text())
    content["members"] = dict(reversed(content["members"].items()))
    manifest.write_text(json.dumps(content))

    np.testing.assert_allclose(load_committee(manifest, device="cpu").score(panel, days), scores, atol=1e-7)


def test_a_stock_that_a_member_does_not_score_is_judged_by_the_others() -> None:
    whole = np.array([[[0.1], [0.3], [0.2], [np.nan]]], dtype=np.float32)
    partly = np.array([[[5.0], [np.nan], [7.0], [np.nan]]], dtype=np.float32)

    mean = mean_ranks([(whole, 1.0), (partly, 1.0)])[0, :, 0]

    np.testing.assert_allclose(mean, [0.0, 1.0, 0.75, np.nan])


@pytest.mark.parametrize("harm", ["missing", "damaged", "foreign"])
def test_a_member_that_cannot_be_loaded_is_named(manifest: Path, members: dict[str, Path], harm: str) -> None:
    victim = members["night#7"]
    if harm == "missing":
        victim.unlink()
    elif harm == "damaged":
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(bytes(content))
    else:
        victim.write_bytes(b"something else")

    with pytest.raises(CheckpointError, match="night#7 cannot be loaded"):
        load_committee(manifest, device="cpu")


def test_members_of_other_horizons_do_not_score_together(
    members: dict[str, Path], make_config: Any, make_data: Any, recorder: Any, tmp_path: Path
) -> None:
    state = load_scorer(members["night#1"], device="cpu")
    other = Scorer(**{**vars(state), "horizons": (2, 3)})
    with pytest.raises(InputError, match="horizons"):
        Committee({"a": state, "b": other}, {"a": 1.0, "b": 1.0}).score(make_data().panel, range(30, 40))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": 2, "members": {}}',
        '{"format": 1, "members": {}}',
        '{"format": 1, "members": {"a": {"weight": 0, "checkpoint": "a.pt"}}}',
        '{"format": 1, "members": {"a": {"weight": "much", "checkpoint": "a.pt"}}}',
        '{"format": 1, "members": {"a": {"weight": NaN, "checkpoint": "a.pt"}}}',
        '{"format": 1, "members": ["a"]}',
    ],
)
def test_what_is_no_manifest_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "committee.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match="not a committee's manifest"):
        load_committee(path)


def test_manifest_and_members_may_be_moved_together(manifest: Path, make_panel: Any, tmp_path: Path) -> None:
    before = open_scorer(manifest, device="cpu").score(make_panel(), range(30, 60))
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)

    np.testing.assert_array_equal(
        open_scorer(moved / manifest.name, device="cpu").score(make_panel(), range(30, 60)), before
    )
