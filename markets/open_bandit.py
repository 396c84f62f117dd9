"""Open Bandit Dataset (ZOZOTOWN): items shown in three places, with the probability of each draw.

Saito, Aihara, Matsutani & Narita, "Open Bandit Dataset and Pipeline: towards realistic and
reproducible off-policy evaluation", NeurIPS Datasets and Benchmarks 2021, describes the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from markets.checks import Rule, number_fix, sift, to_numbers, to_text, to_times
from markets.tables import choose_columns, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PLACES = 3
"""Places of the page in which items are shown at once."""

USER_FEATURES = tuple(f"user_feature_{i}" for i in range(4))
_NUMBERS = ("item_id", "position", "click", "propensity_score")
_COLUMNS = ("timestamp", *_NUMBERS, *USER_FEATURES)


@dataclass(frozen=True, slots=True, eq=False)
class OpenBandit:
    """Impressions of one campaign under one policy, in the file's order.

    Attributes:
        at: time of the impression, microseconds since 1970 UTC, int64 (m,).
        item: item shown, int64 (m,), from 0.
        position: place it was shown in, int64 (m,), 0 to 2 (the file counts from 1).
        click: 1 where it was clicked, float64 (m,).
        propensity: probability of the item in its place under the policy that ran, float64 (m,).
        user: hashed features of the visitor, four columns of text, (m) rows.
        n_items: one more than the largest item; every item of a campaign occurs in its files.
        dropped: reason in plain words -> rows of the file.
        notes: for each reason that occurred, a sentence with row, cell and fix.
    """

    at: Ints
    item: Ints
    position: Ints
    click: Floats
    propensity: Floats
    user: pl.DataFrame
    n_items: int
    dropped: dict[str, int]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.item)


def read_open_bandit(path: str | Path, *, tolerance: float = 0.02) -> OpenBandit:
    """Read one campaign's file of the Open Bandit Dataset, as `.csv`, `.parquet` or another table.

    Args:
        path: columns timestamp, item_id (from 0), position (1 to 3), click (0 or 1),
            propensity_score (above 0, at most 1), user_feature_0 to user_feature_3; others, such
            as the user-item affinities, are ignored. No column is a key: one visitor may see one
            item twice.
        tolerance: share of rows that may be junk; they are dropped and reported.

    Raises:
        TableError: a missing column, or more junk than tolerated; the message names column, row
            (from 1 below the header), cell and fix.
    """
    path = Path(path)
    raw = choose_columns(read_table(path), dict.fromkeys(_COLUMNS, ()), path.name)
    read = pl.DataFrame(
        {
            "timestamp": to_times(raw["timestamp"]),
            **{name: to_numbers(raw[name]) for name in _NUMBERS},
            **{name: to_text(raw[name]) for name in USER_FEATURES},
        }
    )
    sifted = sift(raw, read, _rules(), path.name, tolerance)
    rows = sifted.rows
    item = rows["item_id"].cast(pl.Int64).to_numpy()
    return OpenBandit(
        at=rows["timestamp"].to_physical().to_numpy(),
        item=item,
        position=rows["position"].cast(pl.Int64).to_numpy() - 1,
        click=rows["click"].to_numpy(),
        propensity=rows["propensity_score"].to_numpy(),
        user=rows.select(USER_FEATURES),
        n_items=int(item.max()) + 1,
        dropped=sifted.dropped,
        notes=sifted.notes,
    )


def _rules() -> list[Rule]:
    item, position = pl.col("item_id"), pl.col("position")
    chance = pl.col("propensity_score")
    unread, advice = pl.col("timestamp").is_null(), "write all dates as 2026-01-31T12:00:00Z"
    rules = [Rule("timestamp cannot be read", "timestamp", unread, advice)]
    rules += [
        Rule(f"{name} cannot be read", name, pl.col(name).is_null(), number_fix)
        for name in _NUMBERS
    ]
    rules += [
        Rule(
            "item_id is not a whole number from 0",
            "item_id",
            (item < 0) | (item % 1 != 0),
            "number the items of a campaign 0, 1, 2, ...",
        ),
        Rule(
            "position is not 1, 2 or 3",
            "position",
            ~position.is_in([1.0, 2.0, 3.0]),
            "give the place on the page: 1 left, 2 centre, 3 right",
        ),
        Rule(
            "click is not 0 or 1",
            "click",
            ~pl.col("click").is_in([0.0, 1.0]),
            "write 1 where the item was clicked, else 0",
        ),
        Rule(
            "propensity_score is not above 0 and at most 1",
            "propensity_score",
            (chance <= 0) | (chance > 1),
            "give the probability with which the policy showed this item in this place",
        ),
    ]
    return rules
