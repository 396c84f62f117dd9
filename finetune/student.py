"""The encoder that learns, with the heads that teach it."""

from __future__ import annotations

from dataclasses import dataclass
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
        recipe, read = self._recipe, lesson.products
        if not recipe.adversarial or not self.training:
            return self._loss(lesson, read)
        assert read.hidden is not None
        hidden = read.hidden.clone().requires_grad_()
        loss = self._loss(lesson, Read(read.features, hidden))
        (slope,) = torch.autograd.grad(loss, hidden, retain_graph=True)
        length = hidden.detach().norm(dim=2, keepdim=True)  # of each token's vector
        worst = recipe.adversarial * length * F.normalize(slope, dim=2)
        return loss + self._loss(lesson, Read(read.features, hidden.detach() + worst))

    def _loss(self, lesson: Lesson, read: Read) -> Tensor:
        recipe, vectors = self._recipe, self.vectors(read)
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
