"""Outcomes come in: each counted once, learned from with the context of their decision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import Outcomes
from service import ids, learning, log
from service.anchors import set_first
from service.catalogue import rfc3339
from service.items import Items
from service.pricebandit import Pending, Pricebandit, now_us
from service.problems import ItemError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

AHEAD_US = 24 * 3600 * 1_000_000
"""How far a seller's clock may run ahead or behind, time zones mistaken included."""


_FEW = 100  # reports of a decision that are read at once


class Report(NamedTuple):
    """What outcomes of one id say of a decision, corrections included.

    Attributes:
        revision: how often it was corrected. occurred_at: as it was told first, microseconds UTC.
        day_effect, worth: what its day was, and log of what all listings were worth over the usual,
            when it was told first; None until they are known.
    """

    revision: int
    impressions: int
    units: int
    returned_units: int
    occurred_at: int
    day_effect: float | None = None
    worth: float | None = None

    @classmethod
    def of(cls, row: dict[str, Any], occurred_at: int) -> "Report":
        """An outcome as it was sent."""
        counts = row["impressions"], row["units"], row.get("returned_units", 0)
        return cls(0, *counts, occurred_at)

    @property
    def net(self) -> int:
        """Units less those returned."""
        return self.units - self.returned_units

    @property
    def unsold(self) -> int:
        """Impressions beyond the net units."""
        return self.impressions - self.net


Judgement = Literal["new", "corrected", "duplicate"] | ItemError


def record_outcomes(bandit: Pricebandit, conn: sa.Connection, batches: Sequence[Items]) -> Pending:
    """Log outcomes: each id once per decision, those of unknown decisions set apart.

    An id that is told again with other numbers is corrected: the log gains the difference, which
    teaches what it would have taught in the first place, as all that is learned from is sums.
    """
    at = now_us()
    rows = [row for batch in batches for row in batch.rows]
    keys = [ids.canonical(row["decision_id"]) for row in rows]
    asked = sorted({key for key in keys if key})
    d, o = log.decisions.c, log.outcomes.c
    wanted = learning.logged_version(bandit.fold.features_of)
    query = (
        sa.select(d.id, d.listing, d.price, d.unit_cost, d.curve_sd, d.single, d.at, d.passing)
        .add_columns(d.day_expected, d.category, d.elasticity, d.worth_expected)
        .add_columns(d.plan, d.units_per_impression)
        .add_columns(*learning.expressed_columns(wanted))
        .select_from(log.decisions)
        .outerjoin(log.expressions, learning.expressed_in(wanted))
    )
    found = {row.id: row for row in log.select_in(conn, query, d.id, asked)}
    earlier = learning.told_before(conn, asked)
    seen = _seen(conn, rows, keys, earlier)
    when = [_us(row["occurred_at"]) if "occurred_at" in row else at for row in rows]
    kind: list[Judgement] = []
    fresh: list[dict[str, Any]] = []
    told_before: list[tuple[float, ...]] = []  # of the decision of each of `fresh`
    so_far = {key: (told.impressions, told.units, told.returned) for key, told in earlier.items()}
    for key, row, happened in zip(keys, rows, when, strict=True):
        pair = str(key), row["outcome_id"]
        before, told = seen.get(pair), Report.of(row, happened)
        shown, sold, back = so_far.get(pair[0], (0.0, 0.0, 0.0))
        unsold = int(shown - sold)
        others = unsold - (before.unsold if before else 0)  # to whom units may come late
        error = _refused(bandit, row, found.get(key), told, others, unsold, at)
        if error:
            kind.append(error)
            continue
        what, part, seen[pair] = _compared(told, before)
        kind.append(what)
        if part:
            names = {"decision_id": key, "outcome_id": row["outcome_id"], "received_at": at}
            fresh.append({**names, **part._asdict()})
            told_before.append((shown, sold, 0.0, back))
            so_far[pair[0]] = (
                shown + part.impressions, sold + part.net, back + part.returned_units
            )  # fmt: skip
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
    last = 0
    if fresh:
        outcomes, before_them = _dated(bandit, fresh, found, np.array(told_before), earlier)
        log.insert(conn, log.outcomes, fresh)
        last = conn.scalar(sa.select(sa.func.max(o.seq))) or 0
    about = np.array([found[row["decision_id"]].listing for row in fresh], np.int64)
    happened_at = np.array([row["occurred_at"] for row in fresh], np.int64)
    offered = set_first(bandit, conn, about, happened_at)

    def apply() -> None:
        if not fresh:
            return
        offered()
        anchored = replace(outcomes, anchor=bandit.catalogue.anchor[outcomes.listing])
        bandit.fold.add_outcomes(anchored, before_them, last)
        bandit.learned(outcomes.listing)

    # of how many that looked these units are cannot be said until a later outcome does
    idle = [
        kept in ("new", "corrected") and so_far[str(key)][0] <= 0 < so_far[str(key)][1]
        for key, kept in zip(keys, kind, strict=True)
    ]
    return Pending(_answers(batches, kind, idle), apply)


