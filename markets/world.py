"""A catalogue with its hidden buyers and what a seller knows: where episodes take place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from markets.buyers import Buyers
from markets.calendar import Calendar
from markets.catalogue import load_catalogue
from markets.demand import FAMILIES
from markets.history import History
from markets.knowledge import Knowledge, Regime
from markets.texts import text_vectors


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A market that episodes are drawn from. Rows belong together in all its parts.

    Attributes:
        history: the catalogue and its record. buyers: hidden. calendar: seasons and arrivals.
        knowledge: what a seller knows of each listing as if it were the new one.
    """

    history: History
    buyers: Buyers
    calendar: Calendar
    knowledge: Knowledge

    @classmethod
    def of(
        cls,
        history: History,
        regime: Regime,
        *,
        seed: int = 0,
        families: tuple[str, ...] = FAMILIES[:3],
        text_share: float = 0.5,
        vectors: npt.NDArray[np.float32] | None = None,
        arms: int = 16,
    ) -> World:
        """A world over `history`; hidden demand is drawn from `seed`.

        Args:
            families: demand families. text_share: share of the spread of elasticities that texts
                explain. vectors: embeddings of the listings, float32 (n, d); by their words alone
                where none are given. arms: prices on a ladder.

        Raises:
            ValueError: as `Buyers.from_history` and `Knowledge.of`.
        """
        buyers = Buyers.from_history(history, seed, families=families, text_share=text_share)
        if vectors is None:
            vectors = text_vectors(history.listings["title"].to_list())
        each = np.ones(len(buyers), np.bool_)
        knowledge = Knowledge.of(history, buyers, regime, vectors, each, each, arms)
        return cls(history, buyers, Calendar.from_history(history), knowledge)


def shipped(regime: Regime, families: Sequence[str] = FAMILIES[:3]) -> World:
    """The world of the shipped catalogue, made once for each regime and choice of families."""
    return _shipped(regime, tuple(families))


@cache
def _shipped(regime: Regime, families: tuple[str, ...]) -> World:
    return World.of(load_catalogue(), regime, families=families)
