"""`kill -9` at random moments: what was answered stays, and nothing counts twice."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from catalogues import LISTINGS, write_sales
from processes import Command
from shops import Shop

from service import learning
from service.pricebandit import Pricebandit
from service.settings import Settings

pytestmark = pytest.mark.slow


def endure(shop: Shop, kills: int, seed: int) -> None:
    """Kill a shop's service again and again, then let its sellers finish and check everything."""
    chance = np.random.default_rng(seed)
    for number in range(kills):
        # one in six is killed while it opens, whatever it is doing then
        opening = number % 6 == 5
        if not opening:
            shop.service.wait_until_ready(shop.sellers[0].port)
        time.sleep(chance.uniform(0.0, 0.3 if opening else 0.5))
        shop.kill()
        if number % 4 == 3:
            shop.check_model()
        shop.restart()
        ask_again(shop, chance)
    logged = shop.finish()
    for tear in (False, True):
        assert shop.check_model(tear) == len(logged.outcomes)
    # otherwise this was no test: answers were lost, and snapshots had tails
    assert shop.book.cut >= kills / 2
    assert any(shop.tails)


def ask_again(shop: Shop, chance: np.random.Generator) -> None:
    """Requests that were answered before the kill get the same answer, byte by byte."""
    with shop.book.lock:
        known = sorted(shop.book.answers.items())
    for i in chance.choice(len(known), min(4, len(known)), replace=False).tolist():
        key, (path, body, answer) = known[i]
        assert shop.sellers[0].send(path, body, key) == (200, answer)


def test_twenty_kills_under_load_lose_nothing(open_shop: Callable[..., Shop]) -> None:
    endure(open_shop(), kills=24, seed=1)


def test_kills_under_load_lose_nothing_on_postgresql(
    open_shop: Callable[..., Shop], postgresql: Callable[[], str]
) -> None:
    endure(open_shop(postgresql()), kills=4, seed=2)


def test_an_index_that_was_killed_completes_when_run_again(
    pricebandit: Callable[..., Command],
    settings: Callable[..., Settings],
    listings_csv: Path,
    tmp_path: Path,
) -> None:
    chance = np.random.default_rng(3)
    fresh = tmp_path / "embeddings"  # the first of them are killed while the texts are encoded
    for latest in (0.3, 3.0, 6.0):
        indexing = pricebandit("index", listings_csv, embeddings=fresh)
        time.sleep(chance.uniform(0.0, latest))
        indexing.kill()
    again = pricebandit("index", listings_csv, embeddings=fresh)
    assert again.status() == 0, again.text
    assert f"{len(LISTINGS)} listings registered" in again.text
    bandit = Pricebandit(settings(embeddings=fresh))
    try:
        assert sorted(bandit.catalogue.row_of) == sorted(x["listing_id"] for x in LISTINGS)
        assert len(bandit.catalogue) == len(bandit.listing_texts) == len(LISTINGS)
    finally:
        bandit.close()


def test_an_import_that_was_killed_completes_when_run_again(
    pricebandit: Callable[..., Command],
    settings: Callable[..., Settings],
    listings_csv: Path,
    tmp_path: Path,
) -> None:
    rows = 25_000
    sales = write_sales(tmp_path / "sales.csv", rows, seed=4)
    assert pricebandit("index", listings_csv).status() == 0
    chance = np.random.default_rng(5)
    for _ in range(5):
        importing = pricebandit("import", sales, snapshot_every=5000)
        time.sleep(chance.uniform(0.0, 1.5))
        importing.kill()
    again = pricebandit("import", sales)
    assert again.status() == 0, again.text
    imported, there = (int(word) for word in again.text.split() if word.isdigit())
    assert imported + there == rows
    bandit = Pricebandit(settings())
    try:
        with bandit.log.engine.connect() as conn:
            assert conn.scalar(sa.text("SELECT count(*) FROM sales")) == rows
        rebuilt, events = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
        assert events == rows
        assert learning.difference(bandit.fold, rebuilt) <= 1e-9
    finally:
        bandit.close()
