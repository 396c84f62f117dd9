import numpy as np
import pytest
import sqlalchemy as sa

from service.catalogue import Catalogue
from service.items import read_items
from service.registering import register, unembedded
from service.schemas import LISTINGS

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "reference_price": 5}


def _get(shop, listing_id="mug"):
    return shop.client.get(f"/v1/listings/{listing_id}")


def test_listings_are_kept_as_they_were_accepted(shop_on):
    listing = {
        **MUG, "description": "big\nand red", "category": "kitchen", "brand": "Clay & Söhne",
        "attributes": {"colour": "red", "größe": "L"}, "unit_cost": 2.5, "min_price": 3.0,
        "max_price": 9.0, "minimum_advertised_price": 4.0, "inventory": 7, "price_ending": 0.99,
        "sell_by": "2030-01-31T12:00:00+02:00", "max_step": 0.5, "family": "mugs",
        "one_unit_per_impression": True,
    }  # fmt: skip
    assert shop_on.register(listing)["errors"] == []
    assert _get(shop_on).json() == listing


def test_a_deleted_listing_read_again_does_not_hide_its_successor():
    catalogue, none, no = Catalogue(), np.array([-1]), np.array([False])
    old, new = np.array([0]), np.array([1])
    catalogue.put(old, [MUG], none, no)
    catalogue.remove(old)
    catalogue.put(new, [MUG], none, no)
    catalogue.put(old, [MUG], none, no)  # as where the clock was put back since
    catalogue.remove(old)
    assert catalogue.row_of == {"mug": 1}
    assert catalogue.active[:2].tolist() == [False, True]


def test_listings_outlive_a_restart(shop_at, database_url):
    listing = {**MUG, "sell_by": "2030-01-31T12:00:00Z", "attributes": {"colour": "red"}}
    with shop_at(database_url=database_url) as shop:
        shop.register(listing)
        before = _get(shop).content
    with shop_at(database_url=database_url) as shop:
        assert _get(shop).content == before


def test_texts_are_encoded_once(shop):
    fresh = {**MUG, "title": "a teapot that nobody has described before"}
    both = shop.register(fresh, {**fresh, "listing_id": "pot"})
    assert (both["accepted"], both["encoded"], both["cached"]) == (2, 1, 1)
    again = shop.register({**fresh, "unit_cost": 3})
    assert (again["accepted"], again["encoded"], again["cached"]) == (1, 0, 1)


def test_a_listing_sent_again_is_replaced(shop_on):
    shop_on.register(MUG)
    shop_on.register({"listing_id": "mug", "title": "oak dining table", "currency": "GBP"})
    assert _get(shop_on).json()["title"] == "oak dining table"
    assert "reference_price" not in _get(shop_on).json()
    assert shop_on.count("listings") == 1


def test_of_an_id_twice_in_a_batch_the_last_counts(shop_on):
    answer = shop_on.register(MUG, {**MUG, "reference_price": 6}, {**MUG, "reference_price": 7})
    assert answer["accepted"] == 3
    assert _get(shop_on).json()["reference_price"] == 7
    assert shop_on.count("listings") == 1


def test_a_currency_cannot_change(shop_on):
    shop_on.register(MUG)
    answer = shop_on.register({**MUG, "currency": "EUR"}, {**MUG, "listing_id": "cup"})
    assert answer["accepted"] == 1
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(0, "currency")]
    assert "currency is 'EUR', was 'GBP': delete the listing first" in str(answer["errors"])
    assert _get(shop_on).json()["currency"] == "GBP"
    assert shop_on.client.delete("/v1/listings/mug").status_code == 204
    assert shop_on.register({**MUG, "currency": "EUR"})["errors"] == []


@pytest.mark.parametrize("together", [True, False])
def test_of_a_new_listing_in_two_currencies_at_once_the_first_counts(open_bandit, together):
    bandit = open_bandit()
    pounds, yen = ({**MUG, "currency": currency} for currency in ("GBP", "JPY"))
    sent = [[pounds, yen, pounds]] if together else [[pounds], [yen, pounds]]
    answers = bandit.carry_out(
        register, [unembedded(bandit, read_items(LISTINGS, listings)) for listings in sent]
    )
    (error,) = (error for answer in answers for error in answer["errors"])
    assert (error["index"], error["field"]) == (1 if together else 0, "currency")
    assert "currency is 'JPY', was 'GBP'" in error["message"]
    assert sum(answer["accepted"] for answer in answers) == 2
    assert bandit.catalogue.currency[bandit.catalogue.row_of["mug"]] == "GBP"


