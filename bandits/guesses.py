"""What a listing would be sold for: a guess from what it was sold for, its cost and its text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandits.amounts import KINDS, differing
from bandits.doubt import Doubt
from bandits.words import WordPrices, held_out

UNKNOWN_SD = 1.5
"""Log error of the catalogue's middle price as a guess, when nothing else is known."""

UNKNOWN_PRICE = np.log(10.0)
"""Log price, currency units, guessed where the catalogue is empty."""

FEWEST_UNSEEN = 30
"""Listings with a price that embeddings were not fitted to, below which trust is learned from all:
a trust that is too great is better than one drawn from a handful."""

SHARPNESS = 12.0
"""Neighbours weigh exp(SHARPNESS · similarity): one 0.1 closer counts three times."""

MARKUP = float(np.log(2.0))
"""log(price / cost) assumed where nothing is known of it."""

_CONTRADICTED = 3.0
"""Log units that a price may lie off what the cost says at the usual markup: of a price twenty
times as high or low, one of the two is more often mistyped, or in pence, than both are right."""

_COMPETITOR_SD = 0.4
"""Log units that a competitor's price lies off what a listing would be charged at: shops that sell
one and the same article differ by a quarter, and what is compared is not always the same."""

_SOMETHING_ELSE = 4.0  # deviations of a competitor's price from which on it tells nothing

_MOSTLY = 0.5  # share of prices that are whole numbers, above which all may be in pence
_WHOLE = 1e-9  # share of a price by which floats may put a whole number off
_ENOUGH = 10  # listings that show their markup, before it is theirs that is assumed
_BY_COST = np.array([0.0, 1.0, 1.0])  # before prices tell: the cost, at neighbours' markup
_UNLIKE = 0.1  # similarity that a difference of e times in amount costs
_UNSAID = 1.0  # difference, on the log scale, where one is not said
_EVEN = 30.0  # listings that must disagree before words and neighbours do not count alike
_UNLIKELY = 0.05  # share of the listings with a price that are less like any other
_ALIKE = 0.1  # spread of neighbours' log prices below which they are as good as equal


@dataclass(frozen=True, slots=True)
class Sources:
    """What is known, one row per listing; NaN where unknown.

    Attributes:
        log_reference: log of reference price, or of what the listing sold for, (n,).
        log_cost: log unit cost, (n,).
        neighbour_price: log price of each neighbour, (n, k).
        neighbour_cost: log unit cost of each neighbour, (n, k).
        similarity: cosine with each neighbour, (n, k).
        words: hashes of the text's words, int32 (n, 32), -1 where fewer; see `word_ids`.
        amount: log amounts that the text states, (n, 2), NaN where none; see `amounts`.
        neighbour_amount: those of each neighbour, (n, k, 2).
        group: rows with one number are variants of one product, int64 (n,).
        trained_on: rows whose texts the embeddings were fitted to, bool (n,). Their neighbours say
            more of their price than a new listing's would, and are no measure of how far
            neighbours are to be trusted.
        whole: whether the price may be one in pence: 1 or 0, as `whole_numbers` has it, (n,); NaN
            where no price was told.
    """

    log_reference: NDArray[np.float64]
    log_cost: NDArray[np.float64]
    neighbour_price: NDArray[np.float64]
    neighbour_cost: NDArray[np.float64]
    similarity: NDArray[np.float64]
    words: NDArray[np.int32] | None = None
    amount: NDArray[np.float64] | None = None
    neighbour_amount: NDArray[np.float64] | None = None
    group: NDArray[np.int64] | None = None
    trained_on: NDArray[np.bool_] | None = None
    whole: NDArray[np.float64] | None = None

    def take(self, rows: NDArray[Any]) -> "Sources":
        """Some of the rows, by index or mask."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in Sources.__slots__}
        known = {name: column[rows] for name, column in columns.items() if column is not None}
        return Sources(**known)

    def without(self, neighbours: NDArray[np.bool_]) -> "Sources":
        """As if some of the neighbours, bool (n, k), were none."""
        columns = {
            name: np.where(neighbours, np.nan, getattr(self, name))
            for name in ("neighbour_price", "neighbour_cost", "similarity")
        }
        return replace(self, **columns)

    def at_own_amount(self, words: WordPrices | None) -> "Sources":
        """Neighbours as if they were as large as the listing: prices moved by what the difference
        is worth, similarities lowered by how great it is.

        Of kinds that only one of the two states, nothing is moved. Costs stay: what a neighbour
        adds to its cost has nothing to do with how large it is.
        """
        if self.amount is None or self.neighbour_amount is None:
            return self
        more = differing(self.amount[:, None, :], self.neighbour_amount)  # (n, k, 2)
        one = np.isnan(self.amount)[:, None, :] != np.isnan(self.neighbour_amount)
        worth = np.zeros(len(KINDS)) if words is None else words.slope
        moved = more @ worth
        unlike = np.where(one, _UNSAID, np.abs(more)).sum(2)
        return replace(
            self,
            neighbour_price=self.neighbour_price + moved,
            similarity=self.similarity - _UNLIKE * unlike,
        )


def _neighbour_mean(
    values: NDArray[np.float64], similarity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over neighbours weighted by exp(SHARPNESS · similarity), (n,); NaN where none is."""
    known = ~np.isnan(values) & ~np.isnan(similarity)
    weight = np.where(known, np.exp(SHARPNESS * np.nan_to_num(similarity)), 0.0)
    total = weight.sum(1)
    mean = (weight * np.where(known, values, 0.0)).sum(1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, np.nan)


