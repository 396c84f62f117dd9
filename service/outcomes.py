"""Outcomes come in: each counted once, learned from with the context of their decision."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray

from service import ids, learning, log
from service.items import Items
from service.pricebandit import Pending, Pricebandit, now_us
from service.problems import ItemError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

AHEAD_US = 24 * 3600 * 1_000_000
"""How far a seller's clock may run ahead, time zones mistaken included."""


_FEW = 100  # reports of a decision that are read at once


class Told(NamedTuple):
    """How often a decision was reported on, and impressions and net units told in all."""

    reports: int
    impressions: float
    units: float


Judgement = Literal["new", "duplicate"] | ItemError


def record_outcomes(bandit: Pricebandit, conn: sa.Connection, batches: Sequence[Items]) -> Pending:
    """Log outcomes: each id once per decision, those of unknown decisions set apart."""
    at = now_us()
    rows = [row for batch in batches for row in batch.rows]
    keys = [ids.canonical(row["decision_id"]) for row in rows]
    asked = sorted({key for key in keys if key})
    d, o = log.decisions.c, log.outcomes.c
    wanted = learning.logged_version(bandit.fold.features_of)
    query = (
        sa.select(d.id, d.listing, d.price, d.unit_cost, d.curve_sd, d.single)
        .add_columns(*learning.expressed_columns(wanted))
        .select_from(log.decisions)
        .outerjoin(log.expressions, learning.expressed_in(wanted))
    )
    found = {row.id: row for row in log.select_in(conn, query, d.id, asked)}
    earlier = _earlier(conn, asked)
    seen = _seen(conn, rows, keys, earlier)
    when = [_us(row["occurred_at"]) if "occurred_at" in row else at for row in rows]
    kind = _judged(bandit, rows, keys, when, found, seen, at)
    strangers = [row for key, row in zip(keys, rows, strict=True) if key not in found]
    if strangers:
        log.insert(
            conn,
            log.unmatched,
            [
                {"document": orjson.dumps(row, default=str).decode(), "received_at": at}
                for row in strangers
            ],
        )
    fresh = [
        {
            "decision_id": key,
            "outcome_id": row["outcome_id"],
            "impressions": row["impressions"],
            "units": row["units"],
            "returned_units": row.get("returned_units", 0),
            "occurred_at": happened,
            "received_at": at,
        }
        for key, row, happened, what in zip(keys, rows, when, kind, strict=True)
        if what == "new"
    ]
    last = 0
    if fresh:
        log.insert(conn, log.outcomes, fresh)
        last = conn.scalar(sa.select(sa.func.max(o.seq))) or 0

    def apply() -> None:
        if not fresh:
            return
        joined = []
        for row in fresh:
            decision = found[row["decision_id"]]
            joined.append(
                (
                    row["impressions"], row["units"], row["returned_units"],
                    row["occurred_at"], decision.listing, decision.price,
                    decision.unit_cost, decision.curve_sd, decision.features, decision.features_of,
                )
            )  # fmt: skip
        outcomes = learning.outcomes_of(joined, bandit.catalogue, bandit.fold.features_of)
        bandit.fold.add_outcomes(outcomes, _told_before(fresh, earlier), last)
        bandit.learned(outcomes.listing)

    return Pending(_answers(batches, kind), apply)


def _earlier(conn: sa.Connection, decisions: Sequence[str]) -> dict[str, Told]:
    """What the log has of decisions so far; those of which it has nothing are absent."""
    o = log.outcomes.c
    sums = sa.select(
        o.decision_id,
        sa.func.count().label("reports"),
        sa.func.sum(o.impressions).label("impressions"),
        sa.func.sum(o.units - o.returned_units).label("units"),
    ).group_by(o.decision_id)
    return {
        row.decision_id: Told(row.reports, float(row.impressions), float(row.units))
        for row in log.select_in(conn, sums, o.decision_id, decisions)
    }


