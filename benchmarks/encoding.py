"""Texts per second of the encoder beside plain sentence-transformers, and of the embedding cache.

Encoding: the same distinct titles of mixed length, in rounds that alternate. The cache: rows of a
made-up encoder whose vectors lie in clusters, as those of texts do, so that its size costs nothing
to encode. Neighbours: exact search, a product in numpy, and inverted lists over the same rows, with
recall@10.

Run: python benchmarks/encoding.py [--texts 512] [--rounds 3] [--rows 60000]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from titles import titles

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from encoders import DEFAULT_MODEL, EmbeddingCache, Encoder, model_folder, neighbours

DIM = 384
NEIGHBOURS = 10


class ClusteredEncoder:
    """Text number i gets the direction of one of many centres, plus noise of length 0.6."""

    dim, fingerprint = DIM, "clustered1"

    def __init__(self, rows: int) -> None:
        self._chance = np.random.default_rng(0)
        # texts use few of the directions that a vector has: centres lie in 48 of 384
        self._centres = self._chance.normal(size=(rows // 8 + 1, 48)) @ self._chance.normal(
            size=(48, DIM)
        )
        self._centres /= np.linalg.norm(self._centres, axis=1, keepdims=True)

    def encode(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        centre = self._centres[self._chance.integers(len(self._centres), size=len(texts))]
        noise = self._chance.normal(size=(len(texts), DIM)) * 0.6 / np.sqrt(DIM)
        rows = centre + noise
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def middle(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def texts_of_mixed_length(n: int) -> list[str]:
    """Titles alone, and titles with some sentences, as catalogues have them."""
    short = titles(n)
    chance = np.random.default_rng(1)
    return [
        title + f". {' and '.join(chance.choice(short, int(chance.integers(1, 6))))}." * (i % 3 > 1)
        for i, title in enumerate(short)
    ]


def encoding(n: int, rounds: int) -> None:
    from sentence_transformers import SentenceTransformer

    ours = Encoder()
    plain = SentenceTransformer(str(model_folder(DEFAULT_MODEL)), local_files_only=True)
    texts = texts_of_mixed_length(n)
    alone = plain.encode(texts[:64], normalize_embeddings=True)
    assert np.abs(ours.encode(texts[:64]) - alone).max() < 1e-4, "not the same vectors"
    pairs = []
    for _ in range(rounds):
        mine = n / seconds(lambda: ours.encode(texts))
        other = n / seconds(lambda: plain.encode(texts, show_progress_bar=False))
        pairs.append((mine, other))
    print(f"encoding {n:,} texts, one in three with sentences, {rounds} rounds")
    print(f"  Encoder              {middle([a for a, _ in pairs], ',.0f')} texts/s")
    print(f"  SentenceTransformer  {middle([b for _, b in pairs], ',.0f')} texts/s")
    print(f"  ratio                {middle([a / b for a, b in pairs], '.2f')}")


def multiplied(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The nearest rows, in no order, as numpy finds them."""
    return np.argpartition(-(queries @ rows.T), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def cached(rows: int, rounds: int) -> None:
    texts = [f"text {i}" for i in range(rows)]
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(Path(folder), ClusteredEncoder(rows))
        filled = seconds(lambda: cache.embed(texts))
        print(f"\na cache of {rows:,} rows, d = {DIM}: {rows / filled:,.0f} rows/s to fill")
        some = texts[: min(10_000, rows)]
        again = [len(some) / seconds(lambda: cache.embed(some)) for _ in range(rounds)]
        print(f"  embed, all cached    {middle(again, ',.0f')} texts/s")
        chance = np.random.default_rng(2)
        queries = cache.vectors(chance.choice(rows, 256, replace=False))
        limit = neighbours.EXACT_ROWS
        neighbours.EXACT_ROWS = rows  # a search is exact up to here
        exact = [seconds(lambda: cache.neighbours(queries, NEIGHBOURS)) for _ in range(rounds)]
        _, right = cache.neighbours(queries, NEIGHBOURS)
        everything = cache.vectors(np.arange(rows))
        plain = [seconds(lambda: multiplied(queries, everything)) for _ in range(rounds)]
        neighbours.EXACT_ROWS = min(limit, rows - 1)
        build = seconds(lambda: cache.neighbours(queries[:1], NEIGHBOURS))
        lists = [seconds(lambda: cache.neighbours(queries, NEIGHBOURS)) for _ in range(rounds)]
        _, found = cache.neighbours(queries, NEIGHBOURS)
    recall = np.mean([np.isin(f, r).mean() for f, r in zip(found, right, strict=True)])
    slow, numpy, fast = ([1e3 / len(queries) * t for t in times] for times in (exact, plain, lists))
    ratio = [e / f for e, f in zip(exact, lists, strict=True)]
    print(f"  neighbours, exact    {middle(slow, '.2f')} ms a query, 256 at once")
    print(f"  a product in numpy   {middle(numpy, '.2f')} ms a query, no lock, all rows alive")
    print(f"  neighbours, lists    {middle(fast, '.2f')} ms a query; built in {build:.1f} s")
    print(f"  exact / lists        {middle(ratio, '.1f')}; recall@{NEIGHBOURS} {recall:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60_000)
    given = parser.parse_args()
    encoding(given.texts, given.rounds)
    cached(given.rows, given.rounds)


if __name__ == "__main__":
    main()
