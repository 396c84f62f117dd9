"""The model as a fold over the log."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
import sqlalchemy as sa
import torch
from numpy.typing import NDArray

from bandits import DIM, Outcomes, Policy, Trunk
from service import ids, log
from service.catalogue import Catalogue

_UNDER = "+"  # between the version of the logged features and that of a trunk

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Position:
    """How far the fold has come: the last row of each table that is in the model."""

    outcomes: int = 0
    sales: int = 0


class Told(NamedTuple):
    """How often a decision was reported on, and impressions, net units, impressions times what
    their days were, and units that came back, told in all.
    """

    reports: int
    impressions: float
    units: float
    usual: float
    returned: float


@dataclass(slots=True)
class Read:
    """What the fold has read so far: counts, units net of returns, and the span of the events.

    Attributes:
        shown: of both, those that tell of demand: outcomes, and sales with impressions.
        first, last: microseconds since 1970 UTC; None before any event.
    """

    outcomes: int = 0
    sales: int = 0
    shown: int = 0
    units: float = 0.0
    first: int | None = None
    last: int | None = None

    def add(self, units: NDArray[np.float64], at: NDArray[np.int64]) -> None:
        """Note units and times of events, (m,) each."""
        if len(at):
            first, last = int(at.min()), int(at.max())
            self.units += float(units.sum())
            self.first = first if self.first is None else min(self.first, first)
            self.last = last if self.last is None else max(self.last, last)


def version_under(features_of: str, trunk: Trunk | None) -> str:
    """Version of the head's statistics: of the logged features, and of the trunk over them."""
    return features_of if trunk is None else f"{features_of}{_UNDER}{trunk.version}"


def logged_version(features_of: str) -> str:
    """Version of the logged features, which are the same under every trunk."""
    return features_of.partition(_UNDER)[0]


def space_of(features_of: str) -> str:
    """The embedding space of a version of the features, as `version_under` has it."""
    return logged_version(features_of).rpartition("-")[2]