def _dated(
    bandit: Pricebandit,
    fresh: Sequence[dict[str, Any]],
    found: Mapping[str, sa.Row[Any]],
    told_before: NDArray[np.float64],
    earlier: Mapping[str, learning.Told],
) -> tuple[Outcomes, NDArray[np.float64]]:
    """New rows of the log, which learn here what their days were, as the policy takes them, and
    what was told of their decisions before each, (m, 4).

    Args:
        found: decisions. told_before: as is answered, but for what their days were.
        earlier: as logged.
    """
    joined = []
    for row in fresh:
        decision = found[row["decision_id"]]
        joined.append(
            (
                row["impressions"], row["units"], row["returned_units"], row["occurred_at"],
                decision.listing, decision.price, decision.unit_cost, decision.curve_sd,
                decision.features, decision.features_of, decision.at, decision.passing,
                decision.day_expected, row["day_effect"], decision.category,
                decision.elasticity, decision.worth_expected, row["worth"],
                decision.plan, decision.units_per_impression,
            )
        )  # fmt: skip
    outcomes = learning.outcomes_of(joined, bandit.catalogue, bandit.fold.features_of)
    shown = bandit.policy.dated(outcomes, told_before)
    # what was said when they were told first
    said = np.array([[row["day_effect"], row["worth"]] for row in fresh], np.float64).T
    day, worth = np.where(np.isnan(said), (shown.day, shown.worth), said)
    usual: list[float] = []
    so_far = {key: told.usual for key, told in earlier.items()}
    for row, effect, over in zip(fresh, day.tolist(), worth.tolist(), strict=True):
        key, row["day_effect"], row["worth"] = row["decision_id"], effect, over
        usual.append(so_far.get(key, 0.0))
        so_far[key] = usual[-1] + effect * row["impressions"]
    told_before[:, 2] = usual
    return replace(outcomes, day=day, worth=worth), told_before


def _compared(told: Report, before: Report | None) -> tuple[Judgement, Report | None, Report]:
    """What an outcome is beside what was told under its id; what the log gains by it, the outcome
    or by how much it differs; and what holds under the id from now on.
    """
    if before is None:
        return "new", told, told
    if told[1:4] == before[1:4]:
        return "duplicate", None, before
    # of the same day, or a difference of impressions would be one of days, too
    kept = told._replace(
        revision=before.revision + 1,
        occurred_at=before.occurred_at,
        day_effect=before.day_effect,
        worth=before.worth,
    )
    more = kept._replace(
        impressions=told.impressions - before.impressions,
        units=told.units - before.units,
        returned_units=told.returned_units - before.returned_units,
    )
    return "corrected", more, kept


def _seen(
    conn: sa.Connection,
    rows: Sequence[dict[str, Any]],
    keys: Sequence[str | None],
    earlier: Mapping[str, learning.Told],
) -> dict[tuple[str, str], Report]:
    """Outcomes, by decision and id, that the log has already among those reported now."""
    o = log.outcomes.c
    parts = sa.select(
        o.decision_id, o.outcome_id, o.revision,
        o.impressions, o.units, o.returned_units, o.occurred_at,
        sa.func.coalesce(o.day_effect, 1.0).label("day_effect"),
        sa.func.coalesce(o.worth, 0.0).label("worth"),
    )  # fmt: skip
    few = [key for key, told in earlier.items() if told.reports <= _FEW]
    found = log.select_in(conn, parts, o.decision_id, few)
    # of a decision told impression by impression, all that was told is not read each time
    names: dict[str | None, set[str]] = {key: set() for key in earlier.keys() - set(few)}
    for key, row in zip(keys, rows, strict=True):
        if key in names:
            names[key].add(row["outcome_id"])
    for key, mine in names.items():
        of_one = parts.where(o.decision_id == key)
        found += log.select_in(conn, of_one, o.outcome_id, sorted(mine))
    seen: dict[tuple[str, str], Report] = {}
    for entry in found:
        pair = entry.decision_id, entry.outcome_id
        one = Report(*(getattr(entry, name) for name in Report._fields))
        seen[pair] = _together(seen[pair], one) if pair in seen else one
    return seen


