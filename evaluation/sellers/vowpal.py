"""Vowpal Wabbit's contextual bandits: SquareCB over the ladder, CATS over all prices between.

https://vowpalwabbit.org. Both learn online, one listing and day after the other, from what was
reported on the day itself; units reported late change features, and no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.sellers.features import CONTEXT, OFFER, Journal
from evaluation.sellers.packages import imported
from evaluation.sellers.protocol import Floats, Sales, Today, rungs
from markets import Knowledge

_SHARED = " ".join(f"{name}:%.4g" for name in CONTEXT[1:])  # it adds a constant itself
_OFFER = " ".join(f"{name}:%.4g" for name in OFFER)
_SEEDS = 1 << 31


def _shared(x: Floats, today: Today, ids: bool) -> list[str]:
    """Text of contexts (m, CONTEXT)."""
    texts = [f"|S {_SHARED % tuple(row)}" for row in x[:, 1:].tolist()]
    if ids:
        return [f"{text} |L r{row}" for text, row in zip(texts, today.rows.tolist(), strict=True)]
    return texts


@dataclass(frozen=True, slots=True)
class SquareCBSettings:
    """Options of `--cb_explore_adf --squarecb`, by default the package's.

    Attributes:
        gamma_scale: greediness is this times the square root of the labels so far.
        learning_rate: of the regression.
        interactions: whether the context changes what a price earns; without, it has no say.
        ids: whether every listing has weights of its own beside those of the catalogue.
        whole: whether a label comes with the rungs that were not charged, as is usual; without
            them each label counts sixteen times as much.
    """

    gamma_scale: float = 10.0
    learning_rate: float = 0.5
    interactions: bool = True
    ids: bool = False
    whole: bool = True

    def options(self, seed: int) -> str:
        """The command line."""
        pairs = " ".join(["-q SA"] * self.interactions + ["-q LA"] * self.ids)
        return (
            f"--cb_explore_adf --squarecb --gamma_scale {self.gamma_scale} "
            f"-l {self.learning_rate} -b 20 {pairs} --quiet --random_seed {seed % _SEEDS}"
        )


class SquareCB:
    """Foster and Rakhlin, "Beyond UCB", ICML 2020: rungs with features, inverse-gap weights.

    SquareCB takes no importance weights. A label of weight w is therefore multiplied by w / (w + 1)
    before it is learned: all rungs alike, and where next to nothing was expected to sell a single
    sale does not outweigh the catalogue.
    """

    def __init__(
        self, knowledge: Knowledge, seed: int, settings: SquareCBSettings | None = None
    ) -> None:
        self._settings = settings or SquareCBSettings()
        self._knowledge, self._journal = knowledge, Journal(knowledge)
        self._vw = imported("vowpalwabbit").Workspace(self._settings.options(seed))
        self._stream = np.random.default_rng(seed)
        self._waiting: dict[int, list[list[str]]] = {}

    def price(self, today: Today) -> Floats:
        """Rungs drawn from the probabilities that it gives them."""
        x = self._journal.context(today)
        examples = self._examples(today, x)
        k = self._knowledge.ladders.shape[1]
        found = [self._vw.predict(example) for example in examples]
        below = np.reshape(found, (-1, k)).cumsum(axis=1)  # (m, k)
        drawn = self._stream.random(today.rows.size) * below[:, -1]
        arm = np.minimum((below < drawn[:, None]).sum(axis=1), k - 1)
        self._journal.wrote(today, x, arm)
        self._waiting[today.day] = examples
        return rungs(self._knowledge, today.rows, arm)

    def learn(self, sales: Sales) -> None:
        """Learn the day's labels, in the order of the listings."""
        self._journal.sold(sales)
        day = int(sales.day.max(initial=-1))
        if day not in self._waiting:
            return
        examples, labels = self._waiting.pop(day), self._journal.labels(day)
        cost = -labels.gain * labels.weight / (labels.weight + 1.0)
        for place, arm, lost in zip(
            labels.place.tolist(), labels.arm.tolist(), cost.tolist(), strict=True
        ):
            shared, *offers = examples[place]
            offers[arm] = f"0:{lost:.6g}:1 {offers[arm]}"  # SquareCB ignores the probability
            self._vw.learn([shared, *(offers if self._settings.whole else [offers[arm]])])

    def _examples(self, today: Today, x: Floats) -> list[list[str]]:
        """Text of each listing: what is shared, then each rung."""
        offers = self._journal.offers(today)
        return [
            [f"shared {shared}", *(f"|A {_OFFER % tuple(offer)}" for offer in ladder)]
            for shared, ladder in zip(
                _shared(x, today, self._settings.ids), offers.tolist(), strict=True
            )
        ]


