"""Texts as another seller might have written them, made anew at every step of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

Like = Callable[[str], Sequence[str]]
"""Words that may stand for a word, none where nothing is known of it."""

_BETWEEN = " | "  # as `encoders.listing_texts` joins a title and the fields after it


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Chances, each in [0, 1); all 0, the default, leaves texts as they are.

    Attributes:
        word_dropout: that a word is left out; one word of a text always stays.
        reorder: that the words of a text change places, each field's within it.
        synonyms: that a word gives way to one like it.
        field_masking: that a field after the title is left out.
    """

    word_dropout: float = 0.0
    reorder: float = 0.0
    synonyms: float = 0.0
    field_masking: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            chance = getattr(self, field.name)
            if not 0 <= chance < 1:
                raise ValueError(
                    f"{field.name} is {chance}: give a chance of at least 0 and below 1"
                )

    def apply(
        self, texts: Sequence[str], rng: np.random.Generator, like: Like | None = None
    ) -> list[str]:
        """Other spellings of canonical texts, one for each.

        Args:
            like: where words for `synonyms` come from; None: every word stays.
        """
        if self == Augmentation():
            return list(texts)
        return [self._one(text, rng, like) for text in texts]

    def _one(self, text: str, rng: np.random.Generator, like: Like | None) -> str:
        title, *others = text.split(_BETWEEN)
        if self.field_masking:
            others = [part for part in others if rng.random() >= self.field_masking]
        parts = [part.split() for part in (title, *others)]
        if self.synonyms and like is not None:
            parts = [[self._another(word, rng, like) for word in part] for part in parts]
        if self.reorder and rng.random() < self.reorder:
            parts = [[part[i] for i in rng.permutation(len(part))] for part in parts]
        if self.word_dropout:
            parts = self._thinned(parts, rng)
        return _BETWEEN.join(" ".join(part) for part in parts if part)

    def _another(self, word: str, rng: np.random.Generator, like: Like) -> str:
        if rng.random() >= self.synonyms:
            return word
        others = like(word)
        return others[int(rng.integers(len(others)))] if others else word

    def _thinned(self, parts: list[list[str]], rng: np.random.Generator) -> list[list[str]]:
        stays = [rng.random(len(part)) >= self.word_dropout for part in parts]
        if not any(mine.any() for mine in stays) and parts[0]:
            stays[0][rng.integers(len(parts[0]))] = True
        return [
            [word for word, here in zip(part, mine, strict=True) if here]
            for part, mine in zip(parts, stays, strict=True)
        ]
