import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import EmbeddingCache, neighbours
from encoders.index import ListIndex

TEXTS = [str(i) for i in range(600)]


class ClusteredEncoder(HashingEncoder):
    """Texts in thirty clusters, as listings are in categories."""

    def vector(self, text):
        rows = super().vector(f"cluster {hash_of(text)}") + 0.5 * super().vector(text)
        return rows / np.linalg.norm(rows)


def hash_of(text):
    return sum(text.encode()) % 30


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    cache = EmbeddingCache(tmp_path_factory.mktemp("exact"), HashingEncoder())
    cache.embed(TEXTS)
    cache.delete(TEXTS[5:8])
    return cache


def brute(vectors, queries, k, allowed):
    scores = np.full((len(queries), len(vectors)), -np.inf, np.float32)
    scores[:, allowed] = queries @ vectors[allowed].T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, 1)
    return best, np.where(np.isfinite(best), order, -1)


@settings(max_examples=40, deadline=None)
@given(
    k=st.integers(1, 12),
    q=st.integers(0, 4),
    among=st.none() | st.lists(st.integers(-2, 620), max_size=40) | st.just(list(range(590))),
    scale=st.sampled_from([1.0, 7.5]),
)
def test_exact_search_is_brute_force(cache, k, q, among, scale):
    fake = HashingEncoder()
    queries = scale * fake.vectors([f"query {i}" for i in range(q)])
    alive = sorted(set(range(600)) - {5, 6, 7})
    allowed = alive if among is None else sorted(set(among) & set(alive))
    asked = None if among is None else np.array(among, np.int64)
    scores, ids = cache.neighbours(queries, k, asked)
    want_scores, want_ids = brute(fake.vectors(TEXTS), queries / scale, k, allowed)
    assert (scores.dtype, ids.dtype, scores.shape) == (np.float32, np.int64, (q, k))
    np.testing.assert_allclose(scores, want_scores, atol=1e-5)
    assert (ids == want_ids).all()


def test_bad_queries_are_refused(cache):
    good = np.ones((1, 8), np.float32)
    with pytest.raises(ValueError, match="k is 0"):
        cache.neighbours(good, 0)
    with pytest.raises(ValueError, match=r"shape \(1, 7\)"):
        cache.neighbours(good[:, :7], 1)
    with pytest.raises(ValueError, match=r"vectors\[1\] is not finite"):
        cache.neighbours(np.concatenate([good, good * np.nan]), 1)
    assert np.isfinite(cache.neighbours(good * 0, 1)[0]).all()


def test_an_empty_cache_pads(tmp_path):
    scores, ids = EmbeddingCache(tmp_path, HashingEncoder()).neighbours(np.ones((2, 8)), 2)
    assert (scores == -np.inf).all()
    assert (ids == -1).all()


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A cache whose limit is low enough for lists to be built."""
    monkeypatch.setattr(neighbours, "EXACT_ROWS", 1_000)
    fake = ClusteredEncoder(dim=32)
    cache = EmbeddingCache(tmp_path, fake)
    texts = [f"listing {i}" for i in range(2_000)]
    cache.embed(texts)
    return cache, fake, texts, tmp_path


def test_lists_follow_insertions_and_deletions(large):
    cache, fake, texts, _ = large
    vectors = fake.vectors(texts)
    scores, ids = cache.neighbours(vectors[:50], 1)
    assert cache._neighbours.lists is not None
    assert (ids[:, 0] == np.arange(50)).all()  # each finds itself
    np.testing.assert_allclose(scores, 1, atol=1e-5)  # and is scored exactly

    cache.delete(texts[:50])
    _, ids = cache.neighbours(vectors[:50], 5)
    assert (ids >= 50).all()
    added = cache.embed([f"late {i}" for i in range(50)])
    _, ids = cache.neighbours(added.vectors, 1)
    assert (ids[:, 0] == added.ids).all()


def test_lists_keep_to_among_and_fill_every_place(large):
    cache, fake, texts, _ = large
    queries = fake.vectors(texts[:20])
    among = np.arange(500, 1_900)  # more than the limit: lists with a selector
    scores, ids = cache.neighbours(queries, 1_200, among)
    assert ((ids >= 500) & (ids < 1_900)).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    _, few = cache.neighbours(queries, 3, np.arange(700, 710))  # few: exact
    _, want = brute(fake.vectors(texts), queries, 3, list(range(700, 710)))
    assert (few == want).all()


def test_lists_are_rebuilt_when_rows_double(large):
    cache, fake, texts, _ = large
    cache.neighbours(fake.vectors(texts[:1]), 1)
    assert cache._neighbours.lists.trained_rows == 2_000
    cache.embed([f"more {i}" for i in range(2_000)])
    cache.neighbours(fake.vectors(texts[:1]), 1)
    assert cache._neighbours.lists.trained_rows == 4_000


def test_saved_lists_are_used_again_unless_stale_or_torn(large):
    cache, fake, texts, folder = large
    query = fake.vectors(texts[:1])
    want = cache.neighbours(query, 10)[1].tolist()
    (path,) = folder.rglob("neighbours.lists")
    keys = cache._rows.keys
    reborn = EmbeddingCache(folder, fake)
    assert reborn._neighbours.lists is not None
    assert reborn.neighbours(query, 10)[1].tolist() == want

    whole = path.read_bytes()
    for length in (*range(0, len(whole), 997), len(whole) - 1):
        path.write_bytes(whole[:length])
        assert ListIndex.load(path, keys) is None
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    assert ListIndex.load(path, keys) is None
    assert EmbeddingCache(folder, fake).neighbours(query, 10)[1].tolist() == want

    path.write_bytes(whole)
    assert ListIndex.load(path, keys) is not None
    assert ListIndex.load(path, keys[1:] + keys[:1]) is None  # other rows under the same slots


def test_recall_on_clustered_rows(large):
    cache, fake, texts, _ = large
    queries = fake.vectors([f"query {i}" for i in range(100)])
    _, ids = cache.neighbours(queries, 10)
    _, want = brute(fake.vectors(texts), queries, 10, list(range(2_000)))
    hits = sum(len(set(a) & set(b)) for a, b in zip(ids.tolist(), want.tolist(), strict=True))
    assert hits / 1_000 > 0.95