def test_a_deleted_listing_is_gone_until_it_is_registered_anew(shop_on):
    shop_on.register(MUG, {**MUG, "listing_id": "cup", "title": "blue ceramic mug"})
    old = shop_on.decide({"listing_id": "mug"})[0]
    assert shop_on.client.delete("/v1/listings/mug").status_code == 204
    assert shop_on.client.delete("/v1/listings/mug").status_code == 404
    assert _get(shop_on).status_code == 404
    assert shop_on.price({"listing_id": "mug"})["errors"][0]["field"] == "listing_id"
    assert shop_on.client.get("/v1/listings/cup/similar").json()["similar"] == []
    detail = shop_on.client.get(f"/v1/decisions/{old['decision_id']}")
    assert detail.json()["listing_id"] == "mug"
    shop_on.register(MUG)
    assert _get(shop_on).status_code == 200
    (near,) = shop_on.client.get("/v1/listings/cup/similar").json()["similar"]
    assert (near["listing_id"], near["impressions"], near["price"]) == ("mug", 0, 5.0)
    assert shop_on.count("listings") == 3


@pytest.mark.parametrize("gone", [1, 6])
def test_guesses_forget_listings_that_are_deleted_as_a_restart_does(open_bandit, drive, gone):
    bandit = open_bandit()
    prices = [5, 6, 400, 500, 600, 700, 800, 900]
    drive.listings(
        bandit,
        *({**MUG, "listing_id": f"m{i}", "reference_price": p} for i, p in enumerate(prices)),
        {"listing_id": "new", "title": "oak dining table", "currency": "GBP"},
    )

    def guessed(bandit):
        return bandit.strangers(bandit.catalogue.rows(["new"]))[1]

    before = guessed(bandit)
    drive.delete(bandit, *(f"m{2 + i}" for i in range(gone)))
    after = guessed(bandit)
    assert after < before
    bandit.close()
    np.testing.assert_allclose(after, guessed(open_bandit()), rtol=1e-6)


def test_listings_deleted_and_registered_anew_outlive_restarts(shop_at, database_url):
    with shop_at(database_url=database_url) as shop:
        for price in (5, 6, 7):
            shop.register({**MUG, "reference_price": price}, {**MUG, "listing_id": "gone"})
            shop.client.delete("/v1/listings/mug")
            shop.client.delete("/v1/listings/gone")
        shop.register({**MUG, "reference_price": 8})
    with shop_at(database_url=database_url) as shop:
        assert _get(shop).json()["reference_price"] == 8
        assert _get(shop, "gone").status_code == 404
        assert len(shop.decide({"listing_id": "mug"})) == 1


@pytest.mark.parametrize("name", ["a/b", "a/b/", "50%", "ü 7", "similar", "a?b#c", "..", "x" * 900])
def test_ids_may_have_any_characters(standing_shop, name):
    from urllib.parse import quote

    standing_shop.register({**MUG, "listing_id": name})
    where = f"/v1/listings/{quote(name, safe='')}" if name != ".." else "/v1/listings/%2E%2E"
    if name != "..":  # which clients take for a step back
        assert standing_shop.client.get(where).json()["listing_id"] == name
        assert standing_shop.client.get(f"{where}/similar").json()["listing_id"] == name
        assert standing_shop.client.get(f"{where}/demand").json()["listing_id"] == name
        assert standing_shop.client.delete(where).status_code == 204
    assert standing_shop.client.get("/v1/listings/").status_code in (404, 405)


def test_listings_of_one_batch_are_each_others_neighbours(shop, titles):
    shop.register(
        *({"listing_id": f"l{i}", "title": t, "currency": "GBP"} for i, t in enumerate(titles))
    )
    decision = shop.decide({"listing_id": "l0"})[0]
    assert decision["evidence"][0]["listing_id"] == "l1"  # the other ceramic mug
    assert len(decision["evidence"]) == 3
    cosines = [e["similarity"] for e in decision["evidence"]]
    assert cosines == sorted(cosines, reverse=True)


