"""Limits and families: which prices are allowed, and who must share one."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bandits import GUARDRAILS, Limits, limits
from service.catalogue import Catalogue
from service.family_prices import Held, utc_day
from service.problems import ItemError
from service.subjects import Subjects

Key = tuple[int, str]
"""A family, and the unit or UTC day that its price is held for."""


def bounds_of(subjects: Subjects, held: NDArray[np.int64] | None = None) -> Limits:
    """Prices that the sellers' rules allow for each subject.

    Args:
        held: what each one's family is held to, see `held_of`: given again whatever the step.
    """
    number = subjects.number
    step = number["max_step"]
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
        max_step=step if held is None else np.where(held < 0, step, np.nan),
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
        detail = (
            f"{names[0]} asks for at least {low:.12g} and {names[1]} for at most {high:.12g}; "
            "change one of them"
        )
        if high == 0:
            field, unit = names[1], f"{1 / per_major:.12g} {subjects.currency[row]}"
            detail = f"{field} asks for less than {unit}, the smallest price there is: raise it"
        elif low <= high:
            field = "price_ending"
            detail = (
                f"no price between {low:.12g} and {high:.12g} has the price_ending asked for; "
                "change one of them"
            )
        errors.append(ItemError(row, field, f"no allowed price: {detail}"))
    return errors


def keys_of(subjects: Subjects, at_us: int) -> dict[int, Key]:
    """What the price of each row of a family is held for; a unit not said is the day (UTC)."""
    rows, day = np.flatnonzero(subjects.family >= 0), utc_day(at_us)
    members = (rows, subjects.family[rows], subjects.unit[rows])
    return {
        row: (family, day if unit is None else unit)
        for row, family, unit in zip(*(column.tolist() for column in members), strict=True)
    }


def held_of(subjects: Subjects, family_prices: Mapping[Key, Held], at_us: int) -> NDArray[np.int64]:
    """Prices that the families of subjects are held to, minor units, (n,): -1 where to none, 0
    where to one in another currency, which nobody can have.
    """
    held = np.full(len(subjects), -1)
    for row, key in keys_of(subjects, at_us).items():
        if key in family_prices:
            price, currency = family_prices[key]
            held[row] = price if currency == subjects.currency[row] else 0
    return held


def families(
    subjects: Subjects, bounds: Limits, held: NDArray[np.int64], at_us: int
) -> tuple[NDArray[np.int64], list[ItemError]]:
    """Who decides for whom: leaders (n,), and members that cannot agree.

    A member is refused where it excludes what those before it agreed on, and holds back nobody.

    Args:
        subjects, bounds: n rows whose limits are feasible.
        held: what families are held to, as `held_of` gives it.
    """
    n = len(subjects)
    leader = np.arange(n)
    first: dict[Key, int] = {}
    agreed: dict[int, tuple[int, int]] = {}  # leader → lowest and highest price all can live with
    errors = []
    for row, key in keys_of(subjects, at_us).items():
        lead = first.get(key, row)
        price, step, offset = held[row], bounds.step[row], bounds.offset[row]
        unlike_lead = (subjects.currency[row], step, offset) != (
            subjects.currency[lead],
            bounds.step[lead],
            bounds.offset[lead],
        )
        if price == 0 or unlike_lead:
            unlike = "differs from its family in currency or price_ending: align it"
            errors.append(ItemError(row, "family", unlike))
            continue
        lower, upper = int(bounds.lower[row]), int(bounds.upper[row])
        if lead != row:
            lower, upper = max(lower, agreed[lead][0]), min(upper, agreed[lead][1])
        fits = lower <= upper
        if price >= 0:
            fits = lower <= price <= upper and (price - offset) % step == 0
        if not fits:
            excluded = "its limits exclude the one price of its family: widen them, or leave it"
            errors.append(ItemError(row, "family", excluded))
            continue
        first[key], agreed[lead] = lead, (lower, upper)
        leader[row] = lead
    return leader, errors


def prices_before(
    subjects: Subjects, keys: dict[int, Key], catalogue: Catalogue
) -> dict[Key, Held]:
    """The prices that families are held to already, as `families` takes them, by `keys_of`.

    A price holds nobody any more where its family has left the currency that it is in, or where
    the limits of no member allow it.
    """
    prices = catalogue.family_prices
    held = {key: price for key in set(keys.values()) if (price := prices.of(*key)) is not None}
    currencies = {
        (key[0], held[key][1])
        for row, key in keys.items()
        if key in held and held[key][1] != subjects.currency[row]
    }
    left = {one for one in currencies if not catalogue.members(*one).size}
    held = {key: price for key, price in held.items() if (key[0], price[1]) not in left}
    rows = np.array([row for row, key in keys.items() if key in held], np.int64)
    amounts = np.array([held[keys[row]][0] for row in rows.tolist()], np.int64)
    numbers = {name: column[rows] for name, column in subjects.number.items()}
    outside = rows[~_allowed(subjects.per_major[rows], numbers, amounts)]
    for key in {keys[row] for row in outside.tolist()}:
        amount, currency = held[key]
        mine = catalogue.members(key[0], currency)
        numbers = {name: column[mine] for name, column in catalogue.number.items()}
        if mine.size and not _allowed(catalogue.per_major[mine], numbers, amount).any():
            del held[key]
    return held


def _allowed(
    per_major: NDArray[np.int64],
    number: Mapping[str, NDArray[np.float64]],
    price: NDArray[np.int64] | int,
) -> NDArray[np.bool_]:
    """Whether prices, minor units, keep the limits of listings, their steps aside, (n,)."""
    names = ("unit_cost", "min_price", "max_price", "minimum_advertised_price", "price_ending")
    fixed = limits(per_major, **{name: number[name] for name in names})
    inside = (fixed.lower <= price) & (price <= fixed.upper)
    return np.asarray(inside & ((price - fixed.offset) % fixed.step == 0))


def prices_held(subjects: Subjects, price: NDArray[np.int64], at_us: int) -> dict[Key, Held]:
    """The prices, minor units (n,), that families are held to from now on, as `families` takes."""
    keys = keys_of(subjects, at_us)
    return {key: (int(price[row]), subjects.currency[row]) for row, key in keys.items()}


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
