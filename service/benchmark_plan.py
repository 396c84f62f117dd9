"""What a benchmark is asked to run: data, policies and markets, checked before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bandits import MINOR_DIGITS
from evaluation.report import AGAINST
from evaluation.sellers import SELLERS, unavailable
from evaluation.sellers.peers import PEERS
from evaluation.stage import Market
from markets import (
    FAMILIES,
    MARKETS,
    REGIMES,
    Conditions,
    History,
    TableError,
    load_catalogue,
    read_online_retail,
    read_sales_table,
)

Name = TypeVar("Name", bound=str)

# Substitutes are left out: a trial's clairvoyant of the rungs prices each listing alone.
SCENARIOS: dict[str, Conditions] = {"plain": Conditions()} | {
    name.lower(): market["conditions"]
    for name, market in MARKETS.items()
    if "conditions" in market and market["conditions"].group == 1
}
"""Conditions by the name of the environment that has them."""

KNOWN, NEW = 1500, 400
"""Listings known and new where nothing else is asked for, or all that there are."""

_SEEDS = 1 << 63


@dataclass(frozen=True, slots=True)
class Asked:
    """What to run. Lists of names are comma-separated, "all" for all of them.

    Attributes:
        policies: or "own", all but the peers of other packages, or "peers"; "all" leaves out
            peers whose package is not installed.
        data: Online Retail or a table of sales; the shipped catalogue if None.
        currency: of a table of sales that does not say.
        families: mixed in one market, or with `each_family` one market each; None: all but
            "constant", or with `each_family` all.
        seeds: how many, from `first_seed` on. known, new: listings; None for `KNOWN` and `NEW` or
            all that there are. embeddings: False to embed texts by their words alone.
    """

    data: Path | None = None
    currency: str | None = None
    policies: str = "own"
    regimes: str = "all"
    families: str | None = None
    each_family: bool = False
    scenarios: str = "plain"
    seeds: int = 10
    first_seed: int = 1
    days: int = 30
    warm_days: int = 20
    known: int | None = None
    new: int | None = None
    embeddings: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A benchmark that has been checked and can be run."""

    asked: Asked
    history: History
    sellers: tuple[str, ...]
    markets: dict[str, Market]
    seeds: tuple[int, ...]


def plan(asked: Asked) -> Plan:
    """Read the data and lay the markets out.

    Raises:
        ValueError: unknown names, counts below their least, or more listings asked for than there
            are. TableError: data that cannot be read.
    """
    counts = (("seeds", asked.seeds, 1), ("seed", asked.first_seed, 0), ("days", asked.days, 1))
    for name, count, least in (*counts, ("warm days", asked.warm_days, 0)):
        if count < least:
            raise ValueError(f"{name} must be at least {least}, not {count}")
    if asked.first_seed + asked.seeds > _SEEDS:
        raise ValueError(f"seed is {asked.first_seed}: give one below 2^63, with all that follow")
    if asked.currency is not None and asked.data is None:
        raise ValueError("currency is of a table of sales: give data, too")
    sellers = _policies(asked.policies)
    markets = _markets(asked)
    seeds = tuple(range(asked.first_seed, asked.first_seed + asked.seeds))
    history = _read(asked.data, asked.currency)
    if unknown := set(history.listings["currency"]) - MINOR_DIGITS.keys():
        raise ValueError(f"currency is {unknown.pop()!r}: give an ISO 4217 code such as GBP")
    known, new = _sizes(history, asked, seeds)
    sized = {name: replace(market, known=known, new=new) for name, market in markets.items()}
    return Plan(asked, history, sellers, sized, seeds)


def compared_with(asked: str | None, sellers: Sequence[str]) -> str:
    """The seller that others are compared with.

    Raises:
        ValueError: one was asked for that takes no part.
    """
    if asked is None:
        return AGAINST if AGAINST in sellers else sellers[0]
    if asked not in sellers:
        raise ValueError(f"cannot compare with {asked!r}: it is not among {', '.join(sellers)}")
    return asked


def _chosen(what: str, given: str, valid: Collection[Name]) -> tuple[Name, ...]:
    """Names of a comma-separated list, each once, in its order."""
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if names == ("all",):
        return tuple(valid)
    of_name = {str(name): name for name in valid}
    unknown = [name for name in names if name not in of_name]
    if unknown or not names:
        wrong = f"does not know {', '.join(map(repr, unknown))}" if unknown else "is empty"
        raise ValueError(f"{what} {wrong}: choose among {', '.join(valid)}, or all")
    return tuple(of_name[name] for name in names)


def _policies(given: str) -> tuple[str, ...]:
    missing = unavailable()
    own = tuple(name for name in SELLERS if name not in PEERS)
    peers = tuple(name for name in PEERS if name not in missing)
    groups = {"own": own, "peers": peers, "all": own + peers}
    if groups.get(given):
        return groups[given]
    chosen = _chosen("policies", given, SELLERS) if given != "peers" else tuple(PEERS)
    for name in chosen:
        if name in missing:
            raise ValueError(f"policies: {name} cannot be run: {missing[name]}")
    return chosen


def _markets(asked: Asked) -> dict[str, Market]:
    """A market for each regime, scenario and, if wanted, family; sizes are not yet set."""
    usual = FAMILIES if asked.each_family else FAMILIES[:3]
    families = _chosen("families", asked.families or ",".join(usual), FAMILIES)
    mixtures = [(family,) for family in families] if asked.each_family else [families]
    markets = {}
    for regime in _chosen("regimes", asked.regimes, REGIMES):
        for mixture in mixtures:
            for scenario in _chosen("scenarios", asked.scenarios, SCENARIOS):
                parts = [regime] if mixture == FAMILIES[:3] else [regime, "+".join(mixture)]
                name = "/".join(parts if scenario == "plain" else [*parts, scenario])
                conditions = SCENARIOS[scenario]
                # a season too short for the turn turns at half of its days
                turn = conditions.turn_day
                turn = asked.days // 2 if turn is not None and turn >= asked.days else turn
                conditions = replace(conditions, days=asked.days, turn_day=turn)
                markets[name] = Market(regime, mixture, conditions, warm_days=asked.warm_days)
    return markets


def _read(path: Path | None, currency: str | None) -> History:
    if path is None:
        return load_catalogue()
    try:
        return read_online_retail(path)
    except TableError as no_online_retail:
        try:
            return read_sales_table(path, currency=currency)
        except TableError as no_sales:
            both = f"{no_sales}\n(read as Online Retail: {no_online_retail})"
            raise TableError(str(no_sales) if not path.is_file() else both) from no_sales


def _sizes(history: History, asked: Asked, seeds: Sequence[int]) -> tuple[int, int]:
    """Listings known and new, the same in every seed."""
    share = Market("cost").known_share
    splits = [history.split(share, seed) for seed in seeds]
    sizes = []
    for what, number, usual, part in (
        ("known", asked.known, KNOWN, 0),
        ("new", asked.new, NEW, 1),
    ):
        most = min(split[part].listings.height for split in splits)
        if number is not None and not 1 <= number <= most:
            raise ValueError(
                f"{what} must be at least 1 and at most {most}, not {number}: of "
                f"{history.listings.height} listings {share:.0%} of the product families are "
                f"known, which leaves {most} {what} ones in the seed that has the fewest"
            )
        sizes.append(number or min(usual, most))
    return sizes[0], sizes[1]
