"""The one price that listings of a family have for each unit."""

from dataclasses import dataclass, field

from service.fields import utc_date

UNITS_KEPT = 1_000
"""Units for which a family's prices are kept: one a customer would else fill memory for ever."""

DAYS_KEPT = 2
"""Days for which they are kept, those decided on last: a clock that is put right at midnight comes
back to the one before, and one that was days ahead to days before all that it told.
"""

Held = tuple[int, str]
"""A price in minor units, and its currency."""


@dataclass(slots=True)
class FamilyPrices:
    """Prices that families are held to.

    Attributes:
        units: family → unit → price, by when it was decided last, newest at the end; of each
            family the newest `UNITS_KEPT`.
        days: family → UTC day → price decided last without a unit, likewise; of each family the
            newest `DAYS_KEPT`.
    """

    units: dict[int, dict[str, Held]] = field(default_factory=dict)
    days: dict[int, dict[str, Held]] = field(default_factory=dict)

    def of(self, family: int, unit: str) -> Held | None:
        """The price that a family is held to for a unit or UTC day, if it is to one."""
        held = self.days.get(family, {}).get(unit)
        return self.units.get(family, {}).get(unit, held)

    def note(self, family: int, unit: str | None, at_us: int, held: Held) -> None:
        """Note a price decided, for its unit, else for the day of its time in microseconds UTC."""
        kind, name, most = self.units, unit, UNITS_KEPT
        if name is None:
            kind, name, most = self.days, utc_day(at_us), DAYS_KEPT
        prices = kind.setdefault(family, {})
        prices.pop(name, None)  # to the end with it
        prices[name] = held
        if len(prices) > most:
            del prices[next(iter(prices))]


def utc_day(at_us: int) -> str:
    """The day (UTC) of a time in microseconds since 1970, e.g. 2026-01-31."""
    return utc_date(at_us).isoformat()
