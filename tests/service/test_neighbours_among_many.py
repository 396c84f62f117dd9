import numpy as np

from service import neighbourhoods, registering
from service.items import read_items
from service.pricebandit import Pricebandit
from service.schemas import LISTINGS
from service.settings import Settings


def listings(titles, prefix):
    return [
        {"listing_id": f"{prefix}{i}", "title": title, "currency": "GBP"}
        for i, title in enumerate(titles)
    ]


def registered(home, embeddings, titles, prefix):
    bandit = Pricebandit(Settings(home=home, embeddings=embeddings))
    items = read_items(LISTINGS, listings(titles, prefix))
    bandit.carry_out(registering.register, [registering.embed_listings(bandit, items)])
    return bandit


def test_texts_of_another_home_do_not_crowd_out_neighbours(tmp_path):
    # one cache, two homes: the first fills the neighbourhood of mugs with more than is searched for
    shades = [f"red ceramic mug number {i}" for i in range(neighbourhoods.SEARCHED + 10)]
    registered(tmp_path / "one", tmp_path / "cache", shades, "a").close()
    bandit = registered(
        tmp_path / "two", tmp_path / "cache", ["red ceramic mug", "blue mug", "oak table"], "b"
    )
    found = bandit.catalogue.neighbours[:3]
    bandit.close()
    assert [set(row[row >= 0].tolist()) for row in found] == [{1, 2}, {0, 2}, {0, 1}]
    assert found[0, 0] == 1
    assert (np.diff(bandit.catalogue.similarity[:3, :2], axis=1) <= 0).all()