def _seen(
    conn: sa.Connection,
    rows: Sequence[dict[str, Any]],
    keys: Sequence[str | None],
    earlier: Mapping[str, Told],
) -> set[tuple[str | None, str]]:
    """Outcomes, by decision and id, that the log has already among those reported now."""
    o = log.outcomes.c
    pairs = sa.select(o.decision_id, o.outcome_id)
    few = [key for key, told in earlier.items() if told.reports <= _FEW]
    found = log.select_in(conn, pairs, o.decision_id, few)
    # of a decision told impression by impression, all that was told is not read each time
    names: dict[str | None, set[str]] = {key: set() for key in earlier.keys() - set(few)}
    for key, row in zip(keys, rows, strict=True):
        if key in names:
            names[key].add(row["outcome_id"])
    for key, mine in names.items():
        of_one = pairs.where(o.decision_id == key)
        found += log.select_in(conn, of_one, o.outcome_id, sorted(mine))
    return {(row.decision_id, row.outcome_id) for row in found}


def _told_before(
    fresh: Sequence[dict[str, Any]], earlier: Mapping[str, Told]
) -> NDArray[np.float64]:
    """Impressions and net units that outcomes before each of `fresh` told of its decision, (m, 2).

    Args:
        earlier: decision → what the log had of it already.
    """
    so_far = {key: (told.impressions, told.units) for key, told in earlier.items()}
    before = []
    for row in fresh:
        shown, sold = so_far.get(row["decision_id"], (0.0, 0.0))
        before.append((shown, sold))
        units = row["units"] - row["returned_units"]
        so_far[row["decision_id"]] = (shown + row["impressions"], sold + units)
    return np.array(before, np.float64).reshape(-1, 2)


def _judged(
    bandit: Pricebandit,
    rows: Sequence[dict[str, Any]],
    keys: Sequence[str | None],
    when: Sequence[int],
    found: Mapping[Any, Any],
    seen: set[tuple[str | None, str]],
    at: int,
) -> list[Judgement]:
    """What each outcome is; `seen` takes up those that are new."""
    kind: list[Judgement] = []
    for key, row, happened in zip(keys, rows, when, strict=True):
        outcome = (key, row["outcome_id"])
        if key not in found:
            shown = f"decision_id is {row['decision_id']!r:.80}"
            kind.append(ItemError(0, "decision_id", f"{shown}: unknown, kept for inspection"))
        elif outcome in seen:
            kind.append("duplicate")
        elif row["units"] > row["impressions"] and _single(bandit, found[key]):
            kind.append(
                ItemError(
                    0,
                    "units",
                    f"units is {row['units']}, above {row['impressions']} impressions: this "
                    "listing sells one unit per impression",
                )
            )
        elif not 0 <= happened <= at + AHEAD_US:
            # forgetting counts from the latest time seen: one in the future would forget all
            shown = f"occurred_at is {row['occurred_at'].isoformat()}"
            kind.append(ItemError(0, "occurred_at", f"{shown}: give a time from 1970 to now"))
        else:
            seen.add(outcome)
            kind.append("new")
    return kind


def _single(bandit: Pricebandit, decision: sa.Row[Any]) -> bool:
    """Whether an impression sells one unit at most, by the terms that were decided under."""
    terms = bandit.catalogue.single[decision.listing]  # earlier versions did not log them
    return bool(terms if decision.single is None else decision.single)


def _answers(batches: Sequence[Items], kind: Sequence[Judgement]) -> list[dict[str, Any]]:
    """The answer to each batch, `kind` holding theirs one after the other."""
    answers = []
    start = 0
    for batch in batches:
        mine = kind[start : start + len(batch.rows)]
        start += len(batch.rows)
        errors = batch.errors + [
            ItemError(int(batch.index[i]), what.field, what.message)
            for i, what in enumerate(mine)
            if isinstance(what, ItemError)
        ]
        answers.append(
            {
                "accepted": mine.count("new"),
                "duplicates": mine.count("duplicate"),
                "errors": [e.as_json() for e in sorted(errors, key=lambda e: e.index)],
            }
        )
    return answers


def _us(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)
