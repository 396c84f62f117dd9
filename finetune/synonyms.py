"""Words like a word, from the base model's own table of word vectors: no thesaurus is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MOST = 3
LEAST_ALIKE = 0.5  # cosine; below it words are of one kind (colours, sizes) more than of one sense


class Synonyms:
    """The nearest whole words of a model's vocabulary.

    Plurals, spellings and words of one sense stand nearest in the input table of a pretrained
    transformer. Words that it knows only in pieces have no row there, and no synonyms.
    """

    def __init__(self, encoder: SentenceTransformer) -> None:
        vocabulary: dict[str, int] = encoder.tokenizer.get_vocab()
        marked = any(word.startswith(("▁", "Ġ")) for word in vocabulary)
        rows = {
            word.lstrip("▁Ġ"): row
            for word, row in sorted(vocabulary.items())
            if word.startswith(("▁", "Ġ")) or not marked
        }
        self._words = [word for word in rows if len(word) > 2 and word.isalpha()]
        self._place = {word: i for i, word in enumerate(self._words)}
        transformer: Any = encoder[0].auto_model
        table = transformer.get_input_embeddings().weight.detach().float().cpu().numpy()
        vectors = table[[rows[word] for word in self._words]]
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, word: str) -> tuple[str, ...]:
        """Up to three words, the likest first; capitals as the word's."""
        if word not in self._known:
            self._known[word] = self._found(word)
        return self._known[word]

    def _found(self, word: str) -> tuple[str, ...]:
        row = self._place.get(word, self._place.get(word.lower()))
        if row is None:
            return ()
        cosine = self._vectors @ self._vectors[row]
        cosine[row] = -1.0
        best = np.argsort(-cosine, kind="stable")[:MOST]
        found = [self._words[i] for i in best if cosine[i] >= LEAST_ALIKE]
        return tuple(other.upper() if word.isupper() else other for other in found)
