"""A table of sales as if this service had been there: what it believed before each was made."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bandits import Listings, Outcomes, limits
from markets import History
from service import models, registering
from service.items import read_items
from service.pricebandit import Pricebandit
from service.reading import contradictions
from service.sales import import_sales
from service.schemas import LISTINGS
from service.settings import Settings
from service.subjects import context_of, gather, nothing_asked
from service.tables import SalesTable, sales
from service.train import NothingToTrainOn, Rows, concatenated

Progress = Callable[[str, int, int], None]

_BLOCKS = 30  # times that what was sold so far is learned from
_PART = 4096
_FIELDS = ("listing_id", "title", "description", "category", "brand", "currency", "unit_cost")


def rehearse(
    history: History, source: str, settings: Settings, progress: Progress
) -> tuple[Rows, Pricebandit]:
    """Live through a table of sales in a home of its own, which is gone when this returns.

    Args:
        history: as `markets.read_sales_table` gives it. source: what messages call the table.
        settings: rules and embeddings are theirs, and the encoder that their home starts with next;
            the home and its log are only read.

    Returns:
        Its sales with what was believed at the start of their block of days, and the closed state
        after the last one.

    Raises:
        NothingToTrainOn: it does not say how often listings were shown, or what it says of a
            listing or a sale is refused.
    """
    shown = history.sales["impressions"].fill_null(0) > 0
    if not shown.any():
        raise NothingToTrainOn(
            f"{source}: none of {history.sales.height} sales says how often the listing was "
            "shown: fill in the column impressions, without which there is no rate to learn from"
        )
    with tempfile.TemporaryDirectory() as folder:
        # what is learned in another model's space would be of no use to the home
        _, adapter = models.at_next_start(settings)
        there: dict[str, Any] = {"home": Path(folder), "database_url": None, "adapter": adapter}
        there["embeddings"] = settings.embeddings or settings.home / "embeddings"
        bandit = Pricebandit(Settings(**{**settings.model_dump(), **there}))
        try:
            _register(bandit, history, progress)
            families = _families(history, bandit)
            return _lived(bandit, history.sales.filter(shown), families, progress), bandit
        finally:
            bandit.spoil()  # no snapshot is written of what will not be there
            bandit.close()


def _register(bandit: Pricebandit, history: History, progress: Progress) -> None:
    documents = [
        {name: value for name, value in row.items() if value is not None}
        for row in history.listings.select(_FIELDS).iter_rows(named=True)
    ]
    items = read_items(LISTINGS, documents)
    items = items.without(contradictions(items))
    embedded = registering.embed_listings(
        bandit, items, lambda done, total: progress("embedding", done, total)
    )
    bandit.carry_out(registering.register, [embedded])
    if items.errors:
        raise NothingToTrainOn(f"a listing of the table is refused: {items.errors[0].message}")


def _families(history: History, bandit: Pricebandit) -> NDArray[np.object_]:
    """What the variants of each listing share, or its own id, by catalogue row, object (n,)."""
    ids, family = (history.listings[name].to_list() for name in ("listing_id", "family_group"))
    of = dict(zip(ids, family, strict=True))
    return np.array([of[name] or name for name in bandit.catalogue.listing_id], object)


def _lived(
    bandit: Pricebandit, table: pl.DataFrame, families: NDArray[np.object_], progress: Progress
) -> Rows:
    """Note what is believed before each block of days, then learn from the block."""
    table = table.sort("at", maintain_order=True)
    for name in ("promotion", "unit_cost"):
        if name not in table.columns:
            table = table.with_columns(pl.lit(None, pl.Float64).alias(name))
    parts: list[Outcomes] = []
    done = 0
    for block in _blocks(table):
        recorded = sales(block, bandit.catalogue.minor_units())
        if recorded.errors:  # what the loader does not ask: prices that round to 0, times to come
            error = recorded.errors[0]
            listing = block["listing_id"][error.index]
            raise NothingToTrainOn(f"a sale of {listing!r:.80} is refused: {error.message}")
        for start in range(0, block.height, _PART):
            rows = slice(start, start + _PART)
            parts.append(_believed(bandit, block[rows], recorded.part(start, start + _PART)))
        bandit.carry_out(import_sales, [recorded])
        bandit.refresh()
        done += block.height
        progress("living through the sales", done, table.height)
    outcomes = concatenated(parts)
    names = np.array(bandit.catalogue.listing_id, object)
    return Rows.of(outcomes, names[outcomes.listing], families[outcomes.listing])


def _blocks(table: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Whole days in order, at most `_BLOCKS` parts of about as many rows each."""
    day = table["at"].dt.date()
    number = ((day.rank("min") - 1) * _BLOCKS / table.height).floor()
    for one in number.unique().sort():
        yield table.filter(number == one)


def _believed(bandit: Pricebandit, block: pl.DataFrame, recorded: SalesTable) -> Outcomes:
    """Sales with the curve and features of their listings as things stand."""
    catalogue = bandit.catalogue
    rows = catalogue.rows(recorded.listing_id)
    vectors = bandit.vectors(rows)
    asked: dict[str, Any] = nothing_asked(*vectors[0].shape)
    asked["promotion"] = _numbers(block["promotion"])
    subjects = gather(catalogue, rows, rows, *vectors, asked)
    cost = _numbers(block["unit_cost"])
    number = dict(subjects.number)
    number["unit_cost"] = np.where(np.isnan(cost), number["unit_cost"], cost)
    subjects = replace(subjects, number=number)
    guess, sd = bandit.guesses.of(catalogue, subjects)
    context = replace(context_of(subjects, guess, sd, 0), at=recorded.at_us)
    anchor, n = subjects.anchor_or(guess), len(rows)
    listings = Listings(
        rows, anchor, subjects.per_major, limits(subjects.per_major), np.arange(n), context
    )
    policy = bandit.policy
    profile = policy.profile(policy.posterior(listings))
    listings = policy.placed(listings)
    estimates, x = policy.estimate(listings, profile, recorded.price[:, None])
    margin = recorded.price - np.nan_to_num(number["unit_cost"])
    units = recorded.units.astype(np.float64)
    return Outcomes(
        rows,
        anchor,
        recorded.price,
        recorded.impressions,
        units,
        units * margin,
        estimates.curve_sd[:, 0],
        x[:, 0].cpu().numpy(),
        recorded.at_us,
        policy.passing(x[:, 0]),
        np.ones(len(rows)),
        np.ones(len(rows)),
        np.full(len(rows), -1),
        np.full(len(rows), np.nan),
        np.zeros(len(rows)),
        np.zeros(len(rows)),
        np.full(len(rows), np.nan),
        estimates.mean[:, 0],
        np.zeros(len(rows)),
    )


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    """A column as float64 (n,), NaN where it says nothing."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
