"""What may change from day to day in a simulated season."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of a season. By default nothing happens: demand is the buyers' own, for ever.

    All of them are assumed; no record at hand measures them per product.

    Attributes:
        days: length of the season; unsold stock is worth nothing after it.
        competitors: weight of a rival's price in what buyers think right, in [0, 1): value
            becomes value^(1 - w) rival^w. A rival's price is the value of its day times
            lognormal(0, 0.15); a new one is drawn on one day in ten.
        promotions: probability that a promotion begins on a day; for three days conversion is
            half as high again, up to 0.9. Sellers see that it is on.
        shocks: standard deviation of the log of a day's conversion, which is cut at 0.9.
        drift: standard deviation of a day's step of the log of the value, a random walk whose first
            step is taken before the first day.
        turn: factor on the elasticity, from `turn_day` on, of a share `turn_share` of listings.
        turn_day: day of the turn; None for none.
        turn_share: share of the listings that turn, in [0, 1].
        memory: strength of the price remembered: demand is multiplied by exp(`memory` (m - p) / v)
            with m the remembered price, and by twice that exponent where p > m. Popescu and Wu,
            "Dynamic pricing strategies with reference effects", Operations Research 2007, section
            2 (losses weigh more; m is smoothed with weight 0.8 on the past).
        stock: fewest and most units a listing starts with, drawn evenly; None for no end.
        prompt: share of a day's units reported that day.
        delay: mean days until the rest of a day, all at once, is reported, at least 1; geometric.
            What comes after the season is never seen.
        lost: share of listing-days whose rest is never reported.
        group: listings that are substitutes: consecutive rows. 1 for none.
        nest: independence of substitutes, in (0, 1]: 1 leaves them to compete only with not
            buying, near 0 buyers move wholly to the better offer. Train, "Discrete choice methods
            with simulation", 2009, equations 4.4 and 4.5.

    Raises:
        ValueError: a value outside its range, or a count that is not whole.
    """

    days: int = 30
    competitors: float = 0.0
    promotions: float = 0.0
    shocks: float = 0.0
    drift: float = 0.0
    turn: float = 0.5
    turn_day: int | None = None
    turn_share: float = 1 / 3
    memory: float = 0.0
    stock: tuple[int, int] | None = None
    prompt: float = 1.0
    delay: float = 1.0
    lost: float = 0.0
    group: int = 1
    nest: float = 0.5

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in [{low}, {high}], not {value}")
        for name in ("days", "group", "turn_day", "stock"):
            value = getattr(self, name)
            for count in value if isinstance(value, tuple) else (value,):
                if count is not None and not float(count).is_integer():
                    raise ValueError(f"{name} must be whole, not {value}")
        if self.stock is not None and not (
            len(self.stock) == 2 and 0 <= self.stock[0] <= self.stock[1] <= _STOCK_MOST
        ):
            raise ValueError(
                "stock must be (fewest, most), "
                f"0 <= fewest <= most <= {_STOCK_MOST}, not {self.stock}"
            )
        if self.turn_day is not None and self.turn_day < 0:
            raise ValueError(f"turn_day must be at least 0, not {self.turn_day}")

    def assumed(self) -> str:
        """What differs from a season without events, for reports."""
        plain = {field.name: field.default for field in fields(self)}
        changed = [
            f"{name} {getattr(self, name)}"
            for name in plain
            if getattr(self, name) != plain[name] and name != "days"
        ]
        return f"{self.days} days" + "".join(f", {text}" for text in changed)


_STOCK_MOST = 100_000_000
_RANGES = (
    ("days", 1, 10_000),
    ("competitors", 0.0, 0.99),
    ("promotions", 0.0, 1.0),
    ("shocks", 0.0, 2.0),
    ("drift", 0.0, 1.0),
    ("turn", 0.05, 20.0),
    ("turn_share", 0.0, 1.0),
    ("memory", 0.0, 10.0),
    ("prompt", 0.0, 1.0),
    ("delay", 1.0, 1000.0),
    ("lost", 0.0, 1.0),
    ("group", 1, 1000),
    ("nest", 0.01, 1.0),
)
