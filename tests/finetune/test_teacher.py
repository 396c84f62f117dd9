from dataclasses import replace

import numpy as np
import pytest
from small_products import small_products

from finetune.teacher import FEWEST, second_opinion

COUNT = 120


@pytest.fixture
def catalogue():
    """Products of which the first word tells the price, two to a group, and vectors of noise."""
    rng = np.random.default_rng(0)
    dear = rng.integers(0, 2, COUNT // 2).repeat(2)
    products = small_products(COUNT)
    products = replace(
        products,
        text=[f"{'golden' if d else 'paper'} box {i % 9}" for i, d in enumerate(dear)],
        group=np.array([f"g{i // 2}" for i in range(COUNT)], object),
        names=("log price",),
        target=(dear + rng.normal(0, 0.1, COUNT))[:, None],
        weight=np.ones((COUNT, 1)),
    )
    vectors = rng.normal(size=(COUNT, 8)).astype(np.float32)
    return products, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_what_words_tell_is_said(catalogue):
    products, vectors = catalogue
    said = second_opinion(products, vectors)
    assert said.shape == (COUNT, 1)
    assert np.corrcoef(said[:, 0], products.target[:, 0])[0, 1] > 0.9
    assert np.abs(said - products.target).mean() < 0.25


def test_no_product_is_asked_about_itself_or_its_variants(catalogue):
    products, vectors = catalogue
    slip = products.target.copy()
    slip[:2] += 40.0  # both of the first group
    before, after = (second_opinion(replace(products, target=t), vectors) for t in
                     (products.target, slip))  # fmt: skip
    # the slip moves the others of its kind far more than its own group
    others = np.abs(after - before)[2:]
    assert np.abs(after - before)[:2].max() < others.max()
    assert after[:2].max() < 5.0


def test_an_opinion_of_nothing_is_the_mean(catalogue):
    products, vectors = catalogue
    noise = np.random.default_rng(1).normal(3.0, 1.0, (COUNT, 1))
    mute = replace(products, text=["?"] * COUNT, target=noise)
    said = second_opinion(mute, vectors)
    assert said.mean() == pytest.approx(noise.mean())
    assert said.std() < 0.35 * noise.std()


def test_unknown_targets_have_none_and_few_products_are_not_asked(catalogue):
    products, vectors = catalogue
    target = np.column_stack([products.target[:, 0], products.target[:, 0]])
    target[:7, 0] = np.nan
    target[FEWEST - 1 :, 1] = np.nan
    said = second_opinion(replace(products, names=("a", "b"), target=target), vectors)
    assert np.isnan(said[:7, 0]).all()
    assert np.isfinite(said[7:, 0]).all()
    assert np.isnan(said[:, 1]).all()
    together = replace(products, group=np.array(["one", "two"] * (COUNT // 2), object))
    assert np.isnan(second_opinion(together, vectors)).all()
