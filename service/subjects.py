"""Listings to be priced, as columns gathered from the catalogue, and the guess of their price."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandits import (
    Context,
    Decisions,
    GuessModel,
    Limits,
    Listings,
    Objective,
    Sources,
    Stock,
    beside_competitor,
    usual_markup,
    whole_numbers,
)
from bandits.guesses import MARKUP
from service.catalogue import Catalogue
from service.items import log_of
from service.problems import ItemError

BLIND = GuessModel.fit(
    Sources(np.empty(0), np.empty(0), np.empty((0, 1)), np.empty((0, 1)), np.empty((0, 1)))
)
"""The guess of an empty catalogue."""

_FIT_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Subjects:
    """Listings to be priced, one row per request, gathered from the catalogue.

    Attributes:
        listing: catalogue rows, -1 for a what-if about a listing that is not there, int64 (n,).
        listing_id, currency: object (n,). per_major: int64 (n,).
        number: the listings' numeric fields, name → (n,).
        embedding: float32 (n, d), zeros where `embedded` is False, bool (n,).
        words: hashes of the text's words, int32 (n, 32). amount: log amounts, (n, 2).
        neighbours, similarity: int64 and float64 (n, 10).
        charged: log of what it was sold for, (n,). anchor, first_at, last_price: (n,).
        family, category: int64 (n,). objective: weights, (n, 3), NaN where not said.
        single: an impression sells one unit at most, bool (n,).
        inventory: units left, the request's before the listing's, (n,), NaN without an end.
        sell_by: microseconds since 1970 UTC, (n,), NaN where not said. periods_left: days left to
            sell in as the request has it, (n,), NaN where it does not.
        market_text: float32 (n, d).
        competitor_price, traffic, promotion, current_price: (n,), NaN where unknown.
        unit: what the price is held constant for, object (n,), None where not said.
        market_lost: True where a market text was sent but could not be embedded, bool (n,).
        experiment: name of the A/B test that it takes part in, object (n,), None for none.
        control: whether it is charged its reference price there, bool (n,).
    """

    listing: NDArray[np.int64]
    listing_id: NDArray[np.object_]
    currency: NDArray[np.object_]
    per_major: NDArray[np.int64]
    number: dict[str, NDArray[np.float64]]
    embedding: NDArray[np.float32]
    embedded: NDArray[np.bool_]
    words: NDArray[np.int32]
    amount: NDArray[np.float64]
    neighbours: NDArray[np.int64]
    similarity: NDArray[np.float64]
    charged: NDArray[np.float64]
    anchor: NDArray[np.float64]
    first_at: NDArray[np.float64]
    last_price: NDArray[np.float64]
    family: NDArray[np.int64]
    category: NDArray[np.int64]
    objective: NDArray[np.float64]
    single: NDArray[np.bool_]
    inventory: NDArray[np.float64]
    sell_by: NDArray[np.float64]
    periods_left: NDArray[np.float64]
    market_text: NDArray[np.float32]
    competitor_price: NDArray[np.float64]
    traffic: NDArray[np.float64]
    promotion: NDArray[np.float64]
    current_price: NDArray[np.float64]
    unit: NDArray[np.object_]
    market_lost: NDArray[np.bool_]
    experiment: NDArray[np.object_]
    control: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.listing)

    def take(self, rows: NDArray[Any]) -> "Subjects":
        """The given rows, by number or mask."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        numbers = columns.pop("number")
        return Subjects(
            **{name: column[rows] for name, column in columns.items()},
            number={name: column[rows] for name, column in numbers.items()},
        )

    def anchor_or(self, guess: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log price that each one's curves are relative to, (n,): its anchor, or else its guess."""
        return np.where(np.isnan(self.anchor), guess, self.anchor)

    @staticmethod
    def concatenate(parts: Sequence["Subjects"]) -> "Subjects":
        """All rows of the parts, in order."""
        if len(parts) == 1:
            return parts[0]
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Subjects.__slots__
            if name != "number"
        }
        names = parts[0].number
        return Subjects(
            **columns,
            number={name: np.concatenate([p.number[name] for p in parts]) for name in names},
        )


@dataclass(frozen=True, slots=True)
class Priced:
    """Decisions on subjects whose limits leave a price.

    Attributes:
        subjects: the n that were priced. kept: their rows among all asked for, int64 (n,).
        listings: what the policy saw. decisions: what it chose.
        refused: (row, field, message) of those that could not be priced.
        unknown: whether no price told what to guess, bool (n,).
    """

    subjects: Subjects
    kept: NDArray[np.int64]
    listings: Listings
    decisions: Decisions
    refused: list[ItemError]
    unknown: NDArray[np.bool_]


