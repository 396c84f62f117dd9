"""Shops to test on: the service with its state in a temporary home, reached over HTTP or not."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from drawn_ids import DrawnIds
from fastapi.testclient import TestClient

import service.models
from encoders import EmbeddingCache, Encoder
from service import reading
from service.app import create_app
from service.pricebandit import Pricebandit
from service.settings import Settings

TITLES = (
    "red ceramic mug",
    "blue ceramic mug",
    "oak dining table",
    "pine coffee table",
    "steel water bottle",
    "wool winter scarf",
    "christmas party hats",
    "glass flower vase",
)


@pytest.fixture(scope="session", autouse=True)
def _one_encoder(embeddings: Path) -> Iterator[None]:
    """One model for all shops, and the titles that most tests use embedded beforehand."""
    made: dict[str, Encoder] = {}

    def encoder(model: str, **options: Any) -> Encoder:
        return made.setdefault(f"{model} {options}", Encoder(model, **options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.models, "Encoder", encoder)
        settings = Settings()
        shared = encoder(settings.encoder, adapter=settings.adapter, device=settings.device)
        for folder in ("listings", "markets"):
            EmbeddingCache(embeddings / folder, shared).embed(TITLES)
        yield


@pytest.fixture(scope="session", autouse=True)
def _drawn_ids(request: pytest.FixtureRequest) -> Iterator[DrawnIds]:
    drawn = DrawnIds(request.config.getoption("--draws"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.ids.decision_ids", drawn)
        yield drawn


@pytest.fixture(scope="module", autouse=True)
def _draws_of_the_module(_drawn_ids: DrawnIds, request: pytest.FixtureRequest) -> None:
    _drawn_ids.start(request.node.nodeid)


@pytest.fixture(autouse=True)
def _draws_of_the_test(_drawn_ids: DrawnIds, request: pytest.FixtureRequest) -> None:
    _drawn_ids.start(request.node.nodeid)


@pytest.fixture(scope="session")
def titles() -> Sequence[str]:
    return TITLES


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """URL of an empty log, once in each kind of database; None is SQLite in the home folder."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgresql")()


def rows_of(settings: Settings, query: str) -> list[dict[str, Any]]:
    """What a stranger's connection sees in the log."""
    engine = sa.create_engine(settings.url)
    try:
        with engine.connect() as conn:
            return [dict(row._mapping) for row in conn.execute(sa.text(query))]
    finally:
        engine.dispose()


class Shop:
    """A running service as a seller sees it."""

    def __init__(self, client: TestClient, settings: Settings) -> None:
        self.client, self.settings = client, settings

    @property
    def bandit(self) -> Pricebandit:
        return self.client.app.state.service.bandit

    @property
    def engine(self) -> Any:
        return self.client.app.state.service.engine

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.post(path, json=body, headers=headers)

    def register(self, *listings: dict[str, Any]) -> dict[str, Any]:
        response = self.post("/v1/listings", {"listings": list(listings)})
        assert response.status_code == 200, response.text
        return response.json()

    def price(self, *requests: dict[str, Any], **flags: bool) -> dict[str, Any]:
        response = self.post("/v1/prices", {"requests": list(requests), **flags})
        assert response.status_code == 200, response.text
        return response.json()

    def decide(self, *requests: dict[str, Any], **flags: bool) -> list[dict[str, Any]]:
        """Decisions on requests of which none is refused."""
        answer = self.price(*requests, **flags)
        assert answer["errors"] == []
        return answer["decisions"]

    def report(self, *outcomes: dict[str, Any]) -> dict[str, Any]:
        response = self.post("/v1/outcomes", {"outcomes": list(outcomes)})
        assert response.status_code == 200, response.text
        return response.json()

    def rows(self, query: str) -> list[dict[str, Any]]:
        return rows_of(self.settings, query)

    def count(self, table: str) -> int:
        return self.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]


@contextmanager
def open_shop(
    settings: Settings, peer: str = "127.0.0.1", base_url: str = "http://127.0.0.1"
) -> Iterator[Shop]:
    client = TestClient(
        create_app(settings), client=(peer, 1), base_url=base_url, raise_server_exceptions=False
    )
    with client:
        for _ in range(1000):
            if (ready := client.get("/readyz")).status_code == 200:
                break
            assert "loading" in ready.text, ready.text
            time.sleep(0.01)
        yield Shop(client, settings)


OpenShop = Callable[..., AbstractContextManager[Shop]]


@pytest.fixture
def shop_at(tmp_path: Path, embeddings: Path) -> OpenShop:
    """Opens a shop in this test's home, or with other settings; closing it stops the service."""

    def at(peer: str = "127.0.0.1", base_url: str = "http://127.0.0.1", **settings: Any) -> Any:
        values = {"home": tmp_path / "home", "embeddings": embeddings, **settings}
        return open_shop(Settings(**values), peer, base_url)

    return at