def _together(one: Report, other: Report) -> Report:
    """What an outcome and its correction, or two corrections, say together."""
    first, last = sorted((one, other))
    return Report(
        last.revision,
        first.impressions + last.impressions,
        first.units + last.units,
        first.returned_units + last.returned_units,
        first.occurred_at,
        first.day_effect,
        first.worth,
    )


def _refused(
    bandit: Pricebandit,
    row: dict[str, Any],
    decision: sa.Row[Any] | None,
    told: Report,
    others: int,
    unsold: int,
    at: int,
) -> ItemError | None:
    """What is wrong with an outcome, if anything is.

    Args:
        others: impressions that other outcomes of the decision told beyond their net units.
        unsold: those that all of its outcomes did before this one, or its correction.
    """
    if decision is None:
        shown = f"decision_id is {row['decision_id']!r:.80}"
        return ItemError(0, "decision_id", f"{shown}: unknown, kept for inspection")
    most = told.impressions + max(others, 0)
    if told.units > most and _single(bandit, decision):
        return ItemError(
            0,
            "units",
            f"units is {told.units}, above {most} impressions: this listing sells one unit per "
            "impression",
        )
    # what was too few before may become more
    if told.unsold + others < min(unsold, 0) and _single(bandit, decision):
        return ItemError(
            0,
            "impressions",
            f"impressions is {told.impressions}, with which this decision has "
            f"{-others - told.unsold} units more than impressions: this listing sells one unit "
            "per impression, give more or correct its other outcomes first",
        )
    if not 0 <= told.occurred_at <= at + AHEAD_US:
        # forgetting counts from the latest time seen: one in the future would forget all
        shown = f"occurred_at is {row['occurred_at'].isoformat()}"
        return ItemError(0, "occurred_at", f"{shown}: give a time from 1970 to now")
    # days on sale count from the first outcome: one far off makes impressions a day next to none.
    # A decision of a time yet to come was made by a clock that was ahead, and tells nothing
    if told.occurred_at + AHEAD_US < decision.at <= at + AHEAD_US:
        shown = f"occurred_at is {row['occurred_at'].isoformat()}"
        made = f"before its decision at {rfc3339(decision.at)}"
        return ItemError(0, "occurred_at", f"{shown}, {made}: give the time of the sale, or none")
    return None


def _single(bandit: Pricebandit, decision: sa.Row[Any]) -> bool:
    """Whether an impression sells one unit at most, by the terms that were decided under."""
    terms = bandit.catalogue.single[decision.listing]  # earlier versions did not log them
    return bool(terms if decision.single is None else decision.single)


def _answers(
    batches: Sequence[Items], kind: Sequence[Judgement], idle: Sequence[bool]
) -> list[dict[str, Any]]:
    """The answer to each batch, `kind` holding theirs one after the other.

    Args:
        idle: those that teach nothing yet, for want of impressions.
    """
    answers = []
    start = 0
    for batch in batches:
        part = slice(start, start + len(batch.rows))
        mine, start = kind[part], part.stop
        errors = batch.errors + [
            ItemError(int(batch.index[i]), what.field, what.message)
            for i, what in enumerate(mine)
            if isinstance(what, ItemError)
        ]
        answers.append(
            {
                "accepted": mine.count("new"),
                "corrected": mine.count("corrected"),
                "duplicates": mine.count("duplicate"),
                "without_impressions": sum(idle[part]),
                "errors": [e.as_json() for e in sorted(errors, key=lambda e: e.index)],
            }
        )
    return answers


def _us(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)
