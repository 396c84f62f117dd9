"""A/B tests in a running service: units whose prices are those that the shop charges anyway."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import Limits
from bandits.evidence import DAY_US
from evaluation.assignment import assign_many
from service import ids, log
from service.catalogue import Catalogue, rfc3339
from service.family_prices import utc_day
from service.fields import microseconds, utc_date
from service.problems import Problem
from service.subjects import Subjects

CONTROL, TREATMENT = "reference", "bandit"
"""Names of the arms, and of the policies that price them."""

DAYS = {"day": 1, "week": 7}
"""Kinds of periods, and how many days each has; weeks begin on Monday."""

Period = Literal["day", "week"]


@dataclass(frozen=True, slots=True)
class Experiment:
    """An A/B test of the policy's prices against reference prices.

    Attributes:
        name: the coin is thrown by it. share: of the units that the policy prices, in (0, 1).
        period: for how long a unit keeps its side.
        first_day, last_day: UTC, both included, whole periods; no last day: until it is stopped.
        stopped_at: microseconds since 1970 UTC, None where it was not.
    """

    name: str
    share: float
    period: Period
    first_day: date
    last_day: date | None
    stopped_at: int | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the units in each arm."""
        return {CONTROL: 1 - self.share, TREATMENT: self.share}

    def state_at(self, at_us: int) -> str:
        """How it stands at a time, microseconds UTC; prices of a time it is running take part."""
        day = utc_date(at_us)
        if self.stopped_at is not None:
            return "stopped"
        if self.last_day is not None and day > self.last_day:
            return "over"
        return "waiting" if day < self.first_day else "running"

    def overlaps(self, other: Experiment) -> bool:
        """Whether both could ever run on one day."""
        if self.stopped_at is not None or other.stopped_at is not None:
            return False
        ends = self.last_day or date.max, other.last_day or date.max
        return self.first_day <= ends[1] and other.first_day <= ends[0]

    def period_of(self, day: date) -> date:
        """First day of the period that a day is in, which names the period."""
        return day - timedelta(day.weekday() if self.period == "week" else 0)

    def as_json(self, at_us: int) -> dict[str, Any]:
        """As the contract spells it at a time, microseconds UTC."""
        return {
            "name": self.name,
            "share": self.share,
            "period": self.period,
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day and self.last_day.isoformat(),
            "state": self.state_at(at_us),
            **({} if self.stopped_at is None else {"stopped_at": rfc3339(self.stopped_at)}),
        }


@dataclass(slots=True)
class Sides:
    """Sides taken with the first decision of a period, which last until it is over: no change of a
    family or a reference price in the middle of it moves anyone.

    Attributes:
        experiment, period: whose. taken: listing id, or family and currency → name of the arm,
            empty for what takes no part. By id: the coin is thrown for it, and a listing that is
            deleted and registered anew would be on two sides.
    """

    experiment: str = ""
    period: date = date.min
    taken: dict[str | tuple[int, str], str] = field(default_factory=dict)

    def of(self, running: Experiment, at_us: int) -> Sides:
        """These, or none yet where another period has begun."""
        period = running.period_of(utc_date(at_us))
        if (self.experiment, self.period) == (running.name, period):
            return self
        return Sides(running.name, period)

    def take(self, subjects: Subjects) -> None:
        """Note the sides of subjects that were decided on."""
        arms = np.where(subjects.control, CONTROL, TREATMENT)
        arms[~_said(subjects.experiment)] = ""
        for key, family, arm in zip(*_keys(subjects), arms.tolist(), strict=True):
            if key is not None:
                self.taken.setdefault(key, arm)
            if family is not None:
                self.taken.setdefault(family, arm)


