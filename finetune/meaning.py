"""General meaning: whether sentences that have nothing to do with a catalogue keep theirs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.float32]


def general_sentences(vocabulary: Mapping[str, int], count: int, seed: int) -> list[str]:
    """Sentences of 3 to 15 words drawn from the tokenizer's own whole words.

    They need no corpus and touch all that the model knows words for. Marks of word beginnings
    (SentencePiece, byte-level) are taken off; pieces that only continue a word are left out.

    Raises:
        ValueError: the vocabulary has fewer than 100 whole words of three letters or more.
    """
    begins = any(word.startswith(("▁", "Ġ")) for word in vocabulary)
    words = sorted(
        {word.lstrip("▁Ġ") for word in vocabulary if word.startswith(("▁", "Ġ")) or not begins}
    )
    words = [word for word in words if len(word) > 2 and word.isascii() and word.isalpha()]
    if len(words) < 100:
        raise ValueError(f"the tokenizer has {len(words)} whole words: set meaning to 0")
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 16, count)
    return [" ".join(words[i] for i in rng.integers(len(words), size=n)) for n in lengths]


def kept(before: tuple[Floats, Floats], after: tuple[Floats, Floats]) -> float:
    """Spearman's correlation of pairs' cosines before and after, in [-1, 1].

    Args:
        before, after: unit vectors of the pairs' first and second sentences, (n, d) each.
    """
    cosines = [(first * second).sum(axis=1) for first, second in (before, after)]
    return float(spearmanr(*cosines).statistic)