def nothing_asked(n: int, d: int) -> dict[str, Any]:
    """The market columns of `Subjects` for n listings of which only the listing is known."""
    nan = np.full(n, np.nan)
    return {
        "market_text": np.zeros((n, d), np.float32),
        "competitor_price": nan,
        "traffic": nan,
        "promotion": nan,
        "current_price": nan,
        "inventory": nan,
        "periods_left": nan,
        "unit": np.full(n, None, object),
        "market_lost": np.zeros(n, np.bool_),
    }


def gather(
    catalogue: Catalogue,
    rows: NDArray[np.int64],
    listing: NDArray[np.int64],
    vectors: NDArray[np.float32],
    embedded: NDArray[np.bool_],
    asked: dict[str, Any],
) -> Subjects:
    """Subjects from rows of a catalogue.

    Args:
        rows: where the columns are, int64 (n,). listing: rows of their evidence, int64 (n,).
        vectors, embedded: embeddings, float32 (n, d), and where there is one, bool (n,).
        asked: the market columns, and what the request says is left to sell.
    """
    said = asked["inventory"]
    return Subjects(
        listing=listing,
        listing_id=np.array([catalogue.listing_id[row] for row in rows.tolist()], object),
        currency=catalogue.currency[rows],
        per_major=catalogue.per_major[rows],
        number={name: column[rows] for name, column in catalogue.number.items()},
        embedding=vectors,
        embedded=embedded,
        words=catalogue.words[rows],
        amount=catalogue.amounts_of(rows),
        neighbours=catalogue.neighbours[rows],
        similarity=catalogue.similarity[rows],
        charged=catalogue.charged(rows),
        anchor=catalogue.anchor[rows],
        first_at=catalogue.first_at[rows],
        last_price=catalogue.last_price[rows],
        family=catalogue.family[rows],
        category=catalogue.category[rows],
        objective=catalogue.objective[rows],
        single=catalogue.single[rows],
        sell_by=catalogue.sell_by[rows],
        experiment=np.full(len(rows), None, object),
        control=np.zeros(len(rows), np.bool_),
        **{**asked, "inventory": np.where(np.isnan(said), catalogue.inventory[rows], said)},
    )