def _keys(
    subjects: Subjects,
) -> tuple[list[str | None], list[tuple[int, str] | None]]:
    """What sides of listings and of their families go by; None for a family's price of a unit."""
    columns = subjects.listing_id, subjects.family, subjects.currency, subjects.unit
    rows = [column.tolist() for column in columns]
    listings = [
        None if family >= 0 and unit is not None else name
        for name, family, _, unit in zip(*rows, strict=True)
    ]
    families = [
        (family, currency) if family >= 0 and unit is None else None
        for _, family, currency, unit in zip(*rows, strict=True)
    ]
    return listings, families


def _said(column: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which entries are not None, bool (n,)."""
    return np.array([value is not None for value in column.tolist()], np.bool_)


def sides_at(
    engine: sa.Engine, known: Sequence[Experiment], catalogue: Catalogue, at_us: int
) -> Sides:
    """Sides that the log has for the period of a time."""
    running = running_at(known, at_us)
    if running is None:
        return Sides()
    sides = Sides().of(running, at_us)
    d, since = log.decisions.c, microseconds(sides.period)
    # later ones are of a clock that was ahead
    until = microseconds(sides.period + timedelta(DAYS[running.period]))
    columns = log.listings.c.listing_id, d.family, d.currency, d.experiment, d.policy
    query = sa.select(*columns).join(log.decisions, d.listing == log.listings.c.row).distinct()
    query = query.where(d.id >= ids.lowest(since), d.at >= since, d.at < until)
    days = [sides.period + timedelta(i) for i in range(DAYS[running.period])]
    of_day = (  # units that are called as their day is
        (d.unit == day.isoformat()) & d.at.between(start, start + DAY_US - 1)
        for day, start in zip(days, map(microseconds, days), strict=True)
    )
    query = query.where(sa.or_(d.family.is_(None), d.unit.is_(None), *of_day))
    with engine.connect() as conn:
        rows = conn.execute(query).all()
    for row in sorted(rows, key=lambda row: row.experiment is None):  # who had a side keeps it
        arm = row.policy if row.experiment == running.name else ""
        sides.taken.setdefault(row.listing_id, arm)
        if row.family is not None:
            code = catalogue.family_code.setdefault(row.family, len(catalogue.family_code))
            sides.taken.setdefault((code, row.currency), arm)
    return sides


def running_at(known: Sequence[Experiment], at_us: int) -> Experiment | None:
    """The experiment that runs at a time, microseconds UTC, if one does."""
    return next((one for one in known if one.state_at(at_us) == "running"), None)


def all_of(engine: sa.Engine) -> list[Experiment]:
    """Experiments of a log in the order of their first days."""
    table = log.experiments
    with engine.connect() as conn:
        rows = conn.execute(table.select().order_by(table.c.first_day, table.c.started_at)).all()
    return [
        Experiment(
            row.name, row.share, row.period, date.fromisoformat(row.first_day),
            row.last_day and date.fromisoformat(row.last_day), row.stopped_at,
        )
        for row in rows
    ]  # fmt: skip


def named(known: Sequence[Experiment], name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        Problem: 404, there is none.
    """
    found = next((one for one in known if one.name == name), None)
    if found is None:
        names = ", ".join(repr(one.name) for one in known) or "none yet"
        raise Problem(404, f"experiment is {name!r:.80}: unknown; there are: {names:.400}")
    return found


def earliest(period: Period, at_us: int) -> date:
    """First day of the next period after a time, microseconds UTC."""
    tomorrow = utc_date(at_us) + timedelta(1)
    return tomorrow + timedelta(-tomorrow.weekday() % DAYS["week"] if period == "week" else 0)


def unit_of_day_left_out(subjects: Subjects, at_us: int) -> Subjects:
    """Subjects without units that are called as the day is, 2026-01-31: a family has one price for
    such a unit and for the day, so that both take part, or one is held to what the other was not.

    Args:
        at_us: of the decision, microseconds UTC.
    """
    today = utc_day(at_us)
    unit = np.array([None if one == today else one for one in subjects.unit.tolist()], object)
    return replace(subjects, unit=unit)


def enrolled(
    subjects: Subjects,
    catalogue: Catalogue,
    running: Experiment,
    sides: Sides,
    recorded: NDArray[np.bool_],
) -> Subjects:
    """Subjects with their side in the experiment that runs.

    A unit is a family, else a listing: what has a reference price takes part, and a family where
    all its active members in the currency have the same one, as far as it is priced by the day:
    what it is held to for a unit may be the price of another period.

    Args:
        sides: those of the period. recorded: False for what-ifs, which take no part, (n,).
    """
    able = recorded & ~np.isnan(subjects.number["reference_price"])
    able &= (subjects.family < 0) | ~_said(subjects.unit)
    rows = np.flatnonzero(able)
    rows = rows[_agree(subjects.take(rows), catalogue)]
    families = [*catalogue.family_code, ""]
    named_by = zip(subjects.family[rows].tolist(), subjects.listing_id[rows], strict=True)
    units = [unit_of(families[f] if f >= 0 else None, listing) for f, listing in named_by]
    arms = assign_many(running.name, units, sides.period, running.shares).tolist()
    # a family without a side takes that of its member asked about first, before the others
    known, sided = ChainMap({}, sides.taken), list[str]()
    for arm, listing, family in zip(arms, *_keys(subjects.take(rows)), strict=True):
        keys = [key for key in (listing, family) if key is not None]
        taken = {known[key] for key in keys if key in known} or {arm}
        # who has joined a family of another side takes no part
        sided.append(taken.pop() if len(taken) == 1 else "")
        if family is not None:
            known.setdefault(family, sided[-1])
    found = np.array(sided, np.str_)
    rows, found = rows[found != ""], found[found != ""]
    experiment, control = subjects.experiment.copy(), subjects.control.copy()
    experiment[rows] = running.name
    control[rows] = found == CONTROL
    return replace(subjects, experiment=experiment, control=control)


def unit_of(family: str | None, listing_id: str) -> str:
    """What the coin is thrown for: the name of a family, or of a listing without one."""
    return f"listing {listing_id}" if family is None else f"family {family}"


def kept_to_reference(bounds: Limits, subjects: Subjects, leader: NDArray[np.int64]) -> Limits:
    """Limits that leave units of the control arm one price: the allowed one nearest to their
    reference price. Who shares a family's price has it, too, without taking part.

    Args:
        leader: the first row of each one's group, (n,).
    """
    control = np.flatnonzero(subjects.control)
    if not control.size:
        return bounds
    money = np.full(len(subjects), np.nan)  # of each group, at its leader
    money[leader[control]] = subjects.number["reference_price"][control]
    rows = np.flatnonzero(~np.isnan(money[leader]))
    wanted = money[leader[rows]] * subjects.per_major[rows]
    step, offset = bounds.step[rows], bounds.offset[rows]
    near = np.rint((wanted - offset) / step).astype(np.int64) * step + offset
    lower, upper = bounds.lower.copy(), bounds.upper.copy()
    lower[rows] = upper[rows] = np.clip(near, lower[rows], upper[rows])
    return replace(bounds, lower=lower, upper=upper)


def _agree(subjects: Subjects, catalogue: Catalogue) -> NDArray[np.bool_]:
    """Whether each one's family has one reference price in its currency, if it has a family."""
    agree = np.ones(len(subjects), np.bool_)
    grouped = np.flatnonzero(subjects.family >= 0)
    for currency in set(subjects.currency[grouped]):
        mine = grouped[subjects.currency[grouped] == currency]
        family, place = np.unique(subjects.family[mine], return_inverse=True)
        members = catalogue.members(family, currency)
        of = np.searchsorted(family, catalogue.family[members])
        # one of which none is known differs from all others
        price = np.nan_to_num(catalogue.number["reference_price"][members], nan=-1.0)
        low, high = np.full(len(family), np.inf), np.full(len(family), -np.inf)
        np.minimum.at(low, of, price)
        np.maximum.at(high, of, price)
        agree[mine] = (low == high)[place]
    return agree
