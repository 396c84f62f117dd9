"""The training loop: from products to the adapter that did best on held-out groups."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.augmentation import Augmentation
from finetune.meaning import general_sentences
from finetune.products import ROUNDING, Products
from finetune.reading import Read, Reader
from finetune.recipe import Recipe
from finetune.student import Lesson, Student
from finetune.synonyms import Synonyms

if TYPE_CHECKING:
    from accelerate import Accelerator
    from sentence_transformers import SentenceTransformer

Save = Callable[[dict[str, Any]], None]
Watch = Callable[["Epoch"], None]

SENTENCES, SENTENCES_A_STEP, PAIRS_A_STEP = 512, 24, 32
SAVE_SECONDS = 15.0
_READ_ROWS = 256


@dataclass(frozen=True, slots=True)
class Epoch:
    """How training stands after an epoch.

    Attributes:
        number: from 1. of: epochs at most. loss: mean of its steps. held_out: error of the held-out
            products, standard deviations squared, NaN where none are held out. best: number of the
            epoch that is kept if no better one comes.
    """

    number: int
    of: int
    loss: float
    held_out: float
    best: int


@dataclass(slots=True)
class Progress:
    """How far a run has come; all of it is in a checkpoint."""

    step: int = 0
    losses: list[float] = field(default_factory=list)  # of the epoch so far
    epochs: list[tuple[float, float]] = field(default_factory=list)  # loss, held-out error
    best: int = 0  # number of the epoch whose adapter is kept
    done: bool = False


def split(products: Products, share: float, seed: int) -> NDArray[np.bool_]:
    """Which products are held out, bool (n,): whole groups, and all that have a text in common
    with them; at least one group where share is above 0.

    Raises:
        ValueError: a single group, which cannot be on both sides.
    """
    if not share:
        return np.zeros(len(products), np.bool_)
    of = products.variants()
    count = int(of.max(initial=-1)) + 1
    if count < 2:
        raise ValueError(
            f"all products are of one group ({products.group[0]!r}) or share its texts: none can "
            "be held out, set held_out to 0"
        )
    some = min(max(round(share * count), 1), count - 1)
    held = np.random.default_rng((seed, 1)).permutation(count)[:some]
    return np.asarray(np.isin(of, held))


class Training:
    """One run. Everything drawn at a step follows from the seed and the step's number.

    Args:
        encoder: with a fresh or earlier adapter in its transformer.
        products: n of them. held: those held out, bool (n,).
    """

    def __init__(
        self,
        encoder: SentenceTransformer,
        products: Products,
        held: NDArray[np.bool_],
        recipe: Recipe,
        augmentation: Augmentation,
        accelerator: Accelerator,
    ) -> None:
        self._recipe, self._augmentation, self._accelerator = recipe, augmentation, accelerator
        self._products, self._held = products, np.flatnonzero(held)
        self._learn = np.flatnonzero(~held)
        if len(self._learn) < 8:
            raise ValueError(f"{len(self._learn)} products to learn from: give at least 8")
        step = min(recipe.batch, len(self._learn)) // accelerator.num_processes
        if recipe.accumulate > 1 and step // recipe.accumulate < 8:
            raise ValueError(
                f"a step of {step} products in {recipe.accumulate} parts leaves fewer than 8 each, "
                "too few to be each other's neighbours: lower accumulate"
            )
        device = accelerator.device
        encoder.to(device)
        self._reader = Reader(encoder, device, word_vectors=recipe.adversarial > 0)
        self.student = Student(encoder, self._reader.frozen, recipe, len(products.names))
        self._target, self._trust = self._standardised(products)
        groups = np.unique(products.group.astype(str), return_inverse=True)[1]
        self._group = torch.as_tensor(groups, device=device)
        self._pairs = self._learned_pairs()
        self._sentences, self._before = self._general(encoder)
        self._like = Synonyms(encoder) if augmentation.synonyms else None
        adapter = [p for p in encoder.parameters() if p.requires_grad]
        heads = [self.student.weight, self.student.bias, self.student.log_variance]
        decay = recipe.weight_decay
        optimizer = torch.optim.AdamW(
            [
                {"params": adapter, "weight_decay": decay, "rate": recipe.learning_rate},
                {
                    "params": heads,
                    "weight_decay": 0.0,
                    "rate": recipe.learning_rate * recipe.head_rate,
                },
            ],
            lr=recipe.learning_rate,
        )
        self._model, self._optimizer = accelerator.prepare(self.student, optimizer)
        self.progress = Progress()
        self._kept: dict[str, Tensor] = {}
        self._steps = max(len(self._learn) // recipe.batch, 1)

    @property
    def total_steps(self) -> int:
        """Steps if training is not stopped early."""
        return self._steps * self._recipe.epochs

    def run(self, save: Save, watch: Watch, stepped: Callable[[int], None]) -> None:
        """Train to the end, from wherever the run stands; the best adapter is in place after it.

        Args:
            save: called with the whole state now and then. watch: called after each epoch.
            stepped: called after each step with its number.
        """
        saved = time.monotonic()
        while not self.progress.done:
            self.progress.losses.append(self._step(self.progress.step))
            self.progress.step += 1
            stepped(self.progress.step)
            over = self.progress.step % self._steps == 0
            if over:
                watch(self._end_epoch())
            if over or time.monotonic() - saved > SAVE_SECONDS:
                save(self.state())
                saved = time.monotonic()
        self._put_back()

    # -- what a checkpoint holds ---------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on."""
        p = self.progress
        return {
            "trained": self._trained(),
            "kept": self._kept,
            "optimizer": self._optimizer.state_dict(),
            "progress": [p.step, list(p.losses), [list(e) for e in p.epochs], p.best, p.done],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._load(state["trained"])
        self._kept = state["kept"]
        self._optimizer.load_state_dict(state["optimizer"])
        step, losses, epochs, best, done = state["progress"]
        self.progress = Progress(step, losses, [(a, b) for a, b in epochs], best, done)

    def _trained(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        return {
            name: p.detach().cpu().clone()
            for name, p in self.student.named_parameters()
            if p.requires_grad
        }

    def _load(self, trained: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in self.student.named_parameters():
                if p.requires_grad:
                    p.copy_(trained[name])

    def _put_back(self) -> None:
        if self._kept:
            self._load(self._kept)
        self.student.eval()

    # -- a step --------------------------------------------------------------------------------

    def _step(self, step: int) -> float:
        recipe, accelerator = self._recipe, self._accelerator
        rng = np.random.default_rng((recipe.seed, 2, step, accelerator.process_index))
        torch.manual_seed(int(rng.integers(1 << 62)))  # dropout
        self._model.train()
        for group in self._optimizer.param_groups:
            group["lr"] = group["rate"] * self._pace(step)
        loss = 0.0
        parts = np.array_split(self._rows(step), recipe.accumulate)
        for i, rows in enumerate(parts):
            lesson = self._lesson(rows, rng)
            last, worst = i + 1 == len(parts), recipe.adversarial
            if worst:
                assert lesson.products.hidden is not None
                lesson.products.hidden.requires_grad_()
            loss += self._learned(lesson, len(parts), last and not worst)
            if worst:  # its direction comes with the gradients of the first pass
                loss += self._learned(lesson.at_worst(worst), len(parts), last)
        accelerator.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at step {step}: lower learning_rate "
                f"({recipe.learning_rate}) or check the prices"
            )
        return loss

    def _learned(self, lesson: Lesson, parts: int, last: bool) -> float:
        """The loss of one of a step's parts, its gradients added to those that are there."""
        with self._adding_up(last), self._accelerator.autocast():
            loss = self._model(lesson) / parts
            self._accelerator.backward(loss)
        return float(loss.detach())

    def _adding_up(self, last: bool) -> AbstractContextManager[Any]:
        """Between processes, gradients are added up once a step."""
        return nullcontext() if last else self._accelerator.no_sync(self._model)

    def _pace(self, step: int) -> float:
        """Share of the learning rate: a warm-up over a tenth, then half a cosine down to 0."""
        total = self.total_steps
        warm = min(1.0, (step + 1) / max(0.1 * total, 1.0))
        return min(warm, 0.5 * (1 + math.cos(math.pi * step / total)))

    def _rows(self, step: int) -> NDArray[np.int64]:
        """This process's share of the products of a step."""
        epoch, place = divmod(step, self._steps)
        order = np.random.default_rng((self._recipe.seed, 3, epoch)).permutation(self._learn)
        batch = order[place * self._recipe.batch : (place + 1) * self._recipe.batch]
        mine: NDArray[np.int64] = batch[
            self._accelerator.process_index :: self._accelerator.num_processes
        ]
        return mine

    def _lesson(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Lesson:
        recipe = self._recipe
        texts = [self._products.text[row] for row in rows]
        spoken = self._augmentation.apply(texts, rng, self._like)
        place = torch.as_tensor(rows, device=self._accelerator.device)
        pairs = sentences = before = None
        if len(self._pairs):
            chosen = self._pairs[rng.integers(len(self._pairs), size=PAIRS_A_STEP)]
            pairs = self._reader.read([self._products.text[row] for row in chosen.T.ravel()])
        if recipe.meaning:
            picked = rng.choice(len(self._sentences), SENTENCES_A_STEP, replace=False)
            sentences = self._reader.read([self._sentences[i] for i in picked])
            before = self._before[torch.as_tensor(picked, device=self._before.device)]
        return Lesson(
            self._reader.read(spoken, remember=spoken == texts),
            self._group[place],
            self._target[place],
            self._trust[place],
            pairs,
            sentences,
            before,
        )

    # -- an epoch ------------------------------------------------------------------------------

    def _end_epoch(self) -> Epoch:
        recipe, progress = self._recipe, self.progress
        error = self._held_out_error()
        progress.epochs.append((float(np.mean(progress.losses)), error))
        progress.losses = []
        number = len(progress.epochs)
        if not recipe.patience or not error > min(e for _, e in progress.epochs):
            progress.best = number
            self._kept = self._trained() if recipe.patience and self._held.size else {}
        late = recipe.patience and number - progress.best >= recipe.patience
        progress.done = number == recipe.epochs or bool(late)
        return Epoch(number, recipe.epochs, progress.epochs[-1][0], error, progress.best)

    def _held_out_error(self) -> float:
        """Mean error of the targets on held-out products, by head or else by neighbours."""
        if not self._held.size:
            return math.nan
        target = self._target[self._held]
        vectors = self.vectors(self._held)
        if self._recipe.head:
            predicted = self.student.predicted(vectors)
        else:
            learned, known = self.vectors(self._learn), self._target[self._learn]
            parts = []
            for some in torch.split(vectors, _READ_ROWS):  # all at once might not fit
                near = torch.softmax(some @ learned.T / self._recipe.temperature, dim=1)
                total = near @ (~known.isnan()).float()
                parts.append(near @ known.nan_to_num() / total.clamp(min=1e-12))
            predicted = torch.cat(parts)
        trust = torch.where(target.isnan(), 0.0, self._trust[self._held])
        error = (trust * (predicted - target).square().nan_to_num()).sum(0) / trust.sum(0)
        return float(error[~error.isnan()].mean().detach())

    def vectors(self, rows: NDArray[np.int64]) -> Tensor:
        """Unit vectors of products as things stand, (m, d)."""
        training = self.student.training
        self.student.eval()
        with torch.no_grad(), self._accelerator.autocast():
            found = [
                self.student.vectors(self._read(rows[start : start + _READ_ROWS]))
                for start in range(0, len(rows), _READ_ROWS)
            ]
        self.student.train(training)
        return torch.cat(found)

    def _read(self, rows: NDArray[np.int64]) -> Read:
        return self._reader.read([self._products.text[row] for row in rows])

    # -- what is learned from ------------------------------------------------------------------

    def _standardised(self, products: Products) -> tuple[Tensor, Tensor]:
        """Targets in standard deviations around their mean, and their trust, float32 (n, t)."""
        known = products.target[self._learn]
        if np.isnan(known).all(axis=0).any():
            empty = [n for n, k in zip(products.names, known.T, strict=True) if np.isnan(k).all()]
            raise ValueError(f"tasks: {', '.join(empty)} is known of no product: leave it out")
        mean, sd = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
        scaled = (products.target - mean) / np.where(sd > ROUNDING, sd, 1.0)
        device = self._accelerator.device
        return (
            torch.as_tensor(scaled, dtype=torch.float32, device=device),
            torch.as_tensor(products.weight, dtype=torch.float32, device=device),
        )

    def _learned_pairs(self) -> NDArray[np.int64]:
        """Pairs bought together of which both are learned from, (p, 2)."""
        if not self._recipe.together:
            return np.empty((0, 2), np.int64)
        pairs = self._products.together
        return pairs[np.isin(pairs, self._learn).all(axis=1)]

    def _general(self, encoder: SentenceTransformer) -> tuple[list[str], Tensor]:
        """General sentences, and their vectors before training, (s, d)."""
        if not self._recipe.meaning:
            return [], torch.empty(0)
        vocabulary = encoder.tokenizer.get_vocab()
        sentences = general_sentences(vocabulary, SENTENCES, self._recipe.seed)
        transformer: Any = encoder[0].auto_model
        self.student.eval()
        with torch.no_grad(), transformer.disable_adapter():
            parts = [
                self.student.vectors(self._reader.read(sentences[i : i + _READ_ROWS]))
                for i in range(0, SENTENCES, _READ_ROWS)
            ]
        return sentences, torch.cat(parts)
