"""What a seller knows of each listing before it has sold, in three regimes, and its ladder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bandits import (
    GuessModel,
    Sources,
    amounts,
    geometric_ladders,
    limits,
    minor_per_major,
    word_ids,
)
from markets.buyers import Buyers
from markets.demand import Floats
from markets.history import History
from markets.texts import nearest

Regime = Literal["reference", "cost", "text"]
REGIMES: tuple[Regime, ...] = ("reference", "cost", "text")

_NEIGHBOURS = 10
# Ends of the ladders as multiples of the guessed price. Without costs revenue is the objective,
# whose best price lies lower; without a reference price the guess may be far off.
_ENDS: dict[Regime, tuple[float, float]] = {
    "reference": (0.5, 2.0),
    "cost": (0.4, 3.2),
    "text": (0.15, 3.2),
}


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What is known, one row per listing.

    Attributes:
        regime: "reference": what the listing has been sold for, and its cost; "cost": its cost;
            "text": its text alone, and then revenue is the objective.
        reference: currency units, (n,), NaN where unknown. Listings that are not new have one in
            every regime.
        unit_cost: currency units, (n,), NaN where unknown.
        vectors: of the texts, float32 (n, d). words: hashes of their words, int32 (n, 32).
        neighbours: most similar listings with a past, of another product family, int64 (n, 10).
        similarity: their cosines, (n, 10), NaN where there are fewer.
        guess: log price guessed, currency units, (n,). guess_sd: its standard deviation, (n,).
        ladders: prices to choose from, currency units, (n, arms), never below cost; rising, but
            where minor units are coarse some repeat.
    """

    regime: Regime
    reference: Floats
    unit_cost: Floats
    vectors: npt.NDArray[np.float32]
    words: npt.NDArray[np.int32]
    neighbours: npt.NDArray[np.int64]
    similarity: Floats
    guess: Floats
    guess_sd: Floats
    ladders: Floats

    @classmethod
    def of(
        cls,
        history: History,
        buyers: Buyers,
        regime: Regime,
        vectors: npt.NDArray[np.float32],
        past: npt.NDArray[np.bool_],
        new: npt.NDArray[np.bool_],
        arms: int = 16,
        trained_on: npt.NDArray[np.bool_] | None = None,
    ) -> Knowledge:
        """What a seller of `history.listings` knows.

        Args:
            vectors: of unit length, float32 (n, d).
            past: listings whose recorded price others can be guessed from, bool (n,).
            new: listings that are guessed as if they had none, bool (n,). Of a listing in both,
                the others know the price and it does not: every listing in its turn is the new one.
            trained_on: listings whose texts the embeddings were fitted to, bool (n,); None: none.

        Raises:
            ValueError: an unknown regime, arrays of another length, or fewer than two arms.
        """
        n = len(buyers)
        if regime not in REGIMES:
            raise ValueError(f"regime must be one of {', '.join(REGIMES)}, not {regime!r}")
        if not len(vectors) == past.size == new.size == n or arms < 2:
            raise ValueError(
                f"expected vectors, past and new of {n} rows and two arms or more, "
                f"not {len(vectors)}, {past.size}, {new.size} and {arms}"
            )
        charged = np.where(past, buyers.recorded_price, np.nan)
        cost = buyers.unit_cost if regime != "text" else np.full(n, np.nan)
        family = history.listings["family_group"].to_numpy()
        neighbours, similarity = nearest(vectors, past, _NEIGHBOURS, family)
        unlike = np.isnan(similarity)
        near_price = np.where(unlike, np.nan, np.log(charged)[neighbours])
        log_cost = np.log(np.where(cost > 0.0, cost, np.nan))  # what is free says nothing
        near_cost = np.where(unlike, np.nan, log_cost[neighbours])
        titles = history.listings["title"].to_list()
        words, amount = word_ids(titles), amounts(titles).astype(np.float64)
        near_amount = np.where(unlike[..., None], np.nan, amount[neighbours])
        near = (log_cost, near_price, near_cost, similarity, words, amount, near_amount)
        _, group = np.unique(family, return_inverse=True)
        model = GuessModel.fit(Sources(np.log(charged), *near, group, trained_on))
        told = buyers.recorded_price if regime == "reference" else np.full(n, np.nan)
        reference = np.where(new, told, charged)
        guess, sd = model.guess(Sources(np.log(reference), *near))
        return cls(
            regime,
            reference,
            cost,
            vectors,
            words,
            neighbours,
            similarity,
            guess,
            sd,
            _ladders(history, np.exp(guess), cost, regime, arms),
        )


def _ladders(history: History, guess: Floats, cost: Floats, regime: Regime, arms: int) -> Floats:
    """Prices in equal ratios around the guess, floored at cost and rounded to minor units."""
    per_major = minor_per_major(history.listings["currency"].to_list())
    bounds = limits(per_major, unit_cost=cost)
    low, high = (guess * per_major * end for end in _ENDS[regime])
    # a cost far above the guess says that the guess was wrong
    ladder = geometric_ladders(
        low, np.maximum(high, 2.0 * np.nan_to_num(cost) * per_major), bounds, arms
    )
    prices: Floats = ladder.prices / per_major[:, None]
    return prices
