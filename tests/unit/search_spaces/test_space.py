"""Spaces hold together: no name twice, nothing both held and searched."""

from __future__ import annotations

import pytest

from search_spaces import ChoiceDimension, Dimension, FloatDimension, Space, SpaceError, Tier, Value

LR = FloatDimension(name="optim.lr", low=1e-4, high=1e-2, log=True, default=1e-3)
WIDTH = ChoiceDimension(name="model.hidden_size", choices=(16, 32), ordered=True, default=16)
HEADS = ChoiceDimension(name="model.num_heads", choices=(2, 4), ordered=True, default=2)


def space(*tiers: tuple[str, tuple[Dimension, ...]], settings: dict[str, Value] | None = None) -> Space:
    return Space("s", settings or {}, tuple(Tier(name, dimensions) for name, dimensions in tiers))


def test_defaults_follow_the_tiers() -> None:
    both = space(("one", (LR,)), ("two", (HEADS, WIDTH)))
    assert list(both.defaults().items()) == [("optim.lr", 1e-3), ("model.num_heads", 2), ("model.hidden_size", 16)]


def test_a_dimension_belongs_to_one_tier() -> None:
    with pytest.raises(SpaceError, match=r"dimension 'optim\.lr' appears twice"):
        space(("one", (LR,)), ("two", (LR,)))


def test_a_tier_needs_a_name_of_its_own_and_a_dimension() -> None:
    with pytest.raises(SpaceError, match="tier 'one' appears twice"):
        space(("one", (LR,)), ("one", (WIDTH,)))
    with pytest.raises(SpaceError, match="tier 'one' is empty"):
        space(("one", ()))
    with pytest.raises(SpaceError, match="'refinement': this name belongs"):
        space(("refinement", (LR,)))
    with pytest.raises(SpaceError, match="lower-case"):
        space(("one/two", (LR,)))
    with pytest.raises(SpaceError, match="at least one tier"):
        space()


def test_nothing_is_both_held_and_searched() -> None:
    with pytest.raises(SpaceError, match=r"'optim\.lr' is searched as a dimension too"):
        space(("one", (LR,)), settings={"optim.lr": 1e-3})


def test_the_fingerprint_sees_everything_but_the_name() -> None:
    base = space(("one", (LR,)), settings={"train.epochs": 3})
    assert base.fingerprint() == Space("other", {"train.epochs": 3}, base.tiers).fingerprint()
    wider = FloatDimension(name="optim.lr", low=1e-4, high=2e-2, log=True, default=1e-3)
    others = [
        space(("one", (wider,)), settings={"train.epochs": 3}),
        space(("one", (LR,)), settings={"train.epochs": 4}),
        space(("uno", (LR,)), settings={"train.epochs": 3}),
    ]
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 4


def test_settings_cannot_be_changed_afterwards() -> None:
    settings: dict[str, Value] = {"train.epochs": 3}
    frozen = space(("one", (LR,)), settings=settings)
    settings["train.epochs"] = 4
    assert frozen.settings["train.epochs"] == 3
    with pytest.raises(TypeError):
        frozen.settings["train.epochs"] = 4  # type: ignore[index]  # the point of the test
