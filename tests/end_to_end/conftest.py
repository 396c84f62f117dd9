import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once

from catalogues import LISTINGS, write_listings
from processes import Command, free_port, start


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
