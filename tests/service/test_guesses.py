"""What is guessed of a listing before it sells, beside variants of products that are known."""

import itertools

import numpy as np
import pytest

from bandits.population import implied

THINGS = [
    " ".join(words)
    for words in itertools.product(
        ("oak", "steel", "paper", "linen", "glass", "wool", "clay", "cork"),
        ("table", "lantern", "notebook", "curtain", "vase", "blanket", "bowl", "coaster"),
    )
]
COLOURS = ("red", "blue", "green", "black")


def _variant(thing, colour, price=None):
    terms = {"listing_id": f"{thing} {colour}", "title": f"{thing}, {colour}", "currency": "GBP"}
    return {**terms, "family": thing, **({} if price is None else {"reference_price": price})}


def test_guesses_of_new_products_are_not_as_sure_as_variants_of_known_ones_are(open_bandit, drive):
    rng = np.random.default_rng(0)
    order, price = rng.permutation(len(THINGS)), np.exp(rng.normal(2.5, 0.8, len(THINGS)))
    known, new = order[:44], order[44:]
    bandit = open_bandit()
    asked = {i: _variant(THINGS[i], "white") for i in (*known[:20], *new)}
    drive.listings(
        bandit,
        *(_variant(THINGS[i], c, round(float(price[i]), 2)) for i in known for c in COLOURS),
        *asked.values(),
        *(_variant(THINGS[i], "pink") for i in new),  # variants without a price tell of none
    )
    bandit.refresh()

    def off(things):
        rows = bandit.catalogue.rows([asked[i]["listing_id"] for i in things])
        _, guess, sd = bandit.strangers(rows)
        return np.log(price[things]) - guess, sd

    error, sd = off(new)
    assert np.sqrt(np.mean((error / sd) ** 2)) < 1.5
    assert np.mean(np.abs(error) < 1.645 * sd) >= 0.75
    of_variants, told = off(known[:20])
    assert np.sqrt(np.mean(of_variants**2)) < 0.5 * np.sqrt(np.mean(error**2))
    assert told.max() < 0.5 * np.median(sd)


@pytest.mark.parametrize("family", [True, False])
def test_listings_that_are_no_variants_are_guessed_by_one_model(open_bandit, drive, family):
    bandit = open_bandit()
    alone = [_variant(thing, "red", 5.0 + i) for i, thing in enumerate(THINGS[:12])]
    drive.listings(
        bandit,
        *(one if family else {k: v for k, v in one.items() if k != "family"} for one in alone),
    )
    bandit.refresh()
    assert "GBP" in bandit.guesses.models
    assert not bandit.guesses.variants


def test_a_currency_without_a_markup_of_its_own_has_that_of_the_shop(open_bandit, drive):
    bandit = open_bandit()
    strange = {"listing_id": "yen", "title": "glass vase", "currency": "JPY", "unit_cost": 1000}
    known = [{**_variant(thing, "red", 12.0 + i), "unit_cost": (12.0 + i) / 1.2}
             for i, thing in enumerate(THINGS[:20])]  # fmt: skip
    for one in known:
        del one["family"]
    drive.listings(bandit, strange, *known[:5])
    (row,) = bandit.catalogue.rows(["yen"])
    assert np.exp(bandit.strangers(np.array([row]))[1][0]) == pytest.approx(2000, rel=1e-6)
    drive.listings(bandit, *known[5:])
    bandit.refresh()
    assert np.exp(bandit.strangers(np.array([row]))[1][0]) == pytest.approx(1200, rel=1e-6)


def test_a_shop_of_thin_margins_begins_near_its_own_prices(open_bandit, drive):
    listings = [
        {"listing_id": thing, "title": thing, "currency": "GBP", "reference_price": 12.0,
         "unit_cost": 10.9} for thing in THINGS[:20]
    ]  # fmt: skip
    asked = [{"listing_id": thing} for thing in THINGS[:20]]

    def best():
        decisions = drive.prices(bandit, *asked, explore=False, record=False)
        return np.array([decision["price"] for decision in decisions])

    bandit = open_bandit()
    drive.listings(bandit, *listings[:9])  # too few to show the shop's markup
    assert bandit.policy.population.lean == 0.0
    drive.listings(bandit, *listings)
    bandit.refresh()
    leaning = float(bandit.policy.population.lean)
    assert leaning == pytest.approx(implied(np.log(12.0 / 10.9)))
    near = best()
    assert (near < 1.25 * 12.0).all()
    bandit.policy.expect(np.log(2.0))
    assert (best() > 1.1 * near).all()
    bandit.close()
    bandit = open_bandit()
    assert float(bandit.policy.population.lean) == leaning
    assert (best() == near).all()


def test_downloads_among_other_things_are_worth_what_is_said_of_them(shop):
    paper = {"listing_id": "", "title": "red ceramic mug", "currency": "GBP", "unit_cost": 5}
    shop.register(
        *({**paper, "listing_id": f"p{i}", "reference_price": 9.99 + i} for i in range(20)),
        {**paper, "listing_id": "download", "unit_cost": 0.05, "reference_price": 12.99},
    )
    (made,) = shop.decide({"listing_id": "download"}, explore=False, record=False)
    assert made["price"] > 4


def test_a_restart_guesses_alike_after_families_have_changed(open_bandit, drive, titles):
    price = dict(zip(titles, (5, 6, 150, 90, 12, 20, 3, 25), strict=True))
    catalogue = [
        {
            "listing_id": f"{i}",
            "title": titles[i % 8],
            "currency": "GBP",
            "reference_price": price[titles[i % 8]] * (1 + i % 5 / 10),
            "family": f"{i // 2}",
        }
        for i in range(120)
    ]
    bandit = open_bandit()
    drive.listings(bandit, *catalogue)
    # families that are first met in another order by who reads the log
    turned = [{**one, "family": f"{59 - i // 2}"} for i, one in enumerate(catalogue)]
    drive.listings(bandit, *turned)
    before = bandit.guesses.models
    bandit.close()
    assert repr(open_bandit().guesses.models) == repr(before)
