"""Limits and families: which prices are allowed, and who must share one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bandits import GUARDRAILS, Limits, limits
from bandits.limits import UNLIMITED, reference_range
from service.catalogue import Catalogue
from service.family_prices import Held, utc_day
from service.problems import ItemError
from service.subjects import Subjects, leaders

Key = tuple[int, str]
"""A family, and the unit or UTC day that its price is held for."""

_SIDES: Final = "left", "right"
_TOLD = "reference_price", "unit_cost"


def bounds_of(
    subjects: Subjects, sensible: NDArray[np.float64], held: NDArray[np.int64] | None = None
) -> Limits:
    """Prices that the sellers' rules allow for each subject.

    Args:
        sensible: as `sensible_for` has it.
        held: what each one's family is held to, see `groups_of`: given again whatever the step,
            and whether it makes sense.
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
        sensible=sensible if held is None else np.where(held < 0, sensible, np.nan),
    )


def take(bounds: Limits, rows: NDArray[np.int64] | slice) -> Limits:
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


@dataclass(frozen=True, slots=True)
class Kin:
    """The families, f of one currency, that subjects are of.

    Attributes:
        mine: rows of the subjects, (q,). place: of each one's family among the f, (q,).
        count: f. members: all active members whose limits are feasible, as catalogue rows, (m,).
        of: of each member's family, (m,). fixed: members' limits, their steps aside, m rows.
    """

    mine: NDArray[np.int64]
    place: NDArray[np.int64]
    count: int
    members: NDArray[np.int64]
    of: NDArray[np.int64]
    fixed: Limits


def kin_of(subjects: Subjects, catalogue: Catalogue) -> list[Kin]:
    """The families of subjects, currency by currency; each costs a look at the whole catalogue."""
    found = []
    grouped = np.flatnonzero(subjects.family >= 0)
    for currency in set(subjects.currency[grouped]):
        mine = grouped[subjects.currency[grouped] == currency]
        family, place = np.unique(subjects.family[mine], return_inverse=True)
        members = catalogue.members(family, currency)
        fixed = _fixed(catalogue.per_major[members], catalogue.number, members)
        sound = np.flatnonzero(fixed.feasible)
        members = members[sound]
        of = np.searchsorted(family, catalogue.family[members])
        found.append(Kin(mine, place, len(family), members, of, take(fixed, sound)))
    return found


