import tracemalloc

import numpy as np
import pytest

from finetune.hubs import HOSTILE, takeover
from finetune.meaning import general_sentences, kept


def test_sentences_are_whole_words_drawn_from_a_seed():
    words = [chr(97 + i) + chr(97 + j) + "o" for i in range(20) for j in range(20)]
    vocabulary = {word: i for i, word in enumerate([*words, "##ing", "ab", "[CLS]", "naïve"])}
    some = general_sentences(vocabulary, 200, seed=1)
    assert some == general_sentences(vocabulary, 200, seed=1)
    assert some != general_sentences(vocabulary, 200, seed=2)
    assert {word for text in some for word in text.split()} <= set(words)
    assert {len(text.split()) for text in some} == set(range(3, 16))


def test_marked_vocabularies_keep_beginnings_of_words_alone():
    vocabulary = {f"▁w{chr(97 + i)}{chr(97 + j)}": 0 for i in range(12) for j in range(12)}
    some = general_sentences(vocabulary | {"continuation": 1}, 50, seed=0)
    assert not any("continuation" in text or "▁" in text for text in some)


def test_too_small_a_vocabulary_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"has 1 whole words: set meaning to 0"):
        general_sentences({"word": 0, "##s": 1}, 10, 0)


def test_kept_is_a_rank_correlation():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 50, 8)).astype(np.float32)
    assert kept((first, second), (2 * first, second)) == pytest.approx(1)
    assert kept((first, second), (-first, second)) == pytest.approx(-1)


def fixed(hub):
    """An encoder of 60 catalogue texts on a circle; hostile texts go where `hub` says."""
    rng = np.random.default_rng(0)
    scattered = rng.normal(0, 0.25, (60, 16)).astype(np.float32) + hub
    scattered /= np.linalg.norm(scattered, axis=1, keepdims=True)

    def encode(texts):
        return np.stack(
            [scattered[int(t)] if t.isdigit() and len(t) < 3 else hub for t in texts]
        ).astype(np.float32)

    return encode


def test_a_text_in_the_middle_of_all_others_is_found_out():
    hub = np.ones(16, np.float32) / 4
    found = takeover(fixed(hub), [str(i) for i in range(60)])
    assert min(found.reach.values()) > 0.8 > found.usual
    assert not found.held


def test_a_large_catalogue_is_never_compared_with_all_of_itself_at_once():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4_000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode(texts):
        return np.stack([vectors[int(t) if t.isdigit() else -1] for t in texts])

    tracemalloc.start()
    found = takeover(encode, [str(i) for i in range(len(vectors))])
    assert tracemalloc.get_traced_memory()[1] < 4 * len(vectors) ** 2 / 2
    tracemalloc.stop()
    like = vectors @ vectors.T
    np.fill_diagonal(like, -1.0)
    near = np.argsort(-like, axis=1)[:, :10]
    assert found.usual == np.bincount(near.ravel()).max() / len(vectors)
    least = np.take_along_axis(like, near[:, 9:], 1)[:, 0]
    wanted = (vectors @ vectors[-1] > least).mean()
    assert found.reach["emoji"] == pytest.approx(wanted, abs=1 / len(vectors))


def test_a_text_far_from_all_others_reaches_nobody():
    hub = np.ones(16, np.float32) / 4
    encode = fixed(hub)

    def away(texts):
        return np.where([[t in HOSTILE.values()] for t in texts], -hub, encode(texts))

    found = takeover(away, [str(i) for i in range(60)])
    assert found.reach == dict.fromkeys(HOSTILE, 0.0)
    assert found.held