def _agreement(sources: Sources) -> NDArray[np.float64]:
    """What tells how far a text's guess is off, (n, 2): log of the spread of its neighbours' log
    prices, and the likest one's similarity; NaN where there are no neighbours.
    """
    price, similarity = sources.neighbour_price, sources.similarity
    mean = _neighbour_mean(price, similarity)
    spread = np.sqrt(_neighbour_mean((price - mean[:, None]) ** 2, similarity))
    likest = np.where(np.isnan(price + similarity), -1.0, similarity).max(1, initial=-1.0)
    return np.column_stack([np.log(spread + _ALIKE), np.where(np.isnan(mean), np.nan, likest)])


def _fit(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    prior: Any = None,
    prior_sd: float = 0.5,
    weight: float = 10.0,
) -> tuple[NDArray[np.float64], float]:
    """Ridge around `prior` on the columns of x (m, p): coefficients (p + 1,), residual sd.

    The prior, by default the mean of the columns (each weighs 1 / p, no intercept), and its
    residual sd count as `weight` listings, whose columns vary by 1. What few listings are off
    moves the level at their middle and not the slopes, of which they show next to nothing.
    """
    m, p = x.shape
    if prior is None:
        prior = np.concatenate([[0.0], np.full(p, 1.0 / p)])
    middle = x.mean(0) if m else np.zeros(p)
    design = np.column_stack([np.ones(m), x - middle])
    spread = np.square(x - middle).sum(0) + weight  # of the listings and the prior's, summed
    scale = weight * spread / (m + weight)
    gram = design.T @ design + np.diag(np.concatenate([[weight], scale]))
    offset = y - np.column_stack([np.ones(m), x]) @ prior
    moved = np.linalg.solve(gram, design.T @ offset)
    coefficients = prior + moved
    coefficients[0] -= middle @ moved[1:]
    residual = offset - design @ moved
    square = residual @ residual + weight * prior_sd**2
    return coefficients, float(np.sqrt(square / (m + weight)))


