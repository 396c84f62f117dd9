"""Context features: what text, neighbours, market and price add to the demand curve's estimate."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bandits.words import which_words

VERSION = "4"
"""Changes whenever a feature changes its meaning; statistics belong to one version."""

TEXT_DIMENSIONS = 24
MARKET_DIMENSIONS = 8

NAMES = (
    "own_curve",
    "price",
    "price_squared",
    *(f"text_{i}" for i in range(TEXT_DIMENSIONS)),
    *(f"market_text_{i}" for i in range(MARKET_DIMENSIONS)),
    "has_neighbours",
    "nearest_similarity",
    "cost_known",
    "cost_share",
    "competitor_known",
    "price_over_competitor",
    "dearer_than_competitor",
    "dearer_by",
    "traffic_known",
    "log_traffic",
    "promotion",
    "weekday_sin",
    "weekday_cos",
    "season_sin",
    "season_cos",
)
"""Names of the features, in order. Each is multiplied by the own curve's estimate, so that the
head learns relative corrections which mean the same at every price and demand level."""

DIM = len(NAMES)
PRIOR_MEAN = np.eye(DIM)[0]
"""Before any evidence the head believes the own curve and corrects nothing."""

_SCALES = {
    "own_curve": 1.0,
    "price": 0.25,
    "price_squared": 0.25,
    "price_over_competitor": 2.0,
    "dearer_than_competitor": 1.0,
    "dearer_by": 4.0,
    "promotion": 4.0,
}
SCALE = np.array([_SCALES.get(name, 0.5) for name in NAMES], np.float32)
"""What the head sees of each feature. Ridge shrinks the effect of a halved feature four times as
much: a wrong overall level is learned as one, not as an effect of what came with it, and least of
all of price, which on the first days hardly varies around the guess. A promotion's effect is not
small: with a ridge of 300 units, 4 takes it for 0 ± 0.23, and 0.5 the others' for 0 ± 0.03. Nor is
that of a competitor who asks less, from whose price on buyers may be gone at once, or by and by."""

TEXT = slice(3, 3 + TEXT_DIMENSIONS)
MARKET = np.array(
    [i for i, name in enumerate(NAMES) if name.startswith(("market", "comp", "traf", "log_t"))]
    + [i for i, name in enumerate(NAMES) if name.startswith(("price_over", "dearer", "promotion"))]
    + [i for i, name in enumerate(NAMES) if name.startswith(("weekday", "season"))]
)
PASSING = np.array([i for i, name in enumerate(NAMES) if name.startswith(("market", "promotion"))])
"""Features of what passes: they are neither the listing's nor the price's."""

_NO_DEARER = 1e-9  # log units by which floats let a price seem above one that it equals
_DAY_US = 86_400_000_000
_YEAR_US = 365.2425 * _DAY_US


@cache
def _projection(source: int, target: int) -> NDArray[np.float32]:
    """Fixed orthogonal projection (source, target) that keeps a unit vector's expected length.

    Random rather than fitted: it needs no data, so features never change as a catalogue grows.
    """
    gaussian = np.random.default_rng(source * 1000 + target).normal(size=(source, target))
    q = np.linalg.qr(gaussian)[0] * np.sqrt(source / target)
    return np.asarray(q, np.float32)


def reduce(embeddings: NDArray[np.float32], target: int) -> NDArray[np.float32]:
    """Project embeddings (n, d) to (n, target), d >= target."""
    projection = torch.from_numpy(_projection(embeddings.shape[1], target))
    return (torch.from_numpy(embeddings) @ projection).numpy()


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision can see besides own sales, one row per request; NaN where unknown.

    Attributes:
        text: listing embedding, float32 (n, d); zeros where there is none.
        market_text: market embedding, float32 (n, d); zeros where there is none.
        nearest_similarity: cosine with the nearest neighbour, (n,).
        guess: log price guessed before own sales, currency units, (n,).
        guess_sd: standard deviation of the guess, log units, (n,).
        unit_cost: currency units, (n,).
        competitor_price: currency units, (n,).
        traffic: visitors expected, any unit, (n,).
        promotion: 1 on promotion, 0 not, (n,).
        at: time of the decision, microseconds since 1970 UTC, int64 (n,).
        category: code of the listing's category, -1 without one, int64 (n,).
        words: hashes of the text's words, int32 (n, 32), -1 where fewer; see `word_ids`.
    """

    text: NDArray[np.float32]
    market_text: NDArray[np.float32]
    nearest_similarity: NDArray[np.float64]
    guess: NDArray[np.float64]
    guess_sd: NDArray[np.float64]
    unit_cost: NDArray[np.float64]
    competitor_price: NDArray[np.float64]
    traffic: NDArray[np.float64]
    promotion: NDArray[np.float64]
    at: NDArray[np.int64]
    category: NDArray[np.int64]
    words: NDArray[np.int32]