def common_to(
    subjects: Subjects, kin: Sequence[Kin], what_if: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Lowest and highest price that each one's family agrees on, minor units, (2, n).

    All active members in its currency have a say, asked about or not, so that it does not matter
    who is asked about first; steps have none. Where no price suits all it is the range, with one
    price ending, that suits most, of several the lowest. One whom none of it suits has an empty
    range; one without a family, any price.

    Args:
        kin: their families, as `kin_of` has them.
        what_if: subjects with terms of their own, whom no range keeps from a price, (n,).
    """
    common = np.repeat([[np.int64(0)], [UNLIMITED]], len(subjects), axis=1)
    for one_currency in kin:
        mine, place, of = one_currency.mine, one_currency.place, one_currency.of
        fixed = one_currency.fixed
        code = (2 * of + (fixed.step > 1)) * (1 + fixed.offset.max(initial=0)) + fixed.offset
        _, one, kind = np.unique(code, return_index=True, return_inverse=True)
        lower, upper, suited = _most(kind, fixed.lower, fixed.upper)
        of, step, offset = of[one], fixed.step[one], fixed.offset[one]
        order = np.lexsort((lower, -suited, of))
        said, first = np.unique(of[order], return_index=True)
        chosen = np.full(one_currency.count, -1)
        chosen[said] = order[first]
        told = chosen[place] >= 0
        mine, chosen = mine[told], chosen[place[told]]
        own = _fixed(subjects.per_major[mine], subjects.number, mine)
        suits = (own.lower <= upper[chosen]) & (lower[chosen] <= own.upper)
        suits &= (own.step == step[chosen]) & (own.offset == offset[chosen])
        common[:, mine[suits]] = lower[chosen[suits]], upper[chosen[suits]]
        common[1, mine[~suits & ~what_if[mine]]] = -1
    return common


def sensible_for(
    subjects: Subjects, catalogue: Catalogue, kin: Sequence[Kin]
) -> NDArray[np.float64]:
    """Lowest and highest price that makes sense for each one, currency units, (2, n), NaN for none.

    What a family's members tell counts for all of it, and their own limits beside it: one that
    tells next to nothing is not to keep the others from the price that they share.

    Args:
        kin: their families, as `kin_of` has them.
    """
    low, high = reference_range(*(subjects.number[name] for name in _TOLD))
    for one in kin:
        told = reference_range(*(catalogue.number[name][one.members] for name in _TOLD))
        own = np.stack([one.fixed.upper, one.fixed.lower]) / catalogue.per_major[one.members]
        for end, said, limit, widest in (
            (low, told[0], own[0], np.fmin),
            (high, told[1], own[1], np.fmax),
        ):
            by_family, limits_of = np.full((2, one.count), np.nan)
            widest.at(by_family, one.of, said)
            widest.at(limits_of, one.of, limit)
            by_family = np.where(np.isnan(by_family), np.nan, widest(by_family, limits_of))
            end[one.mine] = widest(end[one.mine], by_family[one.place])
    return np.stack([low, high])


def _most(
    group: NDArray[np.int64], lower: NDArray[np.int64], upper: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The range that lies in the most ranges of each group, the lowest of several, and in how many:
    lower and upper end and count, (g,) each.

    Args:
        group: of each range, 0 … g - 1, (m,). lower, upper: its ends, lower <= upper, (m,).
    """
    groups, ends = np.tile(group, 2), np.concatenate([lower, upper])
    opens = np.repeat([1, -1], len(group))
    order = np.lexsort((-opens, ends, groups))
    groups, ends = groups[order], ends[order]
    depth = np.cumsum(opens[order])  # 0 after each group
    count = np.zeros(group.max(initial=-1) + 1, np.int64)
    np.maximum.at(count, groups, depth)
    deepest = np.flatnonzero(depth == count[groups])
    at = deepest[np.unique(groups[deepest], return_index=True)[1]]
    return ends[at], ends[at + 1], count


def groups_of(
    subjects: Subjects, family_prices: Mapping[Key, Held], at_us: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which subjects share a price: their group's number, -1 without a family, (n,); and the price
    that it is held to, minor units, (n,): -1 where to none, 0 where to one in another currency,
    which nobody can have.
    """
    group, held = np.full((2, len(subjects)), -1)
    numbers: dict[Key, int] = {}
    for row, key in keys_of(subjects, at_us).items():
        group[row] = numbers.setdefault(key, len(numbers))
        if key in family_prices:
            price, currency = family_prices[key]
            held[row] = price if currency == subjects.currency[row] else 0
    return group, held


def excluded(
    subjects: Subjects,
    bounds: Limits,
    common: NDArray[np.int64],
    group: NDArray[np.int64],
    held: NDArray[np.int64],
) -> list[ItemError]:
    """An error for every subject that cannot have the price of its family: the held one, else one
    that most of those asked about with it can have.

    Args:
        subjects, bounds: n rows whose limits are feasible. common: as `common_to` gives it.
        group, held: as `groups_of` gives them.
    """
    out = (held > 0) & ~_inside(bounds, held)
    unlike = held == 0
    free = (group >= 0) & (held < 0)
    out[free] = common[0, free] > common[1, free]
    rows = np.flatnonzero(free & ~out)
    lead = rows[leaders(group[rows])]
    unlike[rows] = subjects.currency[rows] != subjects.currency[lead]
    unlike[rows] |= (bounds.step[rows] != bounds.step[lead]) | (
        bounds.offset[rows] != bounds.offset[lead]
    )
    rows = rows[~unlike[rows]]
    together = np.unique(group[rows], return_inverse=True)[1]
    lower, upper, _ = _most(together, bounds.lower[rows], bounds.upper[rows])
    out[rows] = (bounds.lower[rows] > lower[together]) | (bounds.upper[rows] < upper[together])
    messages = (
        (unlike, "differs from its family in currency or price_ending: align it"),
        (out, "its limits exclude the one price of its family: widen them, or leave it"),
    )
    return [
        ItemError(row, "family", message)
        for which, message in messages
        for row in np.flatnonzero(which).tolist()
    ]


def prices_before(
    subjects: Subjects, keys: dict[int, Key], catalogue: Catalogue
) -> dict[Key, Held]:
    """The prices that families are held to already, as `groups_of` takes them, by `keys_of`.

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
    left = {one for one in currencies if not catalogue.members([one[0]], one[1]).size}
    held = {key: price for key, price in held.items() if (key[0], price[1]) not in left}
    rows = np.array([row for row, key in keys.items() if key in held], np.int64)
    amounts = np.array([held[keys[row]][0] for row in rows.tolist()], np.int64)
    fixed = _fixed(subjects.per_major[rows], subjects.number, rows)
    outside = rows[~_inside(fixed, amounts)]
    for key in _kept_by_nobody({keys[row] for row in outside.tolist()}, held, catalogue):
        del held[key]
    return held


def _kept_by_nobody(keys: set[Key], held: Mapping[Key, Held], catalogue: Catalogue) -> list[Key]:
    """Those of `keys` whose held price the limits of no member allow, where there is a member."""
    found = []
    for currency in {held[key][1] for key in keys}:
        asked = [key for key in keys if held[key][1] == currency]
        # looked up at once: each time costs a look at the whole catalogue
        members = catalogue.members([key[0] for key in asked], currency)
        members = members[np.argsort(catalogue.family[members], kind="stable")]
        fixed = _fixed(catalogue.per_major[members], catalogue.number, members)
        first, last = (
            np.searchsorted(catalogue.family[members], [key[0] for key in asked], side).tolist()
            for side in _SIDES
        )
        for key, *ends in zip(asked, first, last, strict=True):
            mine = take(fixed, slice(*ends))
            if len(mine.lower) and not _inside(mine, held[key][0]).any():
                found.append(key)
    return found


def _fixed(
    per_major: NDArray[np.int64], number: Mapping[str, NDArray[np.float64]], rows: NDArray[np.int64]
) -> Limits:
    """The limits of rows of listings, (m,), their steps aside; `per_major` is (m,)."""
    names = ("unit_cost", "min_price", "max_price", "minimum_advertised_price", "price_ending")
    return limits(per_major, **{name: number[name][rows] for name in names})


def _inside(bounds: Limits, price: NDArray[np.int64] | int) -> NDArray[np.bool_]:
    """Whether prices, minor units, keep limits, (n,)."""
    inside = (bounds.lower <= price) & (price <= bounds.upper)
    return np.asarray(inside & ((price - bounds.offset) % bounds.step == 0))


def prices_held(subjects: Subjects, price: NDArray[np.int64], at_us: int) -> dict[Key, Held]:
    """The prices, minor units (n,), that families are held to from now on, as `groups_of` takes."""
    keys = keys_of(subjects, at_us)
    return {key: (int(price[row]), subjects.currency[row]) for row, key in keys.items()}


def shared(
    bounds: Limits,
    leader: NDArray[np.int64],
    common: NDArray[np.int64],
    held: NDArray[np.int64],
) -> Limits:
    """Limits that all members of a family can live with, narrowed to what it agrees on, as far as
    steps lead there, or to a price that is held.
    """
    lower, upper = bounds.lower.copy(), bounds.upper.copy()
    low, high = common.copy()
    for floor, own in ((lower, bounds.lower), (low, common[0])):
        np.maximum.at(floor, leader, own)
    for ceiling, own in ((upper, bounds.upper), (high, common[1])):
        np.minimum.at(ceiling, leader, own)
    lower, upper, low, high = (ends[leader] for ends in (lower, upper, low, high))
    lower, upper = np.clip(low, lower, upper), np.clip(high, lower, upper)
    lower, upper = np.where(held >= 0, held, lower), np.where(held >= 0, held, upper)
    return Limits(lower, upper, bounds.step, bounds.offset, bounds.floors, bounds.ceilings)
