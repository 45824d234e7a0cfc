"""Forward returns on the global calendar, and their style-neutral residuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.cross_section import Groups, rank_normalise
from trainer.data.features import SMALLEST_SECTOR, traded_value
from trainer.data.market import Market, Wide
from trainer.data.rolling import moving_mean, moving_std, shift
from trainer.errors import InputError

MIN_LABELS = 10
"""A day with fewer labels has no style-neutral target."""


def forward_returns(close: Wide, horizons: Sequence[int], paid: Wide | None = None) -> Wide:
    """Close-to-close simple returns over the next h trading days: [D, S, H].

    A label ends at the last close within the h days, where the last of them has none: whoever held a stock that was
    suspended or delisted still holds what it was last worth. It is NaN where the day itself has no close, none of the
    h days has one, or the calendar ends before. paid: as `closes_and_payments` gives it, in place of close at the end.
    """
    ends = close if paid is None else paid
    position = np.where(np.isfinite(ends), np.arange(len(ends))[:, None], -1)
    latest = np.maximum.accumulate(position, axis=0)
    last = np.take_along_axis(ends, np.maximum(latest, 0), axis=0)
    targets = np.full((*close.shape, len(horizons)), np.nan)
    days = np.arange(len(close))[:, None]
    for column, horizon in enumerate(horizons):
        traded = shift(latest.astype(np.float64), -horizon) > days
        targets[..., column] = np.where(traded, shift(last, -horizon) / close - 1, np.nan)
    return targets


def closes_and_payments(market: Market) -> Wide:
    """The closes, and on the day after a row with a delisting return what was paid then, [D, S].

    A row with that return and no close is itself the day of the payment.
    """
    close = market.read("close")
    if "delisting_return" not in market.columns:
        return close
    returned = market.read("delisting_return")
    with_close, alone = np.isfinite(returned) & np.isfinite(close), np.isfinite(returned) & ~np.isfinite(close)
    paid = close.copy()
    amount = shift(np.where(with_close, close * (1 + returned), np.nan), 1)
    paid = np.where(np.isfinite(amount) & ~np.isfinite(close), amount, paid)
    position = np.maximum.accumulate(np.where(np.isfinite(close), np.arange(len(close))[:, None], 0), axis=0)
    before = np.take_along_axis(close, position, axis=0)
    return np.where(alone & np.isfinite(before), before * (1 + returned), paid)


def daily_returns(market: Market) -> NDArray[np.float32]:
    """Return into the day [D, S]: from the closes, else from `target_1d` of the day before, else unknown (NaN)."""
    if "close" in market.columns:
        close = market.read("close")
        return (close / shift(close, 1) - 1).astype(np.float32)
    if "target_1d" in market.columns:
        return shift(market.read("target_1d"), 1).astype(np.float32)
    return np.full((len(market.dates), len(market.symbols)), np.nan, dtype=np.float32)


def raw_targets(market: Market, horizons: Sequence[int]) -> Wide:
    """Forward returns [D, S, H]: each horizon from its `target_{h}d` column where there is one, else from closes."""
    from_close = [h for h in horizons if f"target_{h}d" not in market.columns]
    if from_close and "close" not in market.columns:
        raise InputError(
            f"{market.name}: column 'target_{from_close[0]}d' is missing, and so is 'close', from which it could "
            "be made; add one of them or change data.horizons."
        )
    made = forward_returns(market.read("close"), from_close, closes_and_payments(market)) if from_close else None
    columns = []
    for horizon in horizons:
        if made is not None and horizon in from_close:
            columns.append(made[..., from_close.index(horizon)])
        else:
            columns.append(market.read(f"target_{horizon}d"))
    return np.stack(columns, axis=-1)


def make_targets(market: Market, mask: NDArray[np.bool_], horizons: Sequence[int]) -> Mapping[str, NDArray[np.float32]]:
    """All variants named in `panel.TARGETS`, float32 [D, S, H].

    One close later means the label of the next day: entered at its close, so it ends a day later too.
    """
    raw = raw_targets(market, horizons)
    raw[~mask] = np.nan
    late = np.full_like(raw, np.nan)
    late[:-1] = raw_targets(market, horizons)[1:]
    late[~mask] = np.nan
    styles = style_ranks(market, mask)
    groups = Groups(market.sectors, mask, SMALLEST_SECTOR)
    return {
        "raw": raw.astype(np.float32),
        "neutral": neutralise(raw, styles, groups),
        "lag1": late.astype(np.float32),
        "neutral_lag1": neutralise(late, styles, groups),
    }


def style_ranks(market: Market, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Ranks of volatility (20 days), momentum (120 days less the last 20) and liquidity (traded value, 20 days).

    [D, S, K], each as far as its columns are there; 0 (the middle) where a stock has too little history.
    """
    returns = daily_returns(market).astype(np.float64)
    styles: list[Wide] = []
    if np.isfinite(returns).any():
        styles.append(moving_std(returns, 20))
        styles.append(moving_mean(shift(np.log1p(np.maximum(returns, -0.99)), 20), 100))
    if {"close", "volume"} <= set(market.columns):
        styles.append(moving_mean(traded_value(market), 20))
    ranked = [rank_normalise(style, mask).astype(np.float64) for style in styles]
    return np.stack(ranked, axis=-1) if ranked else np.zeros((*mask.shape, 0))


def neutralise(targets: Wide, styles: NDArray[np.float64], groups: Groups) -> NDArray[np.float32]:
    """Residuals of each day's labels, regressed on the style ranks and group dummies over that day's labelled stocks.

    targets: [D, S, H]; styles: [D, S, K]. Groups are taken out first (Frisch-Waugh-Lovell), then the
    styles by least squares of minimum norm. NaN without a label, on days with fewer than MIN_LABELS of them, and for
    a stock that is alone in its group (nothing of its label is left).
    """
    residuals = np.full(targets.shape, np.nan, dtype=np.float32)
    for column in range(targets.shape[-1]):
        label = targets[..., column]
        valid = np.isfinite(label)
        inside = np.where(valid, label - groups.mean(np.nan_to_num(label), valid), 0.0)
        left = (
            np.stack(
                [
                    np.where(valid, styles[..., k] - groups.mean(styles[..., k], valid), 0.0)
                    for k in range(styles.shape[-1])
                ],
                axis=-1,
            )
            if styles.shape[-1]
            else styles
        )
        gram = np.einsum("dsk,dsj->dkj", left, left, optimize=True)
        moment = np.einsum("dsk,ds->dk", left, inside, optimize=True)
        slopes = np.einsum("dkj,dj->dk", np.linalg.pinv(gram, rcond=1e-9, hermitian=True), moment)
        residual = inside - np.einsum("dsk,dk->ds", left, slopes)
        company = groups.total(valid) > 1
        enough = valid.sum(axis=1, keepdims=True) >= MIN_LABELS
        residuals[..., column] = np.where(valid & company & enough, residual, np.nan)
    return residuals
