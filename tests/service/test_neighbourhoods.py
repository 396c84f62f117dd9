import numpy as np
import pytest

from service.catalogue import Catalogue


def _listing(listing_id, title, price=None):
    known = {} if price is None else {"reference_price": price}
    return {"listing_id": listing_id, "title": title, "currency": "GBP", **known}


SHELF = (
    _listing("a", "blue ceramic mug", 6),
    _listing("b", "steel water bottle", 12),
    _listing("c", "wool winter scarf", 20),
    _listing("d", "pine coffee table", 90),
    _listing("new", "red ceramic mug"),
)


def _similar_to(bandit, listing_id):
    """Ids and cosines of what counts as similar to a listing."""
    catalogue = bandit.catalogue
    row = catalogue.row_of[listing_id]
    near = catalogue.neighbours[row]
    assert (np.isnan(catalogue.similarity[row]) == (near < 0)).all()
    return {
        catalogue.listing_id[r]: s
        for r, s in zip(near.tolist(), catalogue.similarity[row].tolist(), strict=True)
        if r >= 0
    }


def test_a_neighbour_is_as_like_as_its_present_text(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, *SHELF)
    assert next(iter(_similar_to(bandit, "new"))) == "a"
    drive.listings(bandit, _listing("a", "oak dining table", 900))
    changed = _similar_to(bandit, "new")
    assert set(changed) == {"a", "b", "c", "d"}
    assert list(changed.values()) == sorted(changed.values(), reverse=True)
    assert changed["a"] < 0.3
    assert _similar_to(bandit, "a")["new"] == pytest.approx(changed["a"], abs=1e-6)
    found = drive.prices(bandit, {"listing_id": "new"}, record=False)[0]["evidence"]
    assert "a" not in [entry["listing_id"] for entry in found]
    # and back again
    drive.listings(bandit, SHELF[0])
    assert next(iter(_similar_to(bandit, "new"))) == "a"


def test_a_deleted_listing_is_nobodys_neighbour(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, *SHELF)
    drive.delete(bandit, "a", "c")
    assert set(_similar_to(bandit, "new")) == {"b", "d"}
    drive.listings(bandit, SHELF[0])  # the same id is another listing
    assert set(_similar_to(bandit, "new")) == {"b", "d"}


def test_changed_and_deleted_neighbours_stay_so_after_a_restart(bandit_on, drive):
    bandit = bandit_on()
    drive.listings(bandit, *SHELF)
    drive.listings(bandit, _listing("a", "oak dining table", 900))
    drive.listings(bandit, {**SHELF[2], "inventory": 3})
    drive.delete(bandit, "b")
    bandit.refresh()
    names = ("a", "c", "d", "new")
    before = [list(_similar_to(bandit, name).items()) for name in names]
    assert [name for name, _ in before[-1]] == ["d", "c", "a"]
    asked = [{"listing_id": name} for name in names]
    prices = [d["price"] for d in drive.prices(bandit, *asked, record=False, explore=False)]
    bandit.close()
    again = bandit_on()
    assert [list(_similar_to(again, name).items()) for name in names] == before
    found = drive.prices(again, *asked, record=False, explore=False)
    assert [d["price"] for d in found] == prices


def test_registering_the_same_texts_again_measures_nothing(open_bandit, drive, monkeypatch):
    bandit = open_bandit()
    drive.listings(bandit, *SHELF)
    measured = []
    measure = Catalogue.measure
    monkeypatch.setattr(
        Catalogue, "measure", lambda self, rows: (measured.append(rows), measure(self, rows))
    )
    drive.listings(bandit, *({**listing, "inventory": 3} for listing in SHELF))
    assert measured == []


# -- listings with one text -----------------------------------------------------------------


def test_each_listing_with_a_text_is_a_neighbour_and_those_with_a_price_come_first(
    open_bandit, drive
):
    bandit = open_bandit()
    drive.listings(bandit, *SHELF)
    drive.listings(bandit, _listing("bare", "oak dining table"))
    drive.listings(bandit, _listing("twin", "oak dining table", 800))
    drive.listings(bandit, _listing("third", "oak dining table"))
    drive.listings(bandit, _listing("near", "oak dining table set"))
    assert list(_similar_to(bandit, "third"))[:2] == ["twin", "bare"]
    assert list(_similar_to(bandit, "near"))[:3] == ["twin", "bare", "third"]
    drive.listings(bandit, _listing("twin", "oak dining table", 800))
    assert list(_similar_to(bandit, "twin"))[:3] == ["bare", "third", "near"]
    guess = np.exp(bandit.strangers(bandit.catalogue.rows(["third", "near"]))[1])
    assert (guess > 300).all()


def test_listings_with_one_text_find_each_other_in_one_batch(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(
        bandit,
        *SHELF,
        _listing("twin", "oak dining table", 800),
        _listing("bare", "oak dining table"),
        _listing("near", "oak dining table set"),
    )
    assert list(_similar_to(bandit, "bare"))[:2] == ["twin", "near"]
    assert set(list(_similar_to(bandit, "near"))[:2]) == {"twin", "bare"}


def test_many_listings_with_one_text_hide_neither_prices_nor_other_texts(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, *SHELF)
    drive.listings(bandit, *(_listing(f"bare{i}", "oak dining table") for i in range(30)))
    priced = ("priced0", "priced1")
    drive.listings(bandit, *(_listing(name, "oak dining table", 800) for name in priced))
    drive.listings(bandit, _listing("near", "oak dining table set"))
    drive.listings(bandit, _listing("bare0", "oak dining table"))
    near, bare = list(_similar_to(bandit, "near")), list(_similar_to(bandit, "bare0"))
    assert near[:3] == ["priced0", "priced1", "bare0"]
    assert bare[:4] == ["priced0", "priced1", "bare1", "near"]
    assert set(near[3:]) == set(bare[4:]) == {listing["listing_id"] for listing in SHELF}


def test_what_stands_for_a_text_does_not_depend_on_restarts(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, _listing("one", "red ceramic mug", 5))
    drive.listings(bandit, _listing("two", "red ceramic mug", 50))
    drive.listings(bandit, {**_listing("one", "red ceramic mug", 5), "inventory": 7})
    asked = bandit.listing_texts.neighbours(bandit.vectors(np.array([0]))[0], 5)
    found = bandit.catalogue.nearest(np.array([-1]), ["GBP"], *asked)[0]
    assert found[0, :2].tolist() == [0, 1]
    bandit.close()
    again = open_bandit()
    asked = again.listing_texts.neighbours(again.vectors(np.array([0]))[0], 5)
    np.testing.assert_array_equal(
        again.catalogue.nearest(np.array([-1]), ["GBP"], *asked)[0], found
    )
