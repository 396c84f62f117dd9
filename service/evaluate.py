"""Other policies' profit, estimated from this service's log; the log is only read."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import minor_per_major
from bandits.evidence import DAY_US
from evaluation.impressions import elasticity_of_mass
from evaluation.logged import Logged, Unanswerable
from evaluation.off_policy import Evaluation, evaluate
from evaluation.overlap import FINEST
from evaluation.targets import TARGETS, Menus
from service import log
from service.fields import microseconds

NO_OUTCOME = "without outcomes so far"
NO_CHOICE = "drawn without chance (explore was false, or one price was allowed)"
NO_EXPECTED = "of a version that did not keep expected gains"
NO_PREDICTION = (
    "decisions do not say what profit was expected of the day (priced over a stock, for an "
    "objective of their own, or by an earlier version)"
)

_PROFIT = None, '"profit"'
"""Objectives, as the log spells them, under which what is expected is profit."""

_d = log.decisions.c
_PART = 20_000  # decisions that are read at once


class LogUnreadable(ValueError):
    """No log of this service can be read there; the message says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Decisions in one currency that can be learned from, with their outcomes so far.

    Attributes:
        currency: ISO 4217 code.
        logged: profit per impression and draw; mass: impressions; group: one draw for a family.
        menus: the ladders. listing: of each row, int64 (n,).
        expected: profit per impression that the policy expected of each arm at the time, float64
            (n, k), 0 beyond the ladder; None where that was not always kept.
        unpredicted: decisions of which it was not.
        left_out: reason -> decisions.
    """

    currency: str
    logged: Logged
    menus: Menus
    listing: NDArray[np.int64]
    expected: NDArray[np.float64] | None
    unpredicted: int
    left_out: dict[str, int]


def report(
    url: str,
    policy: str,
    currency: str | None = None,
    markup: float = 2.0,
    method: Literal["student", "bca"] = "student",
    since: date | None = None,
    until: date | None = None,
) -> dict[str, Any]:
    """What `policy` would have earned where this service decided, ready for JSON.

    Args:
        url: SQLAlchemy URL of the log; the service may be running on it.
        policy: one of `evaluation.targets.TARGETS`.
        currency: needed where the log holds several.
        markup: price over unit cost, of `cost-plus`.
        method: of the intervals, see `evaluation.off_policy.evaluate`.
        since, until: first and last day (UTC) of the decisions asked about; None for all.

    Raises:
        Unanswerable: the log has too little to say; each reason says why and what to do.
        LogUnreadable: there is no log at `url`.
        ValueError: there is no such policy, or `markup` is not above 0 and finite.
    """
    if policy not in TARGETS:
        raise ValueError(f"policy is {policy!r}: give one of {', '.join(TARGETS)}")
    if not 0 < markup < math.inf:
        raise ValueError(f"markup is {markup:g}: give price over unit cost, above 0 and finite")
    if since and until and since > until:
        raise ValueError(f"since is {since}, after until, {until}: change one of them")
    draws = read_draws(url, currency, expecting=policy == "greedy", since=since, until=until)
    target = TARGETS[policy](draws.menus, markup)
    try:
        found = evaluate(draws.logged, target, draws.expected, method=method)
    except Unanswerable as refusal:
        if not draws.unpredicted:
            raise
        missing = f"there are no predictions to go by: {draws.unpredicted} {NO_PREDICTION}."
        raise Unanswerable([*refusal.reasons, missing]) from None
    answer = elasticity_of_mass(draws.logged, draws.menus.price, draws.listing)
    return {
        "policy": policy,
        "currency": draws.currency,
        "decisions": len(draws.logged),
        "impressions": int(draws.logged.masses.sum()),
        "left_out": draws.left_out,
        "without_predictions": draws.unpredicted,
        "impressions_elasticity": asdict(answer) if answer else None,
        **_spelled(found),
    }


def _spelled(found: Evaluation) -> dict[str, Any]:
    return {
        "level": found.level,
        "logged": asdict(found.logged),
        "weights": asdict(found.weights),
        "estimates": {
            name: {
                "value": asdict(estimate.value),
                "gain": asdict(estimate.gain),
                "tuned": None if estimate.tuned in (None, float("inf")) else estimate.tuned,
                "left_out": estimate.left_out,
            }
            for name, estimate in found.estimates.items()
        },
    }


def read_draws(
    url: str,
    currency: str | None = None,
    *,
    expecting: bool = False,
    since: date | None = None,
    until: date | None = None,
) -> Draws:
    """Read decisions with their outcomes; raises as `report` does.

    Args:
        expecting: only those of which is known what was expected. since, until: as `report`.
    """
    rows = _rows(url, since, until)
    seen = np.unique(rows.currency[rows.impressions > 0]).tolist()
    if not len(rows.currency):
        if since or until:
            raise Unanswerable(
                [f"the log holds no decision from {since or 'the start'} to {until or 'the end'}"]
            )
        raise Unanswerable(["the log holds no decision: price something first."])
    if not seen:
        raise Unanswerable(
            [
                f"none of {len(rows.currency)} decisions has an outcome with impressions: report "
                "outcomes first (POST /v1/outcomes)."
            ]
        )
    if currency is None and len(seen) > 1:
        counts = ", ".join(f"{c} ({(rows.currency == c).sum()} decisions)" for c in seen)
        raise Unanswerable(
            [f"the log holds {counts}: money in different currencies has no sum; name a currency."]
        )
    currency = seen[0] if currency is None else currency
    if currency not in seen:
        raise Unanswerable(
            [f"no decision in {currency!r} has an outcome: the log has them in {', '.join(seen)}."]
        )
    return _draws(rows.of(rows.currency == currency), currency, expecting)


def _draws(rows: _Rows, currency: str, expecting: bool) -> Draws:
    """Rows of one currency as draws; those that tell nothing are counted and left out."""
    group = np.unique(rows.draw, return_inverse=True)[1]
    shared = np.zeros((group.max() + 1, rows.price.shape[1]))
    # a family's price is chosen by what all members expect, each as often as it is looked at
    np.add.at(shared, group, rows.expected * rows.weight[:, None])
    left = rows.silent & expecting
    seen = rows.impressions > 0
    alone = (rows.chance > FINEST).sum(1) == 1
    kept = seen & ~alone & ~left
    left_out = {
        NO_OUTCOME: int((~seen).sum()),
        NO_CHOICE: int((seen & alone).sum()),
        NO_EXPECTED: int((seen & ~alone & left).sum()),
    }
    if not kept.any():
        counts = ", ".join(f"{n} {reason}" for reason, n in left_out.items() if n)
        raise Unanswerable([f"no decision in {currency} can be learned from: {counts}."])
    rows, group = rows.of(kept), group[kept]
    money = rows.price / minor_per_major([currency])[0]
    # without a cost the objective is revenue, as it is when prices are chosen
    margin = np.take_along_axis(money, rows.arm[:, None], 1)[:, 0] - np.nan_to_num(rows.cost)
    logged = Logged(
        action=rows.arm,
        reward=rows.net * margin / rows.impressions,
        propensity=rows.propensity,
        n_actions=money.shape[1],
        propensities=rows.chance,
        mass=rows.impressions,
        group=group,
    )
    there = np.arange(money.shape[1]) < rows.length[:, None]
    expected = shared[group]
    money[~there] = expected[~there] = np.nan
    menus = Menus(money, rows.chance, expected, rows.cost)
    unpredicted = int((rows.silent | rows.other).sum())
    predicted = None if unpredicted else rows.expected
    listing = np.unique(rows.listing, return_inverse=True)[1]
    return Draws(currency, logged, menus, listing, predicted, unpredicted, left_out)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Decisions with the sums of their outcomes, (n,) each; of ladders (n, k), zeros behind them.

    Attributes:
        draw: id of the decision that drew, bytes. length: of the ladder. silent: nothing is kept of
            what was expected, of which zeros hold the place. other: what was expected is a gain
            over stock that is left, or of another objective: no prediction of today's profit.
        net: units less those returned. impressions: 0 where there is no outcome.
    """

    draw: NDArray[np.bytes_]
    listing: NDArray[np.int64]
    currency: NDArray[np.str_]
    cost: NDArray[np.float64]
    arm: NDArray[np.int64]
    propensity: NDArray[np.float64]
    weight: NDArray[np.float64]
    impressions: NDArray[np.float64]
    net: NDArray[np.float64]
    length: NDArray[np.int64]
    silent: NDArray[np.bool_]
    other: NDArray[np.bool_]
    price: NDArray[np.int64]
    expected: NDArray[np.float64]
    chance: NDArray[np.float64]

    def of(self, kept: NDArray[np.bool_]) -> _Rows:
        if kept.all():
            return self
        return _Rows(*(getattr(self, field.name)[kept] for field in fields(self)))


