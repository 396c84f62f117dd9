"""Other policies' profit, estimated from this service's log; the log is only read."""

from __future__ import annotations

import math
import os
import sqlite3
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import minor_per_major
from bandits.evidence import DAY_US
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


class LogUnreadable(ValueError):
    """No log of this service can be read there; the message says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Decisions in one currency that can be learned from, with their outcomes so far.

    Attributes:
        currency: ISO 4217 code.
        logged: profit per impression and draw; mass: impressions; group: one draw for a family.
        menus: the ladders. expected: profit per impression that the policy expected of each arm
            at the time, float64 (n, k), 0 beyond the ladder; None where that was not always kept.
        unpredicted: decisions of which it was not.
        left_out: reason -> decisions.
    """

    currency: str
    logged: Logged
    menus: Menus
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
    return {
        "policy": policy,
        "currency": draws.currency,
        "decisions": len(draws.logged),
        "impressions": int(draws.logged.masses.sum()),
        "left_out": draws.left_out,
        "without_predictions": draws.unpredicted,
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
    seen = sorted({row.currency for row in rows if row.impressions})
    if not rows:
        if since or until:
            raise Unanswerable(
                [f"the log holds no decision from {since or 'the start'} to {until or 'the end'}"]
            )
        raise Unanswerable(["the log holds no decision: price something first."])
    if not seen:
        raise Unanswerable(
            [
                f"none of {len(rows)} decisions has an outcome with impressions: report outcomes "
                "first (POST /v1/outcomes)."
            ]
        )
    if currency is None and len(seen) > 1:
        counts = ", ".join(f"{c} ({sum(r.currency == c for r in rows)} decisions)" for c in seen)
        raise Unanswerable(
            [f"the log holds {counts}: money in different currencies has no sum; name a currency."]
        )
    currency = seen[0] if currency is None else currency
    if currency not in seen:
        raise Unanswerable(
            [f"no decision in {currency!r} has an outcome: the log has them in {', '.join(seen)}."]
        )
    return _draws([row for row in rows if row.currency == currency], currency, expecting)


def _draws(rows: list[Any], currency: str, expecting: bool) -> Draws:
    """Rows of one currency as arrays; those that tell nothing are counted and left out."""
    price, there = _padded([row.ladder for row in rows], np.int64)
    silent = np.array([row.expected_gains is None for row in rows])
    left = silent & expecting
    # zeros hold the place of what was not kept
    gains = [row.expected_gains or bytes(len(row.ladder)) for row in rows]
    expected, _ = _padded(gains, np.float64)
    chance, _ = _padded([row.propensities for row in rows], np.float64)
    group = np.unique([row.drawn_with or row.id for row in rows], return_inverse=True)[1]
    shared = np.zeros((group.max() + 1, price.shape[1]))
    # a family's price is chosen by what all members expect, each as often as it is looked at
    weight = np.array([1.0 if row.weight is None else row.weight for row in rows], np.float64)
    np.add.at(shared, group, expected * weight[:, None])
    impressions = np.array([row.impressions or 0 for row in rows], np.float64)
    seen = impressions > 0
    alone = (chance > FINEST).sum(1) == 1
    kept = seen & ~alone & ~left
    left_out = {
        NO_OUTCOME: int((~seen).sum()),
        NO_CHOICE: int((seen & alone).sum()),
        NO_EXPECTED: int((seen & ~alone & left).sum()),
    }
    if not kept.any():
        counts = ", ".join(f"{n} {reason}" for reason, n in left_out.items() if n)
        raise Unanswerable([f"no decision in {currency} can be learned from: {counts}."])
    net = np.array([(row.units or 0) - (row.returned or 0) for row in rows], np.float64)
    cost = np.array([row.unit_cost for row in rows], np.float64)
    arm = np.array([row.arm for row in rows], np.int64)
    money = price / minor_per_major([currency])[0]
    # without a cost the objective is revenue, as it is when prices are chosen
    margin = np.take_along_axis(money, arm[:, None], 1)[:, 0] - np.nan_to_num(cost)
    logged = Logged(
        action=arm[kept],
        reward=(net * margin)[kept] / impressions[kept],
        propensity=np.array([row.propensity for row in rows], np.float64)[kept],
        n_actions=price.shape[1],
        propensities=chance[kept],
        mass=impressions[kept],
        group=group[kept],
    )
    menus = Menus(
        np.where(there, money, np.nan)[kept],
        chance[kept],
        np.where(there, shared[group], np.nan)[kept],
        cost[kept],
    )
    # a gain over stock that is left, or of another objective, is no prediction of today's profit
    other = np.array([row.objective not in _PROFIT or row.plan is not None for row in rows])
    unpredicted = int((silent | other)[kept].sum())
    predicted = None if unpredicted else expected[kept]
    return Draws(currency, logged, menus, predicted, unpredicted, left_out)


def _padded(blobs: list[bytes], dtype: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Ladders of unlike lengths as one array, (n, k), zeros behind, and what is there."""
    lengths = np.array([len(blob) // 8 for blob in blobs])
    there = np.arange(lengths.max()) < lengths[:, None]
    padded = np.zeros(there.shape, dtype)
    padded[there] = np.frombuffer(b"".join(blobs), dtype)
    return padded, there


def _rows(url: str, since: date | None, until: date | None) -> list[Any]:
    """Decisions with the sums of their outcomes; None where there is no outcome."""
    outcomes = log.told_by_decision()
    query = sa.select(
        _d.id, _d.drawn_with, _d.currency, _d.unit_cost, _d.arm, _d.propensity, _d.ladder,
        _d.expected_gains, _d.weight, _d.objective, _d.plan, _d.propensities,
        outcomes.c.impressions, outcomes.c.units, outcomes.c.returned,
    ).select_from(log.decisions.outerjoin(outcomes, outcomes.c.decision_id == _d.id))  # fmt: skip
    if since is not None:
        query = query.where(_d.at >= microseconds(since))
    if until is not None:
        query = query.where(_d.at < microseconds(until) + DAY_US)
    engine = reader(url)
    try:
        with engine.connect() as conn:
            return list(conn.execute(query.order_by(_d.id)))
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