class Fold:
    """A policy, and how far in the log it has read.

    Args:
        policy: statistics start empty and are changed by this fold alone.
        features_of: version of the features, as `version_under` has it; statistics of the head take
            no others.
    """

    def __init__(self, policy: Policy, features_of: str) -> None:
        self.policy, self.features_of = policy, features_of
        self.position = Position()
        self.read = Read()

    @property
    def version(self) -> str:
        """The model's version: features, and the last outcome and sale that it knows."""
        return f"{self.features_of}.{self.position.outcomes}.{self.position.sales}"

    def add_outcomes(self, outcomes: Outcomes, before: NDArray[np.float64], last: int) -> None:
        """Fold outcomes in; `last` is the log's number of the last of them.

        Args:
            before: what earlier outcomes of the same decisions told, as `Policy.learn` takes it.
        """
        self.policy.learn(outcomes, before)
        self.read.outcomes += len(outcomes.listing)
        self.read.shown += len(outcomes.listing)
        self.read.add(outcomes.units, outcomes.at)
        self.position.outcomes = max(self.position.outcomes, last)

    def add_sales(
        self,
        catalogue: Catalogue,
        rows: NDArray[np.int64],
        price: NDArray[np.float64],
        units: NDArray[np.float64],
        impressions: NDArray[np.float64],
        at: NDArray[np.int64],
        last: int,
    ) -> None:
        """Fold recorded sales in: price levels from all, demand from those with impressions.

        The log does not say what units cost when they were sold: profit is revenue.

        Args:
            rows: catalogue rows; demand is learned where their anchors are set. price: currency
                units. impressions: NaN if unknown.
            at: microseconds since 1970 UTC.
        """
        catalogue.record_sales(rows, np.log(price), units)
        shown = (impressions > 0) & ~np.isnan(catalogue.anchor[rows])
        self._add_shown(
            catalogue, rows[shown], price[shown], units[shown], impressions[shown], at[shown]
        )
        self.read.sales += len(rows)
        self.read.shown += int(shown.sum())
        self.read.add(units, at)
        self.position.sales = max(self.position.sales, last)

    def _add_shown(
        self,
        catalogue: Catalogue,
        rows: NDArray[np.int64],
        price: NDArray[np.float64],
        units: NDArray[np.float64],
        impressions: NDArray[np.float64],
        at: NDArray[np.int64],
    ) -> None:
        """Fold recorded sales with impressions into own evidence."""
        anchor = catalogue.anchor[rows]
        self.policy.evidence.add(rows, anchor, price, impressions, units, units * price, at)

    def astray(self, catalogue: Catalogue) -> NDArray[np.int64]:
        """Listings whose own evidence is relative to other anchors than they have by now, (n,)."""
        evidence = self.policy.evidence
        told = (evidence.totals[: len(evidence), :2] != 0).any(1).numpy()
        moved = evidence.anchor != catalogue.anchor[evidence.listing]
        return np.asarray(evidence.listing[told & moved], np.int64)

    def restated(
        self, conn: sa.Connection, catalogue: Catalogue, rows: NDArray[np.int64]
    ) -> Callable[[], None]:
        """What makes own evidence of listings, (n,), relative to the anchors they then have.

        Sums cannot be moved to another anchor: all their sales that the fold has read are asked of
        the log now, and added up anew then.
        """
        o, d, s = log.outcomes.c, log.decisions.c, log.sales.c
        told: list[Any] = []
        sold: list[Any] = []
        if len(rows):
            earliest = ids.lowest(int(catalogue.first_at[rows].min()))
            ours = _as_folded(self.features_of).where(
                o.seq <= self.position.outcomes, o.decision_id >= earliest
            )
            told += log.select_in(conn, ours, d.listing, rows.tolist())
            recorded = sa.select(*SALE_COLUMNS).where(
                COUNTING, s.seq <= self.position.sales, s.impressions > 0
            )
            sold += log.select_in(conn, recorded, s.listing, rows.tolist())

        def apply() -> None:
            self.policy.evidence.forget(rows)
            if told:
                outcomes = outcomes_of(told, catalogue, self.features_of)
                self.policy.learn_curves(outcomes, _before(told, {}))  # all of their decisions
            if sold:
                self._add_shown(catalogue, *_sold(sold, catalogue))

        return apply

    def replay(
        self,
        source: log.Log,
        catalogue: Catalogue,
        progress: Progress | None = None,
        ends: log.Ends | None = None,
    ) -> int:
        """Fold in everything after the position, up to the log's `ends`; the events read."""
        o, s, ends = log.outcomes.c, log.sales.c, ends or source.ends()
        new = (
            (o.seq > self.position.outcomes) & (o.seq <= ends.outcomes),
            (s.seq > self.position.sales) & (s.seq <= ends.sales) & COUNTING,
        )
        with source.engine.connect() as conn:
            total = sum(conn.scalar(sa.select(sa.func.count()).where(one)) or 0 for one in new)
        done = 0
        for part in source.stream(_as_folded(self.features_of).where(new[0]), o.seq):
            outcomes = outcomes_of(part, catalogue, self.features_of)
            about = sorted({row.decision_id for row in part})
            with source.engine.connect() as conn:
                earlier = told_before(conn, about, part[0].seq)
            self.add_outcomes(outcomes, _before(part, earlier), part[-1].seq)
            done += len(part)
            if progress:
                progress(done, total)
        for part in source.stream(sa.select(*SALE_COLUMNS).where(new[1]), s.seq):
            self.add_sales(catalogue, *_sold(part, catalogue), part[-1].seq)
            done += len(part)
            if progress:
                progress(done, total)
        self.position.sales = max(self.position.sales, ends.sales)  # those that do not count, too
        return done


def rebuild(
    fold: Fold, source: log.Log, catalogue: Catalogue, progress: Progress | None = None
) -> tuple[Fold, int]:
    """A fold like `fold` of the whole log from nothing, and the number of events in it.

    Raises:
        ValueError: the catalogue's price levels are not those of the log.
    """
    policy = Policy(fold.policy.rules, fold.policy.device, fold.policy.trunk)
    anew = Fold(policy, fold.features_of)
    sold = catalogue.sold.copy()
    try:
        catalogue.sold[:] = 0.0
        events = anew.replay(source, catalogue, progress)
        if not np.allclose(sold, catalogue.sold, rtol=1e-9, atol=1e-9):
            raise ValueError("recorded price levels in memory are not those of the log")
    finally:
        catalogue.sold[:] = sold  # an interrupted replay leaves memory as it was
    return anew, events


