"""Limits and families: which prices are allowed, and who must share one."""

import numpy as np
from numpy.typing import NDArray

from bandits import GUARDRAILS, Limits, limits
from service.catalogue import utc_day
from service.problems import ItemError
from service.subjects import Subjects


def bounds_of(subjects: Subjects) -> Limits:
    """Prices that the sellers' rules allow for each subject."""
    number = subjects.number
    current = np.where(
        np.isnan(subjects.current_price), subjects.last_price, subjects.current_price
    )
    return limits(
        subjects.per_major,
        unit_cost=number["unit_cost"],
        min_price=number["min_price"],
        max_price=number["max_price"],
        minimum_advertised_price=number["minimum_advertised_price"],
        current_price=np.where(np.isnan(current), number["reference_price"], current),
        max_step=number["max_step"],
        price_ending=number["price_ending"],
    )


def take(bounds: Limits, rows: NDArray[np.int64]) -> Limits:
    """The given rows of limits."""
    return Limits(*(getattr(bounds, name)[rows] for name in Limits.__slots__))


def infeasible(subjects: Subjects, bounds: Limits) -> list[ItemError]:
    """An error for every subject whose limits contradict each other."""
    errors = []
    for row in np.flatnonzero(~bounds.feasible).tolist():
        per_major = subjects.per_major[row]
        floor, ceiling = bounds.floors[row].argmax(), bounds.ceilings[row].argmin()
        low, high = bounds.floors[row, floor] / per_major, bounds.ceilings[row, ceiling] / per_major
        names = (GUARDRAILS[floor], GUARDRAILS[ceiling])
        field = "max_step" if "max_step" in names else names[1]
        detail = f"{names[0]} asks for at least {low:.12g} and {names[1]} for at most {high:.12g}"
        if low <= high:
            field = "price_ending"
            detail = f"no price between {low:.12g} and {high:.12g} has the price_ending asked for"
        errors.append(ItemError(row, field, f"no allowed price: {detail}; change one of them"))
    return errors


def _units(subjects: Subjects, at_us: int) -> NDArray[np.object_]:
    """What each price is held for: the unit that was said, else the day (UTC)."""
    day = utc_day(at_us)
    return np.array([day if unit is None else unit for unit in subjects.unit], object)


def families(
    subjects: Subjects,
    bounds: Limits,
    family_prices: dict[int, tuple[str, int]],
    at_us: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[ItemError]]:
    """Who decides for whom: leaders (n,), held prices (n,) or -1, and members that cannot agree."""
    n = len(subjects)
    leader, held = np.arange(n), np.full(n, -1)
    members = np.flatnonzero(subjects.family >= 0)
    if len(members) == 0:
        return leader, held, []
    units = _units(subjects, at_us)
    first: dict[tuple[int, str], int] = {}
    for row in members.tolist():
        key = (int(subjects.family[row]), units[row])
        leader[row] = first.setdefault(key, row)
        unit, price = family_prices.get(key[0], ("", -1))
        held[row] = price if unit == key[1] else -1
    lead = leader[members]
    alike = (
        (subjects.currency[members] == subjects.currency[lead])
        & (bounds.step[members] == bounds.step[lead])
        & (bounds.offset[members] == bounds.offset[lead])
    )
    common = shared(bounds, leader, np.full(n, -1))
    fits = common.feasible & ((held < 0) | ((bounds.lower <= held) & (held <= bounds.upper)))
    unlike = "differs from its family in currency or price_ending: align it"
    excluded = "its limits exclude the one price of its family: widen them, or leave the family"
    errors = [ItemError(row, "family", unlike) for row in members[~alike].tolist()]
    errors += [
        ItemError(row, "family", excluded) for row in members[alike & ~fits[members]].tolist()
    ]
    return leader, held, errors


def shared(bounds: Limits, leader: NDArray[np.int64], held: NDArray[np.int64]) -> Limits:
    """Limits that all members of a family can live with, narrowed to a price that is held."""
    if (leader == np.arange(len(leader))).all() and (held < 0).all():
        return bounds
    lower, upper = bounds.lower.copy(), bounds.upper.copy()
    np.maximum.at(lower, leader, bounds.lower)
    np.minimum.at(upper, leader, bounds.upper)
    lower = np.where(held >= 0, held, lower[leader])
    upper = np.where(held >= 0, held, upper[leader])
    return Limits(lower, upper, bounds.step, bounds.offset, bounds.floors, bounds.ceilings)