@dataclass(frozen=True, slots=True)
class CatsSettings:
    """Options of `--cats`, by default the package's where it has any.

    Attributes:
        actions: leaves of the tree, a power of two; as many as rungs unless told.
        bandwidth: half width of the prices around a leaf that learn from it, share of the
            range; None for half a leaf, the package's default.
        epsilon: share of the prices drawn evenly. learning_rate: of the tree's classifiers.
        best: gain that costs nothing; costs are 1 - gain / `best`, cut to [0, 1].
    """

    actions: int = 16
    bandwidth: float | None = None
    epsilon: float = 0.05
    learning_rate: float = 0.5
    best: float = 2.0

    def options(self, seed: int) -> str:
        """The command line."""
        width = "" if self.bandwidth is None else f"--bandwidth {self.bandwidth} "
        return (
            f"--cats {self.actions} --min_value 0 --max_value 1 {width}"
            f"--epsilon {self.epsilon} -l {self.learning_rate} -b 20 "
            f"--quiet --random_seed {seed % _SEEDS}"
        )


class Cats:
    """Majzoubi et al., "Efficient contextual bandits with continuous actions", NeurIPS 2020.

    An action is the place of the log price between the ends of the listing's ladder, in [0, 1].
    """

    def __init__(
        self, knowledge: Knowledge, seed: int, settings: CatsSettings | None = None
    ) -> None:
        self._settings = settings or CatsSettings()
        self._knowledge, self._journal = knowledge, Journal(knowledge)
        self._vw = imported("vowpalwabbit").Workspace(self._settings.options(seed))
        self._waiting: dict[int, tuple[list[str], list[tuple[float, float]]]] = {}

    def price(self, today: Today) -> Floats:
        """Prices drawn from the density that it gives them."""
        x = self._journal.context(today)
        texts = _shared(x, today, ids=False)
        drawn = [self._vw.predict(text) for text in texts]  # place and density
        self._waiting[today.day] = texts, drawn
        ladders = self._knowledge.ladders[today.rows]
        low, high = ladders[:, 0], ladders[:, -1]
        place = np.clip(np.array([place for place, _ in drawn]), 0.0, 1.0)
        prices: Floats = np.clip(low * (high / low) ** place, low, high)
        arm = np.abs(np.log(ladders / prices[:, None])).argmin(axis=1)
        self._journal.wrote(today, x, arm)
        return prices

    def learn(self, sales: Sales) -> None:
        """Learn the day's labels, in the order of the listings.

        A label counts by one over its density; density over weight makes it count by both.
        """
        self._journal.sold(sales)
        day = int(sales.day.max(initial=-1))
        if day not in self._waiting:
            return
        texts, drawn = self._waiting.pop(day)
        labels = self._journal.labels(day)
        cost = np.clip(1.0 - labels.gain / self._settings.best, 0.0, 1.0)
        for place, lost, weight in zip(
            labels.place.tolist(), cost.tolist(), labels.weight.tolist(), strict=True
        ):
            at, density = drawn[place]
            self._vw.learn(f"ca {at:.6g}:{lost:.6g}:{density / weight:.6g} {texts[place]}")
