"""A small catalogue and its recorded sales, as files."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_THINGS = ("mug", "table lamp", "wool scarf", "cake stand", "water bottle", "photo frame")
_LOOKS = ("red", "blue", "oak", "vintage", "striped", "large", "travel", "paisley", "tin", "glass")

LISTINGS = [
    {
        "listing_id": f"L{i:02d}",
        "title": f"{look} {thing}",
        "currency": "GBP",
        "unit_cost": 2 + i % 7,
        # some start cold: what they are worth has to be guessed from the others
        "reference_price": None if i % 5 == 0 else 5 + i % 11,
        "family": f"family {i % 12}" if i % 12 < 2 else None,
    }
    for i, (thing, look) in enumerate((t, look) for t in _THINGS for look in _LOOKS)
]


def write_listings(path: Path, listings: Sequence[dict[str, Any]]) -> Path:
    return write_csv(path, listings[0], (listing.values() for listing in listings))


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Path:
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(rows)
    return path


def write_sales(path: Path, rows: int, seed: int) -> Path:
    """Recorded sales of the catalogue, all different, one in four without impressions."""
    chance = np.random.default_rng(seed)
    listing = chance.integers(len(LISTINGS), size=rows)
    impressions = chance.integers(20, 200, rows)
    units = chance.binomial(impressions, 0.05)
    price = chance.integers(300, 1500, rows) / 100
    shown = [n if i % 4 else "" for i, n in enumerate(impressions.tolist())]
    when = [f"2026-01-{1 + i % 28:02d}T{i // 28 % 24:02d}:{i // 672 % 60:02d}:00Z"
            for i in range(rows)]  # fmt: skip
    ids = [LISTINGS[i]["listing_id"] for i in listing.tolist()]
    columns = ("listing_id", "at", "price", "units", "impressions")
    return write_csv(
        path, columns, zip(ids, when, price.tolist(), units.tolist(), shown, strict=True)
    )