@dataclass(frozen=True, slots=True)
class Guesses:
    """Guess models, one per currency.

    Attributes:
        models: by currency code; a currency without one is guessed as an empty catalogue. What is
            like none of its own family is guessed by them: they were fitted with each listing's
            own family left out of its neighbours.
        variants: likewise, fitted as neighbours are: for those with one of their own family among
            them, where there are any.
        markup: the shop's usual log(price / cost), of all currencies.
    """

    models: Mapping[str, GuessModel] = field(default_factory=dict)
    variants: Mapping[str, GuessModel] = field(default_factory=dict)
    markup: float = MARKUP

    @staticmethod
    def lesson(catalogue: Catalogue) -> Callable[[], "Guesses"]:
        """Models fitted to the catalogue as it stands, for any thread to work out: each currency's
        to its listings with a known price, 20,000 at most.
        """
        n = len(catalogue)
        sources: dict[str, Sources] = {}
        own: dict[str, NDArray[np.bool_]] = {}
        for currency in sorted(set(catalogue.currency[:n][catalogue.active[:n]])):
            rows = np.flatnonzero(catalogue.active[:n] & (catalogue.currency[:n] == currency))
            rows = rows[:: -(-len(rows) // _FIT_ROWS)]
            neighbours, family = catalogue.neighbours[rows], catalogue.family[rows]
            sources[currency] = Sources(
                catalogue.worth(rows),
                catalogue.log_cost(rows),
                catalogue.worth(neighbours),
                catalogue.log_cost(neighbours),
                catalogue.similarity[rows],
                catalogue.words[rows],
                catalogue.amounts_of(rows),
                catalogue.amounts_of(neighbours),
                # numbered as they come: codes of families are others after a restart
                np.unique(leaders(family), return_inverse=True)[1],
                catalogue.trained_on[rows],
                catalogue.in_pence(rows),
            )
            worth = sources[currency].neighbour_price
            own[currency] = _of_own_family(catalogue, family, neighbours, worth)

        def fitted() -> Guesses:
            # a currency that shows no markup of its own has that of the shop
            markup = usual_markup([*sources.values()])
            strange = {name: source.without(own[name]) for name, source in sources.items()}
            alike = {name: source for name, source in sources.items() if own[name].any()}
            return Guesses(
                {name: GuessModel.fit(source, markup) for name, source in strange.items()},
                {name: GuessModel.fit(source, markup) for name, source in alike.items()},
                markup,
            )

        return fitted

    def of(
        self, catalogue: Catalogue, subjects: Subjects
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log price guessed for each subject before its own sales, and its error, (n,) each."""
        sources = Sources(
            subjects.charged,
            log_of(subjects.number["unit_cost"]),
            catalogue.worth(subjects.neighbours),
            catalogue.log_cost(subjects.neighbours),
            subjects.similarity,
            subjects.words,
            subjects.amount,
            catalogue.amounts_of(subjects.neighbours),
            subjects.family,
            # the mean of what was charged is no whole number in pence either
            whole=whole_numbers(subjects.number["reference_price"]),
        )
        guess, sd = np.empty(len(subjects)), np.empty(len(subjects))
        near = subjects.neighbours, sources.neighbour_price
        variant = _of_own_family(catalogue, subjects.family, *near).any(1)
        for currency in set(subjects.currency):
            rows = subjects.currency == currency
            strange = self.models.get(currency, BLIND)
            for mine, model in (
                (rows & ~variant, strange),
                (rows & variant, self.variants.get(currency, strange)),
            ):
                if mine.any():
                    guess[mine], sd[mine] = model.guess(sources.take(mine))
        competitor = log_of(subjects.competitor_price)
        alone = self._without_price(subjects) & ~np.isnan(competitor)
        return beside_competitor(np.where(alone, competitor, guess), sd, competitor)

    def nothing_known(self, subjects: Subjects) -> NDArray[np.bool_]:
        """Whether no price of subject, currency or competitor tells what to guess, bool (n,)."""
        silent = np.isnan(subjects.anchor) & ~(subjects.competitor_price > 0)
        return self._without_price(subjects) & silent

    def _without_price(self, subjects: Subjects) -> NDArray[np.bool_]:
        """Whether neither the subject nor its currency has a price or a cost, bool (n,)."""
        none = np.zeros(len(subjects), np.bool_)
        for currency in set(subjects.currency):
            none[subjects.currency == currency] = not self.models.get(currency, BLIND).prices
        return none & ~(subjects.number["unit_cost"] > 0) & np.isnan(subjects.charged)

    def middle(self, subjects: Subjects) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The guess for listings of which nothing is known, (n,) each."""
        models = [self.models.get(currency, BLIND) for currency in subjects.currency]
        return np.array([m.middle for m in models]), np.array([m.middle_sd for m in models])


def _of_own_family(
    catalogue: Catalogue,
    family: NDArray[np.int64],
    neighbours: NDArray[np.int64],
    worth: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which neighbours, (n, k), -1 for none, have a known price and are of the family (n,), -1
    without one, bool (n, k).

    Args:
        worth: the neighbours' log prices, NaN where unknown, (n, k).
    """
    if not len(catalogue):
        return np.zeros(neighbours.shape, np.bool_)
    theirs = np.where(neighbours >= 0, catalogue.family[neighbours], -1)
    return np.asarray((theirs == family[:, None]) & (theirs >= 0) & ~np.isnan(worth))


def leaders(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first row of each row's group, the row itself without one, (n,)."""
    own = np.where(group >= 0, group, -1 - np.arange(len(group)))
    _, first, place = np.unique(own, return_index=True, return_inverse=True)
    return np.asarray(first[place], np.int64)


def context_of(
    subjects: Subjects, guess: NDArray[np.float64], guess_sd: NDArray[np.float64], at_us: int
) -> Context:
    """What the policy's features read of subjects."""
    n = len(subjects)
    return Context(
        subjects.embedding,
        subjects.market_text,
        subjects.similarity[:, 0],
        guess,
        guess_sd,
        subjects.number["unit_cost"],
        np.where(subjects.competitor_price > 0, subjects.competitor_price, np.nan),
        subjects.traffic,
        np.nan_to_num(subjects.promotion),
        np.full(n, at_us),
        subjects.category,
        subjects.words,
    )


def listings_of(
    subjects: Subjects,
    guess: NDArray[np.float64],
    guess_sd: NDArray[np.float64],
    bounds: Limits,
    leader: NDArray[np.int64],
    at_us: int,
    stock: Stock | None = None,
    impressions: NDArray[np.float64] | None = None,
) -> Listings:
    """Subjects as the policy takes them."""
    context = context_of(subjects, guess, guess_sd, at_us)
    return Listings(
        subjects.listing, subjects.anchor_or(guess), subjects.per_major, bounds, leader, context,
        _objective_of(subjects.objective), stock, impressions, subjects.single,
    )  # fmt: skip


def _objective_of(weights: NDArray[np.float64]) -> Objective | None:
    """Weights (n, 3), NaN for profit; None where all are."""
    silent = np.isnan(weights[:, 0])
    if silent.all():
        return None
    # profit as in `Listings.gain` without objectives: a cost that is unknown counts as nothing
    return Objective(*np.where(silent[:, None], (1.0, 0.0, 0.0), weights).T)