def whole_numbers(price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whether prices, currency units, are whole numbers, as all in pence are: 1, and else 0, (n,);
    NaN where unknown.
    """
    whole = np.abs(price - np.rint(price)) <= _WHOLE * price
    return np.where(np.isnan(price), np.nan, whole)


def as_charged(
    log_price: NDArray[np.float64],
    log_cost: NDArray[np.float64],
    markup: float,
    whole: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log of prices said to be charged, and how far that may be off, (n,) each; NaN where unknown.

    Where price and cost contradict each other, it lies half-way between what either says, and may
    be what either says. A price far above the cost is believed where it cannot be in pence: there
    are downloads among what most shops sell.

    Args:
        whole: as `whole_numbers` has it of prices told, (n,); None where it is not known of any.
    """
    apart = log_price - log_cost - markup
    contradicted = np.abs(apart) > _CONTRADICTED
    if whole is not None:
        contradicted &= (apart < 0.0) | (whole != 0.0)
    off = np.where(contradicted, apart / 2.0, 0.0)
    return log_price - off, np.abs(off)


def beside_competitor(
    value: NDArray[np.float64], sd: NDArray[np.float64], log_competitor: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Guesses of log prices and their errors, (n,) each, where a competitor's price is told beside.

    Both are weighed by how sure they are. Where they lie further apart than that allows, the error
    is as many times larger (the ratio of external to internal consistency of Birge, "The
    calculation of errors by the method of least squares", Physical Review 1932); four times as far,
    he sells something else, or his price is mistyped, and it counts for nothing.

    Args:
        log_competitor: of a competitor's price, (n,), NaN where none is told.
    """
    both = np.sqrt(sd**2 + _COMPETITOR_SD**2)
    apart = log_competitor - value
    with np.errstate(invalid="ignore"):
        told = (sd > 0) & (np.abs(apart) <= _SOMETHING_ELSE * both)  # False where NaN
    apart = np.where(told, apart, 0.0)
    pooled = sd * _COMPETITOR_SD / both * np.maximum(1.0, np.abs(apart) / both)
    return value + (sd / both) ** 2 * apart, np.where(told, pooled, sd)


def in_other_units(markup: float, whole: NDArray[np.float64]) -> bool:
    """Whether a usual log(price / cost) is none.

    A shop that seems to take forty times its cost, or a tenth, has more often told the one in pence
    and the other in pounds. Not so where most prices are no whole numbers: those are in pounds, and
    what is sold by download costs pence.

    Args:
        whole: as `whole_numbers` has it of its prices, those that are known, (m,).
    """
    if abs(markup - MARKUP) <= _CONTRADICTED:
        return False
    in_pounds = len(whole) > 0 and whole.mean() <= _MOSTLY
    return not (markup > MARKUP and in_pounds)


def usual_markup(sources: Sequence[Sources], otherwise: float = MARKUP) -> float:
    """Median log(price / cost) of all listings that show theirs, whatever their currency.

    Args:
        otherwise: given where fewer than ten do, or what they show is none (`in_other_units`).
    """
    margins = [source.log_reference - source.log_cost for source in sources]
    shown = np.concatenate([margin[~np.isnan(margin)] for margin in margins] or [np.empty(0)])
    if len(shown) < _ENOUGH:
        return otherwise
    middle = float(np.median(shown))
    whole = [source.whole for source in sources if source.whole is not None]
    said = np.concatenate(whole or [np.empty(0)])
    return otherwise if in_other_units(middle, said[~np.isnan(said)]) else middle


@dataclass(frozen=True, slots=True)
class GuessModel:
    """Log price from text neighbours and cost, fitted to the listings whose price is known.

    Attributes:
        middle: median log price. markup: median log(price / cost).
        words: what words alone say; None where too few prices are known.
        reading: coefficients of neighbours' price and words' price in what the text says, (3,).
        text, cost, both: (coefficients, residual standard deviation) for the listings of which
            that much is known; `cost` uses the cost and neighbours' markups.
        doubt: how far a guess by the text alone may be off: further where neighbours' prices
            differ, less where one is very like the listing. Beside a cost that tells nothing.
        familiar: similarity of the likest neighbour, below which a text is like nothing that the
            doubt was learned from; NaN where it was learned from nothing.
        middle_sd: standard deviation of log price around `middle`.
        prices: how many known prices it was fitted to.
    """

    middle: float
    middle_sd: float
    markup: float
    words: WordPrices | None
    reading: NDArray[np.float64]
    text: tuple[NDArray[np.float64], float]
    cost: tuple[NDArray[np.float64], float]
    both: tuple[NDArray[np.float64], float]
    doubt: Doubt
    familiar: float
    prices: int

    @classmethod
    def fit(cls, sources: Sources, markup: float = MARKUP) -> "GuessModel":
        """Fit to listings with known prices, which must not be among their own neighbours.

        Args:
            sources: rows with and without a known price; those without are left out.
            markup: log(price / cost) assumed until at least ten listings show theirs.
        """
        y = sources.log_reference
        known = ~np.isnan(y)
        markup = usual_markup([sources], markup)
        middle = float(np.median(y[known])) if known.any() else float(UNKNOWN_PRICE)
        spread = float(y[known].std()) if known.sum() > 10 else UNKNOWN_SD
        judged = _judged(sources, known)
        by_words, words = _words(sources, known)
        alike = sources.at_own_amount(words)
        reading = _reading(alike, by_words, judged)
        text, cost = _text(alike, by_words, reading), _cost(sources, markup)
        has_text, has_cost = judged & ~np.isnan(text), known & ~np.isnan(cost[:, 0])
        harder = _harder(by_words - y, judged)
        coefficients, text_sd = _fit(text[has_text, None], y[has_text])
        by_text = coefficients, text_sd * harder
        agreement = _agreement(alike)
        error = (y - coefficients[0] - coefficients[1] * text) * harder
        told = has_text & ~np.isnan(agreement).any(1)
        doubt = Doubt.fit(agreement[told], error[told], by_text[1])
        familiar = float(np.quantile(agreement[told, 1], _UNLIKELY)) if told.any() else np.nan
        by_cost = _fit(cost[has_cost], y[has_cost], _BY_COST)
        rows = has_text & has_cost
        # until many tell what the text adds to the cost, the cost is believed alone
        (start, *slopes), cost_sd = by_cost
        alone = np.array([start, 0.0, *slopes])
        by_both = _fit(np.column_stack([text, cost])[rows], y[rows], alone, cost_sd)
        middle_sd = max(spread, 0.3)
        fits = by_text, by_cost, by_both
        count = int(known.sum())
        return cls(middle, middle_sd, markup, words, reading, *fits, doubt, familiar, count)

    def guess(self, sources: Sources) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Guessed log price, currency units, and its standard deviation, (n,) each.

        It is a guess of the price charged: where that is known, without error, unless the cost
        contradicts it.
        """
        n = len(sources.log_reference)
        value = np.full(n, self.middle)
        sd = np.full(n, self.middle_sd)
        by_words = np.full(n, np.nan)
        if self.words is not None and sources.words is not None:
            by_words = self.words.predict(sources.words, _amounts(sources))
        alike = sources.at_own_amount(self.words)
        text, cost = _text(alike, by_words, self.reading), _cost(sources, self.markup)
        # from the least to the most that can be known; later sources overwrite earlier ones
        by_text = (self.text[0], self._doubted(_agreement(alike)))
        for columns, (coefficients, error) in (
            ([text], by_text),
            ([cost], self.cost),
            ([text, cost], self.both),
        ):
            x = np.column_stack([np.ones(n), *columns])
            rows = ~np.isnan(x).any(1)
            value[rows] = x[rows] @ coefficients
            sd[rows] = np.broadcast_to(error, n)[rows]
        referenced = ~np.isnan(sources.log_reference)
        known = sources.log_reference, sources.log_cost
        charged, off = as_charged(*known, self.markup, sources.whole)
        value[referenced], sd[referenced] = charged[referenced], off[referenced]
        return value, sd

    def _doubted(self, agreement: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far guesses by the text alone may be off, (n,), by `_agreement` (n, 2).

        A shop of furniture knows the prices of furniture well, and nothing of a pen: what is less
        like any other than what the doubt was learned from is doubted by up to `UNKNOWN_SD` more.
        """
        told = self.doubt.of(agreement)
        if not self.familiar > 0.0:
            return told
        lacking = np.clip(1.0 - agreement[:, 1] / self.familiar, 0.0, 1.0)
        return np.hypot(told, np.nan_to_num(lacking) * UNKNOWN_SD)


def _judged(sources: Sources, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that tell how far what the text says is to be trusted, bool (n,)."""
    if sources.trained_on is None or not (known & sources.trained_on).any():
        return known
    unseen = known & ~sources.trained_on
    return unseen if unseen.sum() >= FEWEST_UNSEEN else known


def _harder(off: NDArray[np.float64], judged: NDArray[np.bool_]) -> float:
    """How many times the error of guesses of all known rows is that of the few judged.

    Words are fitted to none of the rows that they are asked of, so their error `off` (n,), NaN
    where unknown, tells of all; and where words err, so do neighbours. A ratio estimator (Cochran
    1977, "Sampling Techniques", chapter 6) of an error that a few hundred odd products would decide
    otherwise.
    """
    told = ~np.isnan(off)
    few = told & judged
    if not off[few].any():
        return 1.0
    return float(np.sqrt(np.square(off[told]).mean() / np.square(off[few]).mean()))


def _words(
    sources: Sources, known: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], WordPrices | None]:
    """What words say of each row as one of the unknown, (n,), and the model of all words."""
    n = len(sources.log_reference)
    by_words = np.full(n, np.nan)
    if sources.words is None or not known.any():
        return by_words, None
    ids, y = sources.words[known], sources.log_reference[known]
    amount = _amounts(sources)[known]
    group = np.arange(n) if sources.group is None else sources.group
    by_words[known] = held_out(ids, amount, y, group[known])
    if np.isnan(by_words).all():
        return by_words, None
    return by_words, WordPrices.fit(ids, amount, y)


def _amounts(sources: Sources) -> NDArray[np.float64]:
    if sources.amount is None:
        return np.full((len(sources.log_reference), len(KINDS)), np.nan)
    return sources.amount


def _reading(
    sources: Sources, by_words: NDArray[np.float64], judged: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How far neighbours and words are to be believed, (3,), with an intercept."""
    neighbours = _neighbour_mean(sources.neighbour_price, sources.similarity)
    both = judged & ~np.isnan(neighbours + by_words)
    read = np.column_stack([neighbours, by_words])[both]
    return _fit(read, sources.log_reference[both], weight=_EVEN)[0]


def _text(
    alike: Sources, by_words: NDArray[np.float64], reading: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log price by the text, (n,); NaN where there is none."""
    neighbours = _neighbour_mean(alike.neighbour_price, alike.similarity)
    text = reading[0] + reading[1] * neighbours + reading[2] * by_words
    text = np.where(np.isnan(by_words), neighbours, text)
    return np.where(np.isnan(neighbours), by_words, text)


def _cost(sources: Sources, markup: float) -> NDArray[np.float64]:
    """What the cost says, (n, 2): log price at the usual markup, NaN without a cost; and how much
    higher neighbours' markups are, 0 where there are none.

    Whether similar products carry similar markups depends on the shop: how far neighbours' are to
    be believed is fitted, too.
    """
    markups = sources.neighbour_price - sources.neighbour_cost
    higher = _neighbour_mean(markups, sources.similarity) - markup
    return np.column_stack([sources.log_cost + markup, np.nan_to_num(higher)])