def difference(one: Fold, other: Fold) -> float:
    """Largest difference between the statistics of two folds, relative to the largest entry."""
    apart = 0.0
    mine, theirs = one.policy.evidence, other.policy.evidence
    rows = np.union1d(mine.listing, theirs.listing)
    days = one.policy.days, other.policy.days
    span = min(d.first for d in days), max(d.first + d.sums.shape[1] for d in days)
    by_day = [torch.as_tensor(d.spanning(*span)) for d in days]
    own = one.policy.category_days, other.policy.category_days
    shifts = one.policy.shift, other.policy.shift
    shifted = np.union1d(*(shift.day for shift in shifts))
    by_shift = [torch.as_tensor(shift.laid_out(shifted)) for shift in shifts]
    kinds, kept = np.arange(max(o.sums.shape[1] for o in own)), np.union1d(own[0].day, own[1].day)
    by_category = [torch.as_tensor(o.laid_out(kinds, kept)) for o in own]
    pairs = [
        (by_day[0], by_day[1]),
        (one.policy.head.gram, other.policy.head.gram),
        (one.policy.head.moment, other.policy.head.moment),
        (one.policy.dispersion.sums, other.policy.dispersion.sums),
        (by_category[0], by_category[1]),
        (by_shift[0], by_shift[1]),
        *zip(mine.gather(rows)[:2], theirs.gather(rows)[:2], strict=True),
    ]
    for a, b in pairs:
        if a.numel():
            scale = max(float(a.abs().max()), float(b.abs().max()), 1e-300)
            apart = max(apart, float((a - b).abs().max()) / scale)
    return apart


_o, _d = log.outcomes.c, log.decisions.c
OUTCOME_COLUMNS = (
    _o.impressions,
    _o.units,
    _o.returned_units,
    _o.occurred_at,
    _d.listing,
    _d.price,
    _d.unit_cost,
    _d.curve_sd,
    _d.features,
    _d.features_of,
    _d.at,
    _d.passing,
    _d.day_expected,
    _o.day_effect,
    _d.category,
    _d.elasticity,
    _d.worth_expected,
    _o.worth,
    _d.plan,
    _d.units_per_impression,
    _o.seq,
)
"""What the fold reads of an outcome and its decision."""


SALE_COLUMNS = tuple(
    log.sales.c[name] for name in ("listing", "price", "units", "impressions", "at", "seq")
)
"""What the fold reads of a recorded sale."""

_back = log.sales.alias().c
COUNTING = sa.and_(
    # logs of before such sales were refused may hold some whose price rounded to 0
    log.sales.c.price > 0,
    log.sales.c.takes_back.is_(None),
    ~sa.exists().where(_back.takes_back == log.sales.c.seq),
)
"""Recorded sales that were not taken back."""


def outcomes_in(features_of: str) -> sa.Select[Any]:
    """Outcomes with their decisions, OUTCOME_COLUMNS, features expressed in a space if they can be.

    Args:
        features_of: version of the features, as `version_under` has it.
    """
    wanted = logged_version(features_of)
    columns: dict[str, Any] = {column.name: column for column in OUTCOME_COLUMNS}
    features, version = expressed_columns(wanted)
    columns |= {"features": features, "features_of": version}
    return (
        sa.select(*columns.values())
        .join(log.decisions, _d.id == _o.decision_id)
        .outerjoin(log.expressions, expressed_in(wanted))
    )


def _as_folded(features_of: str) -> sa.Select[Any]:
    """As `outcomes_in`, in the log's order, with each one's `decision_id`."""
    return outcomes_in(features_of).add_columns(_o.decision_id).order_by(_o.seq)


def told_before(
    conn: sa.Connection, decisions: Sequence[str], seq: int | None = None
) -> dict[str, Told]:
    """What the log has of decisions, before the outcome of a number if one is given; those of which
    it has nothing are absent.
    """
    sums = sa.select(
        _o.decision_id,
        sa.func.count().label("reports"),
        sa.func.sum(_o.impressions).label("impressions"),
        sa.func.sum(_o.units - _o.returned_units).label("units"),
        sa.func.sum(_o.impressions * sa.func.coalesce(_o.day_effect, 1.0)).label("usual"),
        sa.func.sum(_o.returned_units).label("returned"),
    ).group_by(_o.decision_id)
    if seq is not None:
        sums = sums.where(_o.seq < seq)
    return {
        row.decision_id: Told(row.reports, *map(float, row[2:]))
        for row in log.select_in(conn, sums, _o.decision_id, decisions)
    }


