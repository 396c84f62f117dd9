"""What an adapter is worth: on held-out groups, in general meaning, against hostile texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from finetune.hubs import Encode, Takeover, takeover
from finetune.meaning import general_sentences, kept
from finetune.probes import by_neighbours, by_policy, by_ridge, by_words, in_halves
from finetune.products import ROUNDING, Products

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

METHODS = (
    "TF-IDF, ridge",
    "base, ridge",
    "base, neighbours",
    "tuned, ridge",
    "tuned, neighbours",
)
POLICY = ("base, policy's guess", "tuned, policy's guess")
"""Of log price alone: what a policy makes of vectors and words, which is what an adapter is for."""

PRICE = "log price"
PAIRS = 1000
_FRESH = 7_919  # general sentences judged by are not those trained on
_ROWS = 64
_FEWEST = 10  # held-out products below which no share of variance is said


@dataclass(frozen=True, slots=True)
class Judgement:
    """An adapter's figures.

    Attributes:
        r2: target → method → share of variance on held-out products, of price by `POLICY`, too; no
            target where fewer than ten products are held out, or they have all the same.
        kept: rank correlation of general sentences' similarities with the base's, NaN where the
            tokenizer has no words to make them of.
        takeover: what hostile texts got.
    """

    r2: dict[str, dict[str, float]]
    kept: float
    takeover: Takeover

    def rows(self) -> list[list[str]]:
        """A table of `r2`: each method's name, and a cell for each target, empty where it is not
        asked of it.
        """
        targets = self.r2.values()
        return [
            [method, *(f"{by[method]:.3f}" if method in by else "" for by in targets)]
            for method in METHODS + POLICY
        ]


def judge(
    encoder: SentenceTransformer, products: Products, held: NDArray[np.bool_], seed: int
) -> Judgement:
    """Judge an encoder's adapter; the encoder without it is the base.

    Args:
        held: products never trained on, bool (n,). seed: of the run.
    """
    transformer: Any = encoder[0].auto_model

    def tuned(texts: Any) -> NDArray[np.float32]:
        vectors = encoder.encode(
            list(texts), batch_size=_ROWS, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)

    def base(texts: Any) -> NDArray[np.float32]:
        with transformer.disable_adapter():
            return tuned(texts)

    encoder.eval()
    vectors = {"base": base(products.text), "tuned": tuned(products.text)}
    return Judgement(
        _held_out_r2(products, held, vectors),
        kept_meaning(encoder, base, tuned, seed),
        takeover(tuned, products.text),
    )


def kept_meaning(encoder: SentenceTransformer, base: Encode, tuned: Encode, seed: int) -> float:
    """Rank correlation of the similarities of 1,000 pairs of general sentences, NaN without any."""
    try:
        sentences = general_sentences(encoder.tokenizer.get_vocab(), 2 * PAIRS, seed + _FRESH)
    except ValueError:  # letters or bytes instead of words
        return float("nan")
    before, after = base(sentences), tuned(sentences)
    return kept((before[:PAIRS], before[PAIRS:]), (after[:PAIRS], after[PAIRS:]))


def _held_out_r2(
    products: Products, held: NDArray[np.bool_], vectors: dict[str, NDArray[np.float32]]
) -> dict[str, dict[str, float]]:
    found, groups = {}, products.group.astype(str).tolist()
    for name, target in zip(products.names, products.target.T, strict=True):
        known = ~np.isnan(target)
        train, test = known & ~held, known & held
        few = test.sum() < _FEWEST or train.sum() < _FEWEST
        if few or np.ptp(target[test]) <= ROUNDING:
            continue
        methods = (
            by_words(products.text, target, groups),
            *(
                method(vectors[which], target, groups)
                for which in ("base", "tuned")
                for method in (by_ridge, by_neighbours)
            ),
        )
        found[name] = {
            method: float(r2_score(target[test], predict(train, test)))
            for method, predict in zip(METHODS, methods, strict=True)
        }
        if name == PRICE:
            for method, which, trained in zip(POLICY, vectors, (None, ~held), strict=True):
                policy = by_policy(products.text, vectors[which], target, groups, trained)
                guessed = in_halves(policy, train, test, groups)
                found[name][method] = float(r2_score(target[test], guessed))
    return found
