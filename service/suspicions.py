"""What sellers get wrong for a whole shop at once: nothing is refused, but they are told."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bandits import whole_numbers
from bandits.guesses import in_other_units

if TYPE_CHECKING:
    from service.catalogue import Catalogue
    from service.pricebandit import Pricebandit
    from service.tables import SalesTable

FEWEST = 30
"""Listings, or sales, from which on it is no accident."""

_MOST = 0.9  # share of the listings that makes a whole shop
_HARDLY = 0.02  # share of the impressions without a sale, below which those are not told
_FAR = 3.0  # log units off what was charged before, twenty times: more than any sale or rise
_SEVERAL = 1.2  # units an impression, above which buyers take several: all who looked may be told

_LOGGER = logging.getLogger("pricebandit")


def of_record(catalogue: "Catalogue", sold: "SalesTable") -> str | None:
    """What is wrong with the prices of recorded sales, which are not in the catalogue yet; None
    where nothing is. Demand learned in other units than costs and limits are in misprices all.
    """
    rows = catalogue.rows(sold.listing_id)
    price = np.log(sold.price)
    whole = whole_numbers(sold.price) * (catalogue.per_major[rows] > 1)
    before, cost = price - catalogue.charged(rows), price - catalogue.log_cost(rows)
    told, costed = ~np.isnan(before), np.isnan(before) & ~np.isnan(cost)
    if told.sum() >= FEWEST and abs(middle := float(np.median(before[told]))) > _FAR:
        beside, count = "the reference_price, or what was sold for before,", told.sum()
    elif costed.sum() >= FEWEST and in_other_units(
        middle := float(np.median(cost[costed])), whole[costed]
    ):
        beside, count = "the unit_cost", costed.sum()
    else:
        return None
    return (
        f"prices are {np.exp(middle):.3g} times {beside} in the median of {count} sales: where "
        "they are in other units (1250 for 12.50), or of more than one unit, take them back with "
        "--undo, and import them in currency units for one unit sold"
    )


class Suspicions:
    """Says what looks wrong in a log line, each once for a process."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def look(self, bandit: "Pricebandit") -> None:
        """Look at the catalogue and its sales as they stand."""
        for name, message in (*_of_catalogue(bandit, self._said), *_of_sales(bandit, self._said)):
            self._said.add(name)
            _LOGGER.warning("%s", message)


def _of_catalogue(bandit: "Pricebandit", said: set[str]) -> Iterator[tuple[str, str]]:
    """(name, message) of what listings' terms look like."""
    catalogue = bandit.catalogue
    active = np.flatnonzero(catalogue.active[: len(catalogue)])
    number = catalogue.number
    if "unit" not in said:
        reference, cost = (number[name][active] for name in ("reference_price", "unit_cost"))
        both = (reference > 0) & (cost > 0)  # False where NaN
        if both.sum() >= FEWEST:
            middle = float(np.median(reference[both] / cost[both]))
            if in_other_units(np.log(middle), catalogue.in_pence(active[both])):
                yield (
                    "unit",
                    f"reference_price is {middle:.3g} times unit_cost in the median of "
                    f"{both.sum()} listings: send both in currency units (12.50, not 1250), in the "
                    "listing's currency, for one unit sold; until then neither is believed alone",
                )
    # who takes part in an A/B test is charged its reference price
    if "reference" not in said and not bandit.experiments:
        reference, decided = number["reference_price"][active], catalogue.last_price[active]
        told = int((~np.isnan(reference + decided)).sum())
        same = int((np.abs(reference - decided) * catalogue.per_major[active] < 0.5).sum())
        if told >= FEWEST and same > _MOST * told:
            yield (
                "reference",
                f"reference_price is the price decided last in {same} of {told} listings: send the "
                "shop's own prices, or leave them as they were; what was decided here would tell "
                "of itself. What is charged now is the current_price of a price request",
            )
    if "inventory" not in said:
        left = catalogue.inventory[active]
        none = int((left == 0).sum())
        # where most are said to have no end, it is those that are sold out which are told
        if len(left) >= FEWEST and none > _MOST * len(left):
            yield (
                "inventory",
                f"inventory is 0 in {none} of {len(left)} listings: those are priced for their "
                "last unit, and their sales teach nothing of demand; leave it out where there is "
                "no end of stock",
            )


def _of_sales(bandit: "Pricebandit", said: set[str]) -> Iterator[tuple[str, str]]:
    """(name, message) of what sales look like."""
    if "impressions" in said:
        return
    evidence = bandit.policy.evidence
    shown = float(evidence.totals[:, 1].sum())
    sold = float(evidence.sums[:, 0, -1].sum())  # of those that came with impressions
    if sold >= FEWEST and sold / _SEVERAL < shown < (1.0 + _HARDLY) * sold:
        yield (
            "impressions",
            f"{shown:.0f} impressions sold {sold:.0f} units: send how many looked, those who did "
            "not buy among them, also for decisions that sold nothing; where nobody counts them, "
            "the same number for every listing and day, such as 1000",
        )
