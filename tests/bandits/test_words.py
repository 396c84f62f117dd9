import dataclasses

import numpy as np
import pytest

from bandits import Policy, word_ids
from bandits.words import WORDS, shared_words, which_words

NONE = np.empty(0, np.int64)


def hash_of(word):
    return int(word_ids([word])[0, 0])


def test_shared_words_are_those_of_one_text_in_a_hundred_and_ten_texts():
    texts = ["lamp"] * 9 + ["mug"] * 10 + ["vase"] * 11
    assert set(shared_words(word_ids(texts))) == {hash_of("mug"), hash_of("vase")}
    many = ["mug"] * 10 + ["vase"] * 20 + ["lamp"] * 1970
    assert set(shared_words(word_ids(many))) == {hash_of("vase"), hash_of("lamp")}
    assert shared_words(word_ids([])).tolist() == []
    assert shared_words(word_ids([""] * 50)).tolist() == []


def test_of_too_many_shared_words_the_most_common_are_kept():
    # 1,000 texts; words 0 to 149 are in 10 of them, 150 to 299 in 11
    word = np.repeat(np.arange(300), np.where(np.arange(300) < 150, 10, 11))
    ids = np.full((1000, WORDS), -1, np.int32)
    place = np.arange(len(word))
    ids[place % 1000, place // 1000] = word
    found = shared_words(ids)
    assert found.tolist() == sorted(found.tolist())
    assert len(found) == 200
    assert set(range(150, 300)) <= set(found.tolist())


def test_which_words_a_text_holds():
    red, mug = hash_of("red"), hash_of("mug")
    ids = word_ids(["red mug", "mug", "lamp", ""])
    held = which_words(ids, np.array([red, mug]) if red < mug else np.array([mug, red]))
    if red > mug:
        held = held[:, ::-1]
    np.testing.assert_allclose(held, [[0.5**0.5] * 2, [0, 1], [0, 0], [0, 0]])
    assert which_words(ids, NONE).shape == (4, 0)
    assert which_words(np.full((0, WORDS), -1, np.int32), np.array([red])).shape == (0, 1)


@pytest.mark.statistical
def test_words_that_tell_elastic_buyers_from_others_are_learned_for_listings_never_sold(make):
    # 300 listings of 3,000 impressions, seeded, with elasticities exp(0.3) and exp(1.1), "gift" and
    # "tool": in 10 seeds new ones are taken to lie 0.64 to 0.79 apart on the log scale, of 0.8
    n, policy = 300, Policy()
    kinds = np.array(["gift", "tool"])
    texts = [f"{kinds[i % 2]} number {i}" for i in range(n)]
    listings = make.listings([1.0] * n, guess_sd=0.1, listing=np.arange(n), words=word_ids(texts))
    shop = make.shop(policy.population, make.known(n, guess_sd=0.1), 0)
    shop.elasticity = np.exp(np.where(np.arange(n) % 2, 1.1, 0.3))
    for _ in range(10):
        shop.sell(policy.evidence, shop.rng.uniform(-0.5, 0.5, n), 300)
    policy.learn_population(np.arange(n), listings.anchor, listings.context)
    assert "words" in policy.population.effects
    new = make.listings([1.0] * 3, guess_sd=0.1, words=word_ids(["new gift", "new tool", "other"]))
    gift, tool, other = policy.population.log_elasticity(policy.known(new.context, new.anchor))
    assert 0.55 < tool - gift < 0.85
    assert gift < other < tool
    # the same sales under texts that tell nothing apart
    nothing = dataclasses.replace(listings.context, words=word_ids(["thing"] * n))
    blind = Policy()
    blind.evidence = policy.evidence
    blind.learn_population(np.arange(n), listings.anchor, nothing)
    assert "words" not in blind.population.effects
    assert blind.population.vocabulary.tolist() == []
