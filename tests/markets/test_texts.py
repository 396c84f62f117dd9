import numpy as np
import pytest
from small_markets import shop_of

from markets.texts import clusters, nearest, text_vectors


def test_titles_with_the_same_words_are_near() -> None:
    titles = ["red oak table", "oak table red", "blue tin mug", "blue mug of tin", "zz yy"]
    vectors = text_vectors(titles)
    assert vectors.dtype == np.float32
    near = vectors @ vectors.T
    assert near[0, 1] > 0.9
    assert near[2, 3] > 0.3
    assert abs(near[0, 2]) < 0.1
    length = np.linalg.norm(vectors, axis=1)
    assert ((np.abs(length - 1) < 1e-5) | (length == 0)).all()


@pytest.mark.parametrize(
    "titles", [["only one"], ["", " "], ["a"] * 30, ["\t", "ünï çødé ✓", "", "a b"]]
)
def test_poor_titles_have_vectors(titles: list[str]) -> None:
    vectors = text_vectors(titles)
    assert len(vectors) == len(titles)
    assert np.isfinite(vectors).all()
    assert clusters(vectors).shape == (len(titles),)


def test_kinds_of_goods_fall_into_clusters() -> None:
    titles = shop_of(200).listings["title"].to_list()
    found = clusters(text_vectors(titles))
    assert found.min() == 0
    assert np.unique(found).size <= 20
    # a cluster holds one kind, mostly
    kinds = np.arange(200) % 8
    pure = sum(np.bincount(kinds[found == c]).max() for c in np.unique(found))
    assert pure > 190
    np.testing.assert_array_equal(found, clusters(text_vectors(titles)))


def test_the_nearest_by_hand() -> None:
    angle = np.radians([0, 10, 30, 55, 90])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    among = np.array([True, True, True, False, True])
    rows, cosines = nearest(vectors, among, 3, np.array(["a", "a", "b", "c", "d"]))
    # 0 and 1 are of one family; 3 is not among them
    assert rows[0, :2].tolist() == [2, 4]
    assert rows[1, :2].tolist() == [2, 4]
    assert rows[2].tolist() == [1, 0, 4]
    assert rows[3].tolist() == [2, 4, 1]
    np.testing.assert_allclose(cosines[2], np.cos(np.radians([20, 30, 60])), rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(cosines[0]), [False, False, True])


def test_nobody_is_near_where_there_is_nobody() -> None:
    rows, cosines = nearest(np.ones((3, 1), np.float32), np.zeros(3, np.bool_), 4, np.arange(3))
    assert rows.shape == (3, 4)
    assert np.isnan(cosines).all()


def test_what_has_no_text_is_near_to_nobody_and_nobody_to_it() -> None:
    vectors = np.array([[1, 0], [0, 0], [0, 1], [0, 0]], np.float32)
    rows, cosines = nearest(vectors, np.ones(4, np.bool_), 3, np.arange(4))
    assert rows[[0, 2], 0].tolist() == [2, 0]
    np.testing.assert_array_equal(np.isnan(cosines), [[0, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]])


def test_the_nearest_of_many_are_those_of_one_look() -> None:
    vectors = np.random.default_rng(0).normal(size=(2500, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    _, cosines = nearest(vectors, np.ones(2500, np.bool_), 5, np.arange(2500))
    near = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(near, -np.inf)
    np.testing.assert_allclose(cosines, -np.sort(-near, axis=1)[:, :5], atol=1e-6)
