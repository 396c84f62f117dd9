"""Models switched while sellers use the service, and a service killed in the midst of it."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from processes import Command
from shops import Shop
from spaces import spaces_of

pytestmark = pytest.mark.slow


def follow(pricebandit: Callable[..., Command], shop: Shop, *asked: object) -> str:
    """Run `pricebandit rollout` to its end; what it printed."""
    command = pricebandit("rollout", *asked, "--url", f"http://127.0.0.1:{shop.sellers[0].port}")
    assert command.status() == 0, command.text
    return command.text


def asked_until(shop: Shop, more: int) -> None:
    """Wait until so many more decisions have been answered."""
    wanted = len(shop.book.prices) + more
    while len(shop.book.prices) < wanted:
        assert not shop.book.wrong, shop.book.wrong
        time.sleep(0.01)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_switch_and_the_way_back_under_load(
    open_shop: Callable[..., Shop],
    pricebandit: Callable[..., Command],
    adapter: Path,
    request: pytest.FixtureRequest,
    database: str,
) -> None:
    url = request.getfixturevalue("postgresql")() if database == "postgresql" else None
    shop = open_shop(url)
    shop.service.wait_until_ready(shop.sellers[0].port)
    asked_until(shop, 200)
    before = shop.book.refused  # while the service was starting
    assert "base model alone: active" in follow(pricebandit, shop)
    shown = follow(pricebandit, shop, adapter)
    assert f"with an adapter ({adapter.name}): active" in shown
    assert "base model alone: kept" in shown
    asked_until(shop, 200)
    assert "base model alone: active" in follow(pricebandit, shop, "--back")
    asked_until(shop, 200)
    assert f"with an adapter ({adapter.name}): active" in follow(pricebandit, shop, "--back")
    asked_until(shop, 200)
    shop.finish()
    # nobody was refused or cut off, and no decision is of two spaces
    assert (shop.book.refused - before, shop.book.cut) == (0, 0)
    found = list(dict(sorted(spaces_of(shop.settings).items())).values())
    changes = [new for old, new in itertools.pairwise(found) if new != old]
    assert len(set(found)) == 2
    assert len(changes) == 3
    assert shop.check_model() == len(shop.book.sent)


def test_kills_while_models_are_switched(
    open_shop: Callable[..., Shop], pricebandit: Callable[..., Command], adapter: Path
) -> None:
    shop = open_shop()
    port = shop.sellers[0].port
    shop.service.wait_until_ready(port)
    asked_until(shop, 20)
    chance = np.random.default_rng(7)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        for number in range(8):
            goal: Any = str(adapter) if number % 2 == 0 else None
            version = client.post("/v1/models", json={"adapter": goal}).json()["version"]
            assert client.post(f"/v1/models/{version}/activate").status_code == 202
            time.sleep(chance.uniform(0.0, 1.5))
            shop.kill()
            shop.restart()
            asked_until(shop, 20)
            deadline = time.monotonic() + 60
            while client.get("/v1/models").json()["active"] != version:  # it comes all the same
                assert time.monotonic() < deadline
                time.sleep(0.05)
            asked_until(shop, 20)
    asked_until(shop, 50)
    shop.finish()
    assert len(set(spaces_of(shop.settings).values())) == 2
    assert shop.check_model() == len(shop.book.sent)


def test_a_service_that_is_not_there_is_named(pricebandit: Callable[..., Command]) -> None:
    command = pricebandit("rollout", "--url", "http://127.0.0.1:9")
    assert command.status() == 1
    assert "http://127.0.0.1:9 cannot be reached" in command.text
    assert "Traceback" not in command.text
    assert pricebandit("rollout", "somewhere", "--back").status() == 2
