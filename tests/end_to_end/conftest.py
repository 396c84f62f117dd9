import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once

from catalogues import LISTINGS, write_listings
from processes import Command, free_port, start
from shops import Shop

from service.settings import Settings


@pytest.fixture
def pricebandit(tmp_path: Path, embeddings: Path) -> Iterator[Callable[..., Command]]:
    """Starts a `pricebandit` command in this test's folder; whatever still runs ends with it."""
    running = []

    def starts(*argv: object, **settings: Any) -> Command:
        values = {"home": tmp_path / "home", "embeddings": embeddings, **settings}
        command = start(argv, values, tmp_path / f"output-{len(running)}")
        running.append(command)
        return command

    yield starts
    for command in running:
        command.kill()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def listings_csv(tmp_path: Path) -> Path:
    return write_listings(tmp_path / "listings.csv", LISTINGS)


# so small that most kills come between a snapshot and its tail, and some into its writing
SNAPSHOT_EVERY = 40


@pytest.fixture
def settings(tmp_path: Path, embeddings: Path) -> Callable[..., Settings]:
    def of(**given: Any) -> Settings:
        values = {"home": tmp_path / "home", "embeddings": embeddings, **given}
        return Settings(**values)

    return of


@pytest.fixture
def open_shop(
    pricebandit: Callable[..., Command],
    settings: Callable[..., Settings],
    listings_csv: Path,
    tmp_path: Path,
) -> Callable[..., Shop]:
    """Opens a shop with the small catalogue, on SQLite or by URL, with sellers at work."""

    def opens(database_url: str | None = None, sellers: int = 4) -> Shop:
        given = {"database_url": database_url, "snapshot_every": SNAPSHOT_EVERY}
        indexing = pricebandit("index", listings_csv, database_url=database_url)
        assert indexing.status() == 0, indexing.text
        assert f"{len(LISTINGS)} listings registered" in indexing.text
        shop = Shop(pricebandit, settings(**given), tmp_path / "scratch", sellers)
        for seller in shop.sellers:
            seller.start()
        return shop

    return opens