def features(context: Context, log_price: NDArray[np.float64]) -> torch.Tensor:
    """Features of every arm before multiplication by the own curve, float32 (n, k, DIM).

    Args:
        log_price: log of the arms' prices, currency units, (n, k).
    """
    n, k = log_price.shape
    out = np.empty((n, k, DIM), np.float32)
    relative = np.clip(log_price - context.guess[:, None], -2.0, 2.0)
    out[:, :, 0] = 1.0
    out[:, :, 1] = relative
    out[:, :, 2] = relative**2
    out[:, :, TEXT] = reduce(context.text, TEXT_DIMENSIONS)[:, None]
    here = TEXT.stop + MARKET_DIMENSIONS
    out[:, :, TEXT.stop : here] = reduce(context.market_text, MARKET_DIMENSIONS)[:, None]
    over = np.clip(log_price - np.log(context.competitor_price)[:, None], -2.0, 2.0)
    weekday = 2 * np.pi * (context.at / _DAY_US % 7) / 7
    season = 2 * np.pi * (context.at / _YEAR_US % 1)
    others = (
        ~np.isnan(context.nearest_similarity),
        context.nearest_similarity,
        ~np.isnan(context.unit_cost),
        np.clip(np.log(np.maximum(context.unit_cost, 1e-12)) - context.guess, -3.0, 1.0),
        ~np.isnan(context.competitor_price),
        over,
        over > _NO_DEARER,
        np.maximum(over, 0.0),
        ~np.isnan(context.traffic),
        np.log1p(context.traffic) / 10.0,
        context.promotion,
        np.sin(weekday),
        np.cos(weekday),
        np.sin(season),
        np.cos(season),
    )
    for offset, column in enumerate(others):
        out[:, :, here + offset] = np.nan_to_num(column if column.ndim == 2 else column[:, None])
    return torch.from_numpy(out)


def expressed(
    rows: NDArray[np.float32],
    text: NDArray[np.float32],
    market_text: NDArray[np.float32],
    nearest_similarity: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Logged feature rows as another encoder would have had them, float32 (m, DIM).

    What was believed of curve, guess and prices stays; what was read from text is read anew.

    Args:
        rows: features times scale and curve, as they are logged, (m, DIM). text, market_text:
            embeddings by the other encoder, (m, d). nearest_similarity: cosines, (m,).
    """
    curve, out = rows[:, :1], rows.copy()
    here = TEXT.stop + MARKET_DIMENSIONS
    known = ~np.isnan(nearest_similarity)
    near = np.stack([known, np.nan_to_num(nearest_similarity)], axis=1)
    blocks = (reduce(text, TEXT_DIMENSIONS), reduce(market_text, MARKET_DIMENSIONS), near)
    said = slice(TEXT.start, here + near.shape[1])
    out[:, said] = np.concatenate(blocks, axis=1, dtype=np.float32) * SCALE[said] * curve
    return out


TRAITS = ("text", "words", "markup")
"""Blocks of what elasticity may depend on."""


def traits(
    context: Context, vocabulary: NDArray[np.int64], blocks: Iterable[str] = TRAITS
) -> dict[str, torch.Tensor]:
    """What elasticity may depend on, float64 blocks (n, q); a row of zeros where unknown.

    What sellers of similar listings took over their cost says how elastic they think buyers are.

    Args:
        vocabulary: the words that count, (v,), see `shared_words`. blocks: the ones asked for.
    """
    found: dict[str, NDArray[Any]] = {}
    for name in blocks:
        if name == "text":
            found[name] = context.text
        elif name == "words":
            found[name] = which_words(context.words, vocabulary)
        else:
            markup = np.log(np.maximum(context.unit_cost, 1e-12)) - context.guess
            found[name] = np.nan_to_num(np.clip(markup, -3.0, 1.0))[:, None]
    return {name: torch.as_tensor(block).double() for name, block in found.items()}
