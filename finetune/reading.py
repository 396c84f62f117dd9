"""Texts as the adapted layers take them: tokens, and what the frozen layers make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finetune.layers import FrozenBelow

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

REMEMBERED_BYTES = 1 << 30
"""What frozen layers say of texts may take so much memory; the rest is computed at every step."""

_ROWS = 64
_LIKE = 32  # texts of like length that are computed at once on a CPU


@dataclass(frozen=True, slots=True)
class Read:
    """A batch of b texts.

    Attributes:
        features: as the encoder takes them, (b, tokens) each; and where texts follow a prompt how
            many tokens it has, (b,).
        hidden: what the frozen layers say, (b, tokens, h); None where no layer is frozen, or word
            vectors if those were asked for.
    """

    features: dict[str, Tensor]
    hidden: Tensor | None

    def by_length(self) -> list[Tensor]:
        """Rows in parts of like length, int64 (m,) each, so that little is computed of padding. A
        GPU has less to gain by that than to lose by small parts: there it is one.
        """
        mask = self.features["attention_mask"]
        if mask.device.type != "cpu":
            return [torch.arange(len(mask), device=mask.device)]
        return list(torch.split(mask.sum(1).argsort(stable=True), _LIKE))

    def take(self, rows: Tensor) -> Read:
        """Some of the texts, without the padding that only others need."""
        mask = self.features["attention_mask"][rows]
        there = mask.any(0)
        features = {
            name: value[rows][:, there] if value.dim() > 1 else value[rows]
            for name, value in self.features.items()
        }
        return Read(features, None if self.hidden is None else self.hidden[rows][:, there])


class Reader:
    """Reads texts for an encoder, and remembers what its frozen layers said of them.

    Args:
        encoder: with its adapter. device: where batches go. word_vectors: give `hidden` also
            where no layer is frozen.
    """

    def __init__(
        self, encoder: SentenceTransformer, device: torch.device, word_vectors: bool = False
    ) -> None:
        self._encoder, self._device = encoder, device
        self.frozen = FrozenBelow(encoder[0])
        self._heeded = word_vectors or self.frozen.count > 0
        self._said: dict[str, Tensor] = {}
        self._room = REMEMBERED_BYTES

    def read(self, texts: Sequence[str], remember: bool = True) -> Read:
        """Read texts.

        Args:
            remember: False for texts that will not come again.
        """
        encoder = self._encoder
        # the prompt that `encode` puts before texts, if the model has one
        prompt = encoder.prompts.get(encoder.default_prompt_name or "")
        given = encoder.preprocess(list(texts), prompt=prompt)
        features = {
            name: value.to(self._device)
            for name, value in given.items()
            if isinstance(value, Tensor)
        }
        if given.get("prompt_length"):  # for models that leave a prompt out of their mean
            length = torch.full((len(texts),), given["prompt_length"])
            features["prompt_length"] = length.to(self._device)
        if not self._heeded:
            return Read(features, None)
        mask = features["attention_mask"].bool()
        said = self._heard(texts, features, mask, remember)
        hidden = said[0].new_zeros(*mask.shape, said[0].shape[1])
        hidden[mask] = torch.cat(said)
        return Read(features, hidden)

    def _heard(
        self, texts: Sequence[str], features: dict[str, Tensor], mask: Tensor, remember: bool
    ) -> list[Tensor]:
        """What the frozen layers say of each text, (tokens, h) each."""
        rows = list({text: i for i, text in enumerate(texts) if text not in self._said}.values())
        new: dict[str, Tensor] = {}
        training = self._encoder.training
        self._encoder.eval()  # said once for all steps, so nothing may be left to chance
        try:
            with torch.no_grad():
                for start in range(0, len(rows), _ROWS):
                    part = rows[start : start + _ROWS]
                    some = {name: value[part] for name, value in features.items()}
                    for row, out in zip(part, self.frozen.output(self._encoder, some), strict=True):
                        new[texts[row]] = out[mask[row]]
        finally:
            self._encoder.train(training)
        size = sum(hidden.nbytes for hidden in new.values())
        if remember and size <= self._room:
            self._said |= new
            self._room -= size
        return [new[text] if text in new else self._said[text] for text in texts]