def _before(rows: Sequence[Any], earlier: Mapping[str, Told]) -> NDArray[np.float64]:
    """What was told of each one's decision before it, as `Policy.learn` takes it, (m, 4).

    Added up row by row: a decision may have been told of ten thousand times.

    Args:
        rows: of `_as_folded`. earlier: what was told before the first of them.
    """
    before = np.empty((len(rows), 4))
    so_far = {key: told[1:] for key, told in earlier.items()}
    for i, row in enumerate(rows):
        told = so_far.get(row.decision_id, (0.0, 0.0, 0.0, 0.0))
        before[i] = shown, sold, usual, back = told
        effect = 1.0 if row.day_effect is None else row.day_effect
        so_far[row.decision_id] = (
            shown + row.impressions,
            sold + row.units - row.returned_units,
            usual + effect * row.impressions,
            back + row.returned_units,
        )
    return before


def expressed_in(features_of: str) -> sa.ColumnElement[bool]:
    """Joins decisions to their features in the space of a version."""
    e = log.expressions.c
    return (e.decision_id == _d.id) & (e.space == space_of(features_of))


def expressed_columns(features_of: str) -> tuple[sa.Label[Any], sa.Label[Any]]:
    """Features and their version, in the space of a version where they are expressed in it."""
    theirs = log.expressions.c.features
    version = sa.case((theirs.is_not(None), features_of), else_=_d.features_of)
    return sa.func.coalesce(theirs, _d.features).label("features"), version.label("features_of")


def _sold(
    rows: Any, catalogue: Catalogue
) -> tuple[
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
]:
    """Rows of SALE_COLUMNS as `Fold.add_sales` takes them, their numbers in the log left out."""
    listing, price, units, impressions, at = list(zip(*rows, strict=True))[:5]
    where = np.array(listing, np.int64)
    money = np.array(price, np.float64) / catalogue.per_major[where]
    seen = np.array(impressions, np.float64)
    return where, money, np.array(units, np.float64), seen, np.array(at, np.int64)


def outcomes_of(rows: Any, catalogue: Catalogue, features_of: str) -> Outcomes:
    """Rows of OUTCOME_COLUMNS, less `seq` where not yet numbered, as the policy takes them.

    Features of another version count for nothing in the head: their row is all zeros. What is
    logged is no trunk's, so that a decision under one trunk teaches the head under another. Returns
    told without impressions bear the time of the decision that sold them.
    """
    columns = list(zip(*rows, strict=True))
    impressions, units, returned, at, listing, price, cost, curve_sd, blobs, versions = columns[:10]
    # what comes back must have faded as far as what was sold has
    came_back = (np.array(impressions) == 0) & (np.array(units) == 0)
    at_us = np.where(came_back, np.array(columns[10], np.int64), np.array(at, np.int64))
    where = np.array(listing, np.int64)
    wanted = logged_version(features_of)
    other = np.array([logged_version(version) != wanted for version in versions])
    if other.any():
        blank = bytes(4 * DIM)
        blobs = tuple(blank if o else blob for o, blob in zip(other, blobs, strict=True))
    features = np.frombuffer(bytearray().join(blobs), np.float32).reshape(-1, DIM)
    money = np.array(price, np.float64) / catalogue.per_major[where]
    net = np.array(units, np.float64) - np.array(returned, np.float64)
    margin = money - np.nan_to_num(np.array(cost, np.float64))
    # earlier versions took all of it for the listing's
    passing, day_expected, day = (
        np.array([1.0 if told is None else told for told in column], np.float64)
        for column in columns[11:14]
    )
    worth_expected, worth = np.nan_to_num(np.array(columns[16:18], np.float64))
    return Outcomes(
        where,
        catalogue.anchor[where],
        money,
        np.array(impressions, np.float64),
        net,
        net * margin,
        np.array(curve_sd, np.float64),
        features,
        at_us,
        passing,
        day_expected,
        day,
        catalogue.categories(columns[14]),
        np.array(columns[15], np.float64),  # NaN for None
        worth_expected,
        worth,
        np.array([orjson.loads(plan)["inventory"] if plan else np.nan for plan in columns[18]]),
        np.array(columns[19], np.float64),
        np.array(returned, np.float64),
    )
