"""Which policy prices what, and when: a coin thrown by hash for each product and period."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

Period = str | int | date


def assign(experiment: str, unit: str, period: Period, shares: Mapping[str, float]) -> str:
    """Arm of one unit in one period: the same answer in every process, for ever.

    The unit is a listing or a family of listings, never a customer: everyone who looks at a
    product at one moment sees one price.

    Args:
        experiment: its name; another name throws an independent coin.
        unit: listing id or family id. Variants of one product should share a family.
        period: the time for which a price is held constant: a day (`date` or "2026-03-01"), a week
            ("2026-W09") or a running number. A constant ("all") keeps one arm throughout;
            `compare` then takes one row a unit, not one a day.
        shares: arm -> share of the units, above 0, summing to 1. The order of the names is
            irrelevant. Changed shares move units between arms: start a new experiment instead.

    Formula: u = top 53 bits of blake2b-64(experiment, unit, period) / 2⁵³, each part preceded by
        its length; arm = the first, in alphabetical order, whose cumulative share exceeds u.

    Raises:
        ValueError: an empty name, shares that are no shares, or a moment given as the period.
    """
    return str(assign_many(experiment, [unit], period, shares)[0])


def assign_many(
    experiment: str,
    units: Sequence[str],
    periods: Period | Sequence[Period],
    shares: Mapping[str, float],
) -> NDArray[np.str_]:
    """Arms of many units, str (n,); one period for all of them or one for each. See `assign`.

    Takes about a microsecond a unit: hashing is per unit, the rest is vectorised.
    """
    names, edges = _edges(shares)
    single = isinstance(periods, str | int | date)
    spans: list[Period] = [periods] * len(units) if single else list(periods)  # type: ignore[list-item, arg-type]
    if len(spans) != len(units):
        raise ValueError(
            f"periods holds {len(spans)} values for {len(units)} units: give one period, or as "
            "many as units"
        )
    start = hashlib.blake2b(_part("experiment", experiment), digest_size=8)
    parts = {span: _period(span) for span in set(spans)}
    digests = bytearray()
    for unit, span in zip(units, spans, strict=True):
        throw = start.copy()
        throw.update(_part("unit", unit))
        throw.update(parts[span])
        digests += throw.digest()
    words = np.frombuffer(bytes(digests), dtype=">u8").astype(np.uint64)
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53  # (n,) in [0, 1)
    return np.asarray(names[np.searchsorted(edges, uniform, side="right")])


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise ValueError unless there are two or more named arms, shares above 0 that sum to 1."""
    if len(shares) < 2:
        raise ValueError(f"shares is {dict(shares)}: give at least two arms")
    for arm, share in shares.items():
        if not arm:
            raise ValueError(f"shares is {dict(shares)}: give every arm a name")
        if not share > 0:
            raise ValueError(f"shares[{arm!r}] is {share}: give a share above 0, or leave it out")
    total = sum(shares.values())
    if not abs(total - 1) < 1e-9:
        raise ValueError(f"shares sum to {total:g}: divide each by that, so that they sum to 1")


def _edges(shares: Mapping[str, float]) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    check_shares(shares)
    names = sorted(shares)
    edges = np.cumsum([shares[name] for name in names])[:-1]  # (arms − 1,)
    return np.array(names), edges


def _part(field: str, text: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise ValueError(f"{field} is {text!r}: give a name that is not empty")
    raw = text.encode()
    return len(raw).to_bytes(4, "big") + raw


def _period(period: Period) -> bytes:
    if isinstance(period, datetime):
        raise ValueError(
            f"period is {period!r}: give the day or week that the price is held for, not a moment"
        )
    return _part("period", period.isoformat() if isinstance(period, date) else str(period))