def test_one_catalogue_in_several_currencies_has_neighbours_in_each(shop, titles):
    codes = ("GBP", "EUR", "JPY")
    for code in codes:
        shop.register(
            *(
                {"listing_id": f"{code}{i}", "title": t, "currency": code}
                for i, t in enumerate(titles)
            )
        )
    for code in codes:
        near = shop.client.get(f"/v1/listings/{code}0/similar?k=100").json()["similar"]
        assert {n["listing_id"] for n in near} == {f"{code}{i}" for i in range(1, len(titles))}
        assert {n["currency"] for n in near} == {code}


def test_a_new_text_finds_new_neighbours(shop, titles):
    shop.register(
        *({"listing_id": f"l{i}", "title": t, "currency": "GBP"} for i, t in enumerate(titles))
    )
    shop.register({"listing_id": "l0", "title": "pine coffee table", "currency": "GBP"})
    near = shop.client.get("/v1/listings/l0/similar?k=2").json()["similar"]
    assert {n["listing_id"] for n in near} == {"l2", "l3"} or near[0]["listing_id"] == "l2"
    of_the_other_mug = shop.client.get("/v1/listings/l1/similar?k=1").json()["similar"]
    assert of_the_other_mug[0]["listing_id"] != "l0"


def _similar_to(bandit, listing_id):
    catalogue = bandit.catalogue
    near = catalogue.neighbours[catalogue.row_of[listing_id]]
    return [catalogue.listing_id[row] for row in near[near >= 0]]


def _deleted(drive, bandit):
    drive.delete(bandit, "twin")


def _described_anew(drive, bandit):
    drive.listings(bandit, {**MUG, "listing_id": "twin", "title": "oak dining table"})
    drive.delete(bandit, "twin")


@pytest.mark.parametrize("gone", [_deleted, _described_anew])
def test_a_listing_is_found_by_its_text_once_another_with_that_text_is_gone(
    open_bandit, drive, gone
):
    bandit = open_bandit()
    drive.listings(bandit, MUG, {**MUG, "listing_id": "dear", "currency": "EUR"})
    drive.listings(bandit, {**MUG, "listing_id": "twin"})
    gone(drive, bandit)
    drive.listings(bandit, {**MUG, "listing_id": "cup", "title": "blue ceramic mug"})
    assert _similar_to(bandit, "cup") == ["mug"]


def test_a_listing_is_found_by_its_text_after_another_was_not_registered(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, MUG)

    def fail(_):
        raise OSError("disk full")

    sa.event.listen(bandit.log.engine, "commit", fail)
    with pytest.raises(OSError, match="disk full"):
        drive.listings(bandit, {**MUG, "listing_id": "twin"})
    sa.event.remove(bandit.log.engine, "commit", fail)
    drive.listings(bandit, {**MUG, "listing_id": "cup", "title": "blue ceramic mug"})
    assert _similar_to(bandit, "cup") == ["mug"]


def test_a_listing_that_was_not_embedded_has_neighbours_after_a_restart(bandit_on, drive, titles):
    bandit = bandit_on()
    drive.listings(
        bandit,
        *({"listing_id": f"l{i}", "title": t, "currency": "GBP"} for i, t in enumerate(titles)),
    )
    known = {"listing_id": "l2", "title": titles[0], "currency": "GBP"}
    fresh = {"listing_id": "new", "title": titles[2], "currency": "GBP"}
    items = read_items(LISTINGS, [known, fresh])
    bandit.carry_out(register, [unembedded(bandit, items)])
    assert [_similar_to(bandit, name) for name in ("l2", "new")] == [[], []]
    bandit.close()
    again = bandit_on()
    assert _similar_to(again, "l2")[:2] == ["l0", "l1"]  # it is a mug now
    assert _similar_to(again, "new")[0] == "l3"  # and this the oak table
    assert len(_similar_to(again, "new")) == len(titles)


def test_neighbours_outlive_a_restart(open_bandit, drive, titles):
    bandit = open_bandit()
    drive.listings(
        bandit,
        *({"listing_id": f"l{i}", "title": t, "currency": "GBP"} for i, t in enumerate(titles)),
    )
    n = len(titles)
    before = bandit.catalogue.neighbours[:n].copy(), bandit.catalogue.similarity[:n].copy()
    bandit.close()
    again = open_bandit().catalogue
    np.testing.assert_array_equal(again.neighbours[:n], before[0])
    np.testing.assert_array_equal(again.similarity[:n], before[1])
