"""The encoder that learns, with the heads that teach it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from finetune import losses
from finetune.layers import FrozenBelow
from finetune.reading import Read
from finetune.recipe import Recipe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step learns from, b products and t targets.

    Attributes:
        products: their texts as read. group: int64 (b,). target: standardised, (b, t), NaN where
            unknown. trust: (b, t).
        pairs: texts bought together, first halves then second halves, 2 p of them; None for none.
        sentences: general ones; None for none. before: their vectors in the base model, (s, d).
    """

    products: Read
    group: Tensor
    target: Tensor
    trust: Tensor
    pairs: Read | None = None
    sentences: Read | None = None
    before: Tensor | None = None

    def at_worst(self, share: float) -> Lesson:
        """The lesson after the step in what frozen layers say that makes it hardest, as far as its
        slope tells (Miyato et al. 2017, eq. 5), token by token.

        Call it after the loss's gradient with regard to `products.hidden` is there.

        Args:
            share: length of the step over that of each token's vector.
        """
        hidden = self.products.hidden
        assert hidden is not None
        assert hidden.grad is not None
        length = hidden.detach().norm(dim=2, keepdim=True)
        worst = hidden.detach() + share * length * F.normalize(hidden.grad, dim=2)
        return replace(self, products=replace(self.products, hidden=worst))


class Student(nn.Module):
    """An encoder with its adapter, and a linear head and two noise levels for each target.

    Args:
        encoder: with the adapter in its transformer. targets: t.
    """

    def __init__(
        self, encoder: SentenceTransformer, frozen: FrozenBelow, recipe: Recipe, targets: int
    ) -> None:
        super().__init__()
        self.encoder, self._frozen, self._recipe = encoder, frozen, recipe
        dim = int(encoder.get_embedding_dimension() or 0)
        self.weight = nn.Parameter(torch.zeros(targets, dim))
        self.bias = nn.Parameter(torch.zeros(targets))
        self.log_variance = nn.Parameter(torch.zeros(2, targets))

    def vectors(self, read: Read) -> Tensor:
        """Unit vectors, (b, d)."""
        parts = read.by_length()
        if len(parts) == 1:
            return self._vectors(read)
        found = torch.cat([self._vectors(read.take(rows)) for rows in parts])
        return found[torch.argsort(torch.cat(parts))]

    def _vectors(self, read: Read) -> Tensor:
        if read.hidden is None:
            out = self.encoder(dict(read.features))
        else:
            with self._frozen.replaced(read.hidden):
                out = self.encoder(dict(read.features))
        return F.normalize(out["sentence_embedding"].float(), dim=1)

    def predicted(self, vectors: Tensor) -> Tensor:
        """What the heads say of the targets, (b, t)."""
        return losses.linear_head(vectors, self.weight, self.bias)

    def forward(self, lesson: Lesson) -> Tensor:
        """The loss of one lesson, a scalar."""
        recipe, vectors = self._recipe, self.vectors(lesson.products)
        total = vectors.new_zeros(())
        if recipe.head:
            found = losses.head_loss(vectors, self.weight, self.bias, lesson.target, lesson.trust)
            total = total + recipe.head * losses.balanced(found, self.log_variance[0])
        if recipe.neighbours:
            found = losses.neighbour_loss(
                vectors, lesson.group, lesson.target, lesson.trust, recipe.temperature
            )
            total = total + recipe.neighbours * losses.balanced(found, self.log_variance[1])
        if lesson.pairs is not None:
            one, other = self.vectors(lesson.pairs).chunk(2)
            total = total + recipe.together * losses.together_loss(one, other, recipe.temperature)
        if lesson.sentences is not None and lesson.before is not None:
            moved = losses.meaning_loss(self.vectors(lesson.sentences), lesson.before)
            total = total + recipe.meaning * moved
        return total
