from datetime import UTC, datetime

import polars as pl

from markets import LISTING_COLUMNS, SALES_COLUMNS, History


def history_of(
    listings: list[dict[str, object]], sales: list[tuple[str, int, float, int, int | None]]
) -> History:
    """Listings with defaults filled in; sales as (id, day of January, price, units, seen)."""
    defaults = {"title": "Tin", "family_group": "F", "currency": "GBP"}
    frame = pl.DataFrame(
        [{**dict.fromkeys(LISTING_COLUMNS), **defaults, **row} for row in listings],
        schema=LISTING_COLUMNS,
    )
    rows = [(i, datetime(2025, 1, day, tzinfo=UTC), p, u, seen) for i, day, p, u, seen in sales]
    return History(frame, pl.DataFrame(rows, schema=SALES_COLUMNS, orient="row"), {"junk": 3})