@pytest.fixture
def shop(shop_at: OpenShop) -> Iterator[Shop]:
    """An empty shop on SQLite."""
    with shop_at() as opened:
        yield opened


@pytest.fixture
def shop_on(shop_at: OpenShop, database_url: str | None) -> Iterator[Shop]:
    """An empty shop, once on SQLite and once on PostgreSQL."""
    with shop_at(database_url=database_url) as opened:
        yield opened


@pytest.fixture
def lively_shop(shop_at: OpenShop, database_url: str | None) -> Iterator[Shop]:
    """As `shop_on`, drawing almost evenly: of 20 draws two differ but once in 10²³ runs."""
    with shop_at(database_url=database_url, temperature=10.0, budget=1.0) as opened:
        yield opened


@contextmanager
def _standing(**values: Any) -> Iterator[Shop]:
    with open_shop(Settings(**values)) as opened:
        opened.register(
            {"listing_id": "mug", "title": TITLES[0], "currency": "GBP", "reference_price": 5}
        )
        opened.decision_id = opened.decide({"listing_id": "mug"})[0]["decision_id"]
        yield opened


@pytest.fixture(scope="module")
def standing_shop(tmp_path_factory: pytest.TempPathFactory, embeddings: Path) -> Iterator[Shop]:
    """A shop that the tests of a module share, with one listing, `mug`, and one decision on it."""
    with _standing(home=tmp_path_factory.mktemp("home"), embeddings=embeddings) as opened:
        yield opened


@pytest.fixture(scope="module")
def textless_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """As `standing_shop`, with random vectors, which cost no time: for texts without end."""

    def encode(self: Encoder, texts: Sequence[str], progress: object = None) -> Any:
        rows = np.random.default_rng(len(texts)).normal(size=(len(texts), self.dim))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "encode", encode)
        with _standing(home=tmp_path_factory.mktemp("home")) as opened:
            yield opened


@pytest.fixture
def open_bandit(tmp_path: Path, embeddings: Path) -> Iterator[Callable[..., Pricebandit]]:
    """Opens state without HTTP; closed at the test's end."""
    with ExitStack() as stack:

        def opened(**settings: Any) -> Pricebandit:
            values = {"home": tmp_path / "home", "embeddings": embeddings, **settings}
            bandit = Pricebandit(Settings(**values))
            stack.callback(bandit.close)
            return bandit

        yield opened


@pytest.fixture
def bandit_on(
    open_bandit: Callable[..., Pricebandit], database_url: str | None
) -> Callable[..., Pricebandit]:
    """As `open_bandit`, on each kind of database."""
    return lambda **settings: open_bandit(database_url=database_url, **settings)


@pytest.fixture(scope="session")
def drive() -> Any:
    """The calls of the service on state that was opened without HTTP."""
    import orjson

    from service.outcomes import record_outcomes
    from service.pricing import PriceBatch, embed_markets, price
    from service.registering import delete, embed_listings, register

    class Drive:
        def listings(self, bandit: Pricebandit, *listings: dict[str, Any]) -> dict[str, Any]:
            items = reading.listings(orjson.dumps({"listings": listings}))
            return bandit.carry_out(register, [embed_listings(bandit, items)])[0]

        def delete(self, bandit: Pricebandit, *listing_ids: str) -> None:
            bandit.carry_out(delete, listing_ids)

        def batch(self, bandit: Pricebandit, *requests: dict[str, Any], **flags: bool) -> Any:
            asked = reading.price_requests(orjson.dumps({"requests": requests, **flags}))
            market = embed_markets(bandit, asked.items)
            return PriceBatch(asked.items, *market, asked.explore, asked.record, None, bandit.space)

        def prices(
            self, bandit: Pricebandit, *requests: dict[str, Any], **flags: bool
        ) -> list[dict[str, Any]]:
            answer = bandit.carry_out(price, [self.batch(bandit, *requests, **flags)])[0]
            assert answer["errors"] == []
            return answer["decisions"]

        def outcomes(self, bandit: Pricebandit, *outcomes: dict[str, Any]) -> dict[str, Any]:
            items = reading.outcomes(orjson.dumps({"outcomes": outcomes}))
            return bandit.carry_out(record_outcomes, [items])[0]

        def days(self, bandit: Pricebandit, listing_ids: Sequence[str], n: int, seed: int) -> None:
            """Some days of decisions and their outcomes."""
            rng = np.random.default_rng(seed)
            for _ in range(n):
                decisions = self.prices(bandit, *({"listing_id": i} for i in listing_ids))
                self.outcomes(
                    bandit,
                    *(
                        {
                            "decision_id": d["decision_id"],
                            "outcome_id": "1",
                            "impressions": int(rng.integers(50, 500)),
                            "units": int(rng.integers(0, 30)),
                        }
                        for d in decisions
                    ),
                )

    return Drive()