def _part(rows: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Rows of the log as the columns of `_Rows`."""
    told = [row.expected_gains for row in rows]
    hollow = [gains or bytes(len(row.ladder)) for gains, row in zip(told, rows, strict=True)]
    other = [row.objective not in _PROFIT or row.plan is not None for row in rows]
    return {
        "draw": np.array([(row.drawn_with or row.id).encode() for row in rows], np.bytes_),
        "listing": np.array([row.listing for row in rows], np.int64),
        "currency": np.array([row.currency for row in rows], np.str_),
        "cost": np.array([row.unit_cost for row in rows], np.float64),
        "arm": np.array([row.arm for row in rows], np.int64),
        "propensity": np.array([row.propensity for row in rows], np.float64),
        "weight": np.array([1 if row.weight is None else row.weight for row in rows], np.float64),
        "impressions": np.array([row.impressions or 0 for row in rows], np.float64),
        "net": np.array([(row.units or 0) - (row.returned or 0) for row in rows], np.float64),
        "length": np.array([len(row.ladder) // 8 for row in rows], np.int64),
        "silent": np.array([gains is None for gains in told], np.bool_),
        "other": np.array(other, np.bool_),
        "price": _padded([row.ladder for row in rows], np.int64),
        "expected": _padded(hollow, np.float64),
        "chance": _padded([row.propensities for row in rows], np.float64),
    }


def _padded(blobs: list[bytes], dtype: Any) -> NDArray[Any]:
    """Ladders of unlike lengths as one array, (n, k), zeros behind."""
    lengths = np.array([len(blob) // 8 for blob in blobs], np.int64)
    there = np.arange(lengths.max(initial=0)) < lengths[:, None]
    padded = np.zeros(there.shape, dtype)
    padded[there] = np.frombuffer(b"".join(blobs), dtype)
    return padded


def _joined(parts: list[dict[str, NDArray[Any]]]) -> _Rows:
    """Parts one below the other; they are emptied, so that no more than a column is held twice."""
    wide = max(part["price"].shape[1] for part in parts)
    columns = {}
    for name in list(parts[0]):
        cells = [part.pop(name) for part in parts]
        if cells[0].ndim == 2:
            cells = [np.pad(some, ((0, 0), (0, wide - some.shape[1]))) for some in cells]
        columns[name] = np.concatenate(cells)
    return _Rows(**columns)


def _rows(url: str, since: date | None, until: date | None) -> _Rows:
    """Decisions with the sums of their outcomes, read in parts: as rows all take twice the room."""
    outcomes = log.told_by_decision()
    query = sa.select(
        _d.id, _d.drawn_with, _d.listing, _d.currency, _d.unit_cost, _d.arm, _d.propensity,
        _d.ladder, _d.expected_gains, _d.weight, _d.objective, _d.plan, _d.propensities,
        outcomes.c.impressions, outcomes.c.units, outcomes.c.returned,
    ).select_from(log.decisions.outerjoin(outcomes, outcomes.c.decision_id == _d.id))  # fmt: skip
    if since is not None:
        query = query.where(_d.at >= microseconds(since))
    if until is not None:
        query = query.where(_d.at < microseconds(until) + DAY_US)
    engine = reader(url)
    try:
        with engine.connect().execution_options(stream_results=True) as conn:
            parts = conn.execute(query.order_by(_d.id)).partitions(_PART)
            return _joined([_part(rows) for rows in parts] or [_part([])])
    except sa.exc.DBAPIError as error:
        raise unreadable(engine, error) from None
    finally:
        engine.dispose()


def unreadable(engine: sa.Engine, error: sa.exc.DBAPIError) -> LogUnreadable:
    """What to say of a database that is no log of this version."""
    return LogUnreadable(
        f"{engine.url!r} cannot be read as this service's log: {error.orig}. Check --home or "
        "--log; a log of an older version is brought up to date when the service starts, and one "
        "that lies where nothing can be written is read from a copy."
    )


def reader(url: str) -> sa.Engine:
    """An engine that cannot write, whoever else may be writing."""
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() != "sqlite":
            options = {"postgresql_readonly": True}
            engine = sa.create_engine(parsed, hide_parameters=True, execution_options=options)
            sa.event.listen(engine, "connect", log.lift_time_limits)
            return engine
    except (sa.exc.ArgumentError, ModuleNotFoundError, ValueError) as error:  # ports are numbers
        raise LogUnreadable(
            f"--log is no URL that can be read ({error}): give one such as "
            "sqlite:////home/shop/log.sqlite3 or postgresql://user@host/db"
        ) from None
    path = Path(parsed.database or "").absolute()
    if not path.is_file():
        raise LogUnreadable(f"{path}: no log there; check --home or --log")

    def connect() -> sqlite3.Connection:
        mode = "mode=ro"
        # reading beside a writer takes files of its own, for which a copy on a medium that is read
        # only has no room; without a write-ahead log nobody writes
        if not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists():
            mode += "&immutable=1"
        return sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=10)

    return sa.create_engine(parsed, creator=connect, hide_parameters=True)
