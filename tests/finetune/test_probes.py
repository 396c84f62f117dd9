import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import EmbeddingCache, Encoder, listing_texts
from finetune import embedding_probes, grouped_folds, lexical_probe
from finetune.probes import by_neighbours, by_policy, in_halves
from markets import read_online_retail

RETAIL = Path(__file__).parents[3] / "shared" / "data" / "online_retail.parquet"


@given(st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=60))
def test_folds_hold_every_row_out_once_and_never_split_a_group(groups):
    groups = [*groups, *"abc"]
    masks = list(grouped_folds(groups, 3))
    assert (np.sum(masks, 0) == 1).all()
    for mask in masks:
        held, kept = set(np.array(groups)[mask]), set(np.array(groups)[~mask])
        assert not held & kept


def test_neighbouring_codes_are_in_different_folds():
    codes = [str(20_000 + i) for i in range(30)]
    fold_of = np.argmax(list(grouped_folds(codes, 5)), axis=0)
    assert (fold_of[1:] != fold_of[:-1]).all()


def test_more_folds_than_groups_are_refused():
    with pytest.raises(ValueError, match="folds is 3, groups are 2"):
        list(grouped_folds(["a", "b"], 3))


def test_a_target_in_the_words_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    large = rng.integers(0, 2, 300).astype(float)
    texts = [f"{'large' if size else 'small'} box {i % 7}" for i, size in enumerate(large)]
    groups = [str(i // 2) for i in range(300)]
    assert lexical_probe(texts, large, groups).r2 > 0.95
    assert lexical_probe(texts, rng.normal(size=300), groups).r2 < 0.05


def test_words_are_believed_as_far_as_they_hold_in_other_groups():
    # five variants of a product share words and price: by variants words seem to tell all of it
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(80), 5)
    shade = rng.integers(0, 40, (80, 4))
    level = rng.normal(0, 0.25, 40)[shade].sum(1) + rng.normal(0, 1, 80)
    target = level[group] + rng.normal(0, 0.05, 400)
    texts = [" ".join(f"shade{s}" for s in shade[g]) for g in group]
    assert lexical_probe(texts, target, [str(g) for g in group]).r2 > -0.1


def odd_products(count: int):
    """Groups of three, priced by a vector and a word, which tell as much each."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(count), 3)
    word = rng.integers(0, 20, count)
    place = rng.uniform(0, np.pi, count)
    worth = rng.normal(0, 1, 20)
    target = worth[word][group] + place[group]
    around = np.stack([np.cos(place), np.sin(place)], 1)[group]
    texts = [f"colour{w} thing" for w in word[group]]
    return texts, around.astype(np.float32), target, [str(g) for g in group]


def test_a_policy_knows_both_words_and_neighbours_and_never_its_own_group():
    texts, vectors, target, groups = odd_products(150)
    out = next(grouped_folds(groups, 5))

    def r2(predicted):
        return 1 - ((predicted - target[out]) ** 2).mean() / target[out].var()

    policy = by_policy(texts, vectors, target, groups)(~out, out)
    assert r2(policy) > 0.7
    assert r2(by_neighbours(vectors, target, groups)(~out, out)) < 0.6
    # what others of its group cost is not looked at, though it is known
    alone = np.zeros(len(target), bool)
    alone[0] = True
    told = by_policy(texts, vectors, target, groups)(~alone, alone)
    other = target.copy()
    other[1:3] += 5.0
    again = by_policy(texts, vectors, other, groups)(~alone, alone)
    assert abs(told[0] - again[0]) < 1.0


def test_a_policy_trusts_vectors_as_far_as_they_tell_of_what_they_were_not_fitted_to():
    texts, _, target, groups = odd_products(200)
    out = next(grouped_folds(groups, 4))
    rng = np.random.default_rng(4)
    # vectors know by heart what those learned from cost, and nothing of others
    angle = np.where(out, rng.uniform(0, np.pi, len(target)), (target - target.min()) / 4)
    vectors = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)

    def error(trained_on):
        policy = by_policy(texts, vectors, target, groups, trained_on)
        return ((in_halves(policy, ~out, out, groups) - target[out]) ** 2).mean()

    assert error(~out) < 0.8 * error(None)


def test_halves_ask_each_row_once_with_the_other_half_known():
    groups = [str(i // 2) for i in range(20)]
    test = np.arange(20) >= 10
    asked = []

    def predict(train, out):
        assert (train == ~out).all()  # all that is not asked is known
        assert (
            len(
                {groups[i] for i in np.flatnonzero(out)}
                & {groups[i] for i in np.flatnonzero(train)}
            )
            == 0
        )
        asked.append(out)
        return np.flatnonzero(out).astype(float)

    assert (in_halves(predict, ~test, test, groups) == np.flatnonzero(test)).all()
    assert len(asked) == 2
    assert (np.sum(asked, 0) == test).all()


def test_texts_without_a_word_tell_the_mean():
    target = np.arange(40.0)
    found = lexical_probe(["?"] * 20 + ["#1"] * 20, target, [str(i) for i in range(40)])
    assert np.isfinite(found.predicted).all()
    assert found.r2 < 0.05


def test_a_target_in_the_vectors_is_found_by_ridge_and_neighbours():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    target = vectors[:, 0].astype(float)
    ridge, neighbours = embedding_probes(vectors, target, [str(i) for i in range(400)])
    assert ridge.r2 > 0.99
    assert 0.5 < neighbours.r2 < 1


def test_ten_variants_of_one_product_are_one_neighbour():
    # next to what is asked for stand ten variants at 9, a little further twelve products at 1
    rng = np.random.default_rng(0)
    angle = np.array([0.0, *np.linspace(0.1, 0.11, 10), *np.linspace(0.2, 0.21, 12)])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    target = np.array([0.0] + [9.0] * 10 + [1.0] * 12)
    apart = [str(i) for i in range(23)]
    together = ["0", *["variants"] * 10, *apart[11:]]
    asked = np.arange(23) == 0
    order = rng.permutation(23)  # the order of rows must not matter
    for groups, price in (
        (apart, 9.0),
        (together, (9 * np.exp(12 * 0.015) + 9) / (np.exp(0.18) + 9)),
    ):
        shuffled = [groups[i] for i in order]
        predict = by_neighbours(vectors[order], target[order], shuffled)
        assert predict(~asked[order], asked[order])[0] == pytest.approx(price, abs=0.02)


def test_a_direction_is_believed_as_far_as_it_holds_in_other_groups():
    # ten variants share vector and price: by variants, forty directions seem to tell all of it
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(60), 10)
    vectors = rng.normal(size=(60, 40))[group]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    target = rng.normal(0, 1, 60)[group] + rng.normal(0, 0.05, 600)
    ridge, _ = embedding_probes(vectors.astype(np.float32), target, [str(g) for g in group])
    assert ridge.r2 > -0.3


@pytest.mark.slow
def test_real_products_reach_the_figures_known_of_them(tmp_path_factory):
    if not RETAIL.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{RETAIL} is missing")
        pytest.skip(f"{RETAIL} is not here: real products are not checked")
    history = read_online_retail(RETAIL)
    known = (
        history.sales.group_by("listing_id")
        .agg(pl.col("price").median(), pl.len().alias("lines"))
        .filter(pl.col("lines") >= 5)
        .join(history.listings, on="listing_id")
        .sort("listing_id")
        .gather_every(5)  # the order of the figures, at a fifth of the time
    )
    target, groups = known["price"].log().to_numpy(), known["family_group"].to_list()
    texts = listing_texts(known["title"].to_list())
    cache = EmbeddingCache(tmp_path_factory.mktemp("embeddings"), Encoder())
    ridge, neighbours = embedding_probes(cache.embed(texts).vectors, target, groups)
    lexical = lexical_probe(texts, target, groups)
    assert 0.05 < neighbours.r2 < lexical.r2 < 0.8
    assert ridge.r2 < lexical.r2
