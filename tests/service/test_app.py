import asyncio
import contextlib
import gzip
import json
import resource
import sqlite3
import threading
import time
from uuid import uuid4

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from bandits import GUARDRAILS
from encoders import Encoder, EncoderError
from service import running
from service.app import create_app
from service.log import Log, LogInUse
from service.rollout import Rollout
from service.settings import Settings

BLUE = "blue ceramic mug"  # embedded beforehand, as that of MUG is
MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "reference_price": 5}


def _is_problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    return problem["detail"]


# -- what is no call ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nowhere", "/v2/prices", "/v1/listings/no/such/listing"])
def test_what_is_not_there_is_a_404_problem(standing_shop, path):
    _is_problem(standing_shop.client.get(path), 404)


def test_a_wrong_method_is_a_405_problem(standing_shop):
    _is_problem(standing_shop.client.get("/v1/prices"), 405)
    _is_problem(standing_shop.client.put("/v1/listings/mug", json={}), 405)
    _is_problem(standing_shop.client.post("/livez", json={}), 405)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/listings", "GET, POST"),
        ("PUT", "/v1/listings/mug", "DELETE, GET"),
        ("DELETE", "/v1/models", "GET, POST"),
        ("DELETE", "/v1/experiments", "GET, POST"),
        ("DELETE", "/v1/experiments/spring/stop", "GET, POST"),  # spring/stop may be a name
        ("GET", "/v1/prices", "POST"),
        ("POST", "/livez", "GET"),
        ("PUT", "/docs", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_all_that_the_path_has(standing_shop, method, path, allowed):
    response = standing_shop.client.request(method, path)
    assert response.status_code == 405
    assert ", ".join(sorted(response.headers["allow"].split(", "))) == allowed


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_not_announced_as_json_is_a_415_problem(standing_shop, kind):
    body = json.dumps({"listings": [MUG]})
    headers = {} if kind is None else {"content-type": kind}
    for path in ("/v1/listings", "/v1/prices", "/v1/outcomes"):
        response = standing_shop.client.post(path, content=body, headers=headers)
        assert "application/json" in _is_problem(response, 415)


def test_json_with_a_charset_is_json(standing_shop):
    response = standing_shop.client.post(
        "/v1/listings",
        content=json.dumps({"listings": [MUG]}),
        headers={"content-type": "Application/JSON; charset=utf-8"},
    )
    assert response.status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity"])
def test_a_compressed_body_is_a_415_problem(standing_shop, coding):
    headers = {"content-type": "application/json", "content-encoding": coding}
    body = gzip.compress(json.dumps({"listings": [MUG]}).encode())
    for path in ("/v1/listings", "/v1/prices", "/v1/outcomes"):
        response = standing_shop.client.post(path, content=body, headers=headers)
        told = f"content-encoding is {coding!r}: send the body uncompressed"
        assert _is_problem(response, 415) == told
    plain = {**headers, "content-encoding": "Identity"}
    body = json.dumps({"listings": [MUG]})
    assert standing_shop.client.post("/v1/listings", content=body, headers=plain).is_success


def test_a_body_over_the_limit_is_a_413_problem(shop_at):
    with shop_at(max_body_mb=0.01) as shop:
        long = {**MUG, "description": "x" * 10_000}
        assert "10000 bytes" in _is_problem(shop.post("/v1/listings", {"listings": [long]}), 413)
        assert shop.register(MUG)["accepted"] == 1

        def parts():
            for _ in range(20):
                yield b" " * 1000

        headers = {"content-type": "application/json"}
        _is_problem(shop.client.post("/v1/listings", content=parts(), headers=headers), 413)


@pytest.mark.parametrize("k", ["0", "101", "x", "-1", ""])
def test_a_wrong_parameter_is_a_422_problem(standing_shop, k):
    response = standing_shop.client.get(f"/v1/listings/mug/similar?k={k}")
    assert "k is" in _is_problem(response, 422)


@pytest.mark.parametrize("key", ["", "x" * 257])
def test_an_unusable_idempotency_key_is_a_422_problem(standing_shop, key):
    headers = {"Idempotency-Key": key}
    response = standing_shop.post("/v1/listings", {"listings": [MUG]}, **headers)
    assert "Idempotency-Key" in _is_problem(response, 422)


# -- OpenAPI --------------------------------------------------------------------------------


def test_openapi_3_1_says_what_may_be_sent(standing_shop):
    page = standing_shop.client.get("/openapi.json").json()
    assert page["openapi"].startswith("3.1")

    def sent(path):
        call = page["paths"][path]["post"]
        (envelope,) = (
            call["requestBody"]["content"]["application/json"]["schema"]["properties"].values()
            if path != "/v1/prices"
            else [
                call["requestBody"]["content"]["application/json"]["schema"]["properties"][
                    "requests"
                ]
            ]
        )
        assert (envelope["minItems"], envelope["maxItems"]) == (1, 10_000)
        assert {"401", "403", "409", "413", "415", "422", "429", "503"} <= call["responses"].keys()
        assert call["parameters"][0]["name"] == "Idempotency-Key"
        return envelope["items"]

    assert set(sent("/v1/listings")["properties"]) >= {
        "listing_id", "title", "description", "category", "brand", "attributes", "currency",
        "unit_cost", "reference_price", "min_price", "max_price", "minimum_advertised_price",
        "inventory", "sell_by", "price_ending", "max_step", "family",
    }  # fmt: skip
    assert set(sent("/v1/listings")["required"]) == {"listing_id", "title", "currency"}
    assert set(sent("/v1/prices")["properties"]) == {
        "listing_id", "listing", "market", "current_price", "inventory", "periods_left", "unit",
        "request_id",
    }  # fmt: skip
    assert set(sent("/v1/outcomes")["required"]) == {
        "decision_id", "outcome_id", "impressions", "units",
    }  # fmt: skip
    assert "$ref" not in json.dumps(page["paths"]["/v1/prices"]["post"]["requestBody"])
    for path in ("/v1/listings/{listing_id}", "/v1/listings/{listing_id}/similar",
                 "/v1/listings/{listing_id}/demand", "/v1/decisions/{decision_id}"):  # fmt: skip
        assert "get" in page["paths"][path]
    assert standing_shop.client.get("/docs").status_code == 200


def test_answers_are_what_openapi_says(shop):
    from pydantic import TypeAdapter

    from service.schemas import Decision

    shop.register(MUG, {**MUG, "listing_id": "cup"})
    for flags in ({}, {"explore": False}, {"record": False}):
        for decision in shop.decide({"listing_id": "mug", "request_id": "r"}, **flags):
            TypeAdapter(Decision).validate_python(decision, strict=True, extra="forbid")
            every = {**decision, "guardrails": list(GUARDRAILS)}
            TypeAdapter(Decision).validate_python(every, strict=True, extra="forbid")


def test_errors_are_what_openapi_says(standing_shop):
    page = standing_shop.client.get("/openapi.json").json()
    for path, calls in page["paths"].items():
        for name, call in calls.items():
            errors = [said for status, said in call["responses"].items() if status[0] != "2"]
            assert "default" in call["responses"], (name, path)
            for said in errors:
                ((kind, content),) = said["content"].items()
                assert kind == "application/problem+json"
                assert content["schema"]["properties"].keys() == {
                    "type", "title", "status", "detail"
                }  # fmt: skip
    for path in ("/v1/listings?limit=0", "/v1/listings/nope", "/v1/decisions/nope"):
        answer = standing_shop.client.get(path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json().keys() == {"type", "title", "status", "detail"}


# -- what is durable ------------------------------------------------------------------------


def test_what_was_answered_is_in_the_database(shop_on):
    shop = shop_on
    shop.register(MUG)
    assert [r["listing_id"] for r in shop.rows("SELECT listing_id FROM listings")] == ["mug"]
    decisions = shop.decide(*[{"listing_id": "mug"}] * 20)
    kept = {str(r["id"]).replace("-", "") for r in shop.rows("SELECT id FROM decisions")}
    assert kept == {d["decision_id"].replace("-", "") for d in decisions}
    outcomes = [
        {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 10, "units": i}
        for i, d in enumerate(decisions)
    ]
    shop.report(*outcomes)
    kept = [r["units"] for r in shop.rows("SELECT units FROM outcomes ORDER BY seq")]
    assert kept == list(range(20))
    assert shop.client.delete("/v1/listings/mug").status_code == 204
    assert shop.rows("SELECT deleted_at FROM listings")[0]["deleted_at"] is not None


def test_sqlite_syncs_every_commit(shop):
    with shop.bandit.log.engine.connect() as conn:
        assert conn.scalar(sa.text("PRAGMA synchronous")) == 2
        assert conn.scalar(sa.text("PRAGMA journal_mode")) == "wal"


# -- when the database fails ----------------------------------------------------------------


def _calls(decision_id):
    outcome = {"decision_id": decision_id, "outcome_id": "late", "impressions": 9, "units": 1}
    return [
        ("listings", "/v1/listings", {"listings": [{**MUG, "listing_id": "new"}]}),
        ("decisions", "/v1/prices", {"requests": [{"listing_id": "mug"}]}),
        ("decisions", "/v1/prices", {"requests": [{"listing": {**MUG, "listing_id": "new"}}]}),
        ("outcomes", "/v1/outcomes", {"outcomes": [outcome]}),
    ]


def _memory(shop):
    """What a failed transaction may not have changed; as text, where NaN equals itself."""
    catalogue, fold = shop.bandit.catalogue, shop.bandit.fold
    columns = (catalogue.last_price, catalogue.anchor, catalogue.active)
    return repr(
        [
            sorted(catalogue.row_of.items()),
            [column[: len(catalogue)].tolist() for column in columns],
            catalogue.family_prices,
            catalogue.decided_until,
            fold.position,
            fold.policy.head.gram.sum().item(),
            len(fold.policy.evidence),
        ]
    )


def _log(shop):
    return [shop.count(name) for name in ("listings", "decisions", "outcomes", "answers")]


def test_where_the_commit_fails_nothing_is_kept_and_the_service_goes_on(shop_on):
    shop = shop_on
    shop.register(MUG)
    decision = shop.decide({"listing_id": "mug"})[0]
    failing = [False]

    def fail(_):
        if failing[0]:
            raise sa.exc.OperationalError("COMMIT", {}, Exception("disk full"))

    sa.event.listen(shop.bandit.log.engine, "commit", fail)
    before = _memory(shop), _log(shop)
    for _, path, body in _calls(decision["decision_id"]):
        failing[0] = True
        response = shop.post(path, body, **{"Idempotency-Key": f"{path} {body}"[:99]})
        assert "disk full" in _is_problem(response, 503)
        assert int(response.headers["retry-after"]) >= 1
        assert (_memory(shop), _log(shop)) == before
        failing[0] = False
    for _, path, body in _calls(decision["decision_id"]):
        response = shop.post(path, body, **{"Idempotency-Key": f"{path} {body}"[:99]})
        assert response.status_code == 200
        assert response.json()["errors"] == []
    assert _log(shop) == [2, 3, 1, 4]


def test_where_a_table_is_gone_nothing_is_kept_and_the_service_goes_on(shop_on):
    shop = shop_on
    shop.register(MUG)
    decision = shop.decide({"listing_id": "mug"})[0]
    engine = sa.create_engine(shop.settings.url)

    def rename(old, new):
        with engine.begin() as conn:
            conn.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))

    for table, path, body in _calls(decision["decision_id"])[:2]:
        before = _memory(shop), _log(shop)
        rename(table, "gone")
        response = shop.post(path, body)
        _is_problem(response, 503)
        assert "retry-after" in response.headers
        if table == "decisions":
            where = f"/v1/decisions/{decision['decision_id']}"
            _is_problem(shop.client.get(where), 503)
        rename("gone", table)
        assert (_memory(shop), _log(shop)) == before
        assert shop.post(path, body).status_code == 200
    engine.dispose()


def test_where_the_database_is_locked_nothing_is_kept_and_the_service_goes_on(shop):
    shop.register(MUG)
    before = _memory(shop), _log(shop)

    def impatient(connection, *_):
        connection.execute("PRAGMA busy_timeout=50")

    sa.event.listen(shop.bandit.log.engine, "checkout", impatient)
    other = sqlite3.connect(shop.settings.home / "log.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    response = shop.post("/v1/prices", {"requests": [{"listing_id": "mug"}]})
    assert "locked" in _is_problem(response, 503)
    other.execute("ROLLBACK")
    other.close()
    assert (_memory(shop), _log(shop)) == before
    assert len(shop.decide({"listing_id": "mug"})) == 1


def test_readiness_says_that_the_log_cannot_be_used(shop, monkeypatch):
    def refuse():
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("gone"))

    monkeypatch.setattr(shop.bandit.log.engine, "connect", refuse)
    assert _is_problem(shop.client.get("/readyz"), 503).startswith("log: ")
    assert shop.client.get("/livez").status_code == 200
    monkeypatch.undo()
    assert shop.client.get("/readyz").json()["status"] == "ready"


def test_readiness_says_that_nothing_can_be_written_until_it_can(shop_at):
    with shop_at() as shop:
        shop.register(MUG)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # as where a disk is full
            refused = shop.post("/v1/prices", {"requests": [{"listing_id": "mug"}]})
            assert refused.status_code == 503
            assert "log cannot be used" in _is_problem(shop.client.get("/readyz"), 503)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert shop.client.get("/readyz").json()["status"] == "ready"
        assert shop.decide({"listing_id": "mug"})


def test_readiness_is_not_regained_where_only_little_can_be_written(shop_at):
    with shop_at() as shop:
        shop.register(MUG)
        used = (shop.settings.home / "log.sqlite3-wal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:  # as where a disk is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (used + 40_000, hard))
            for _ in range(2):
                batch = {"requests": [{"listing_id": "mug"}] * 200}
                assert shop.post("/v1/prices", batch).status_code == 503
                assert "log cannot be used" in _is_problem(shop.client.get("/readyz"), 503)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert shop.client.get("/readyz").json()["status"] == "ready"
        # what was written to find out is not kept
        assert shop.rows("SELECT max(length(value)) AS n FROM meta")[0]["n"] < 100


def test_readiness_says_that_a_database_is_read_only(shop_at, postgresql):
    url = postgresql()
    with (
        shop_at(database_url=url) as shop,
        psycopg.connect(url, autocommit=True) as admin,
    ):
        only = f"ALTER DATABASE {admin.info.dbname} SET default_transaction_read_only"
        before = shop.rows("SELECT * FROM meta ORDER BY name")
        admin.execute(f"{only} = on")
        shop.bandit.log.engine.dispose()  # as where connections were cut off
        assert "is read only" in _is_problem(shop.client.get("/readyz"), 503)
        admin.execute(f"{only} = off")
        shop.bandit.log.engine.dispose()
        for _ in range(3):
            assert shop.client.get("/readyz").json()["status"] == "ready"
        assert shop.rows("SELECT * FROM meta ORDER BY name") == before


def test_readiness_says_that_another_process_has_taken_the_log(shop_at, postgresql):
    url = postgresql()
    with (
        shop_at(database_url=url) as shop,
        psycopg.connect(url, autocommit=True) as admin,
    ):
        shop.register(MUG)
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        admin.execute(f"SELECT pg_terminate_backend(pid) {others} pg_backend_pid()")
        shop.bandit.log.engine.dispose()
        assert shop.client.get("/readyz").json()["status"] == "ready"  # nobody has it
        for _ in range(100):  # the server takes a moment
            with contextlib.suppress(LogInUse):
                Log(shop.settings.url).close()
                break
            time.sleep(0.1)
        for _ in range(2):
            said = _is_problem(shop.client.get("/readyz"), 503)
            assert "opened by another process meanwhile" in said
            refused = shop.post("/v1/prices", {"requests": [{"listing_id": "mug"}]})
            assert "opened by another process meanwhile" in _is_problem(refused, 503)


def test_readiness_says_why_the_state_could_not_be_opened(shop_at, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    told = []

    app = create_app(Settings(home=blocked), told.append)
    with TestClient(app, client=("127.0.0.1", 1), base_url="http://127.0.0.1") as client:
        while not told:
            assert client.get("/readyz").status_code == 503
        assert _is_problem(client.get("/readyz"), 503).startswith("model: ")
        assert str(blocked) in client.get("/readyz").text
        _is_problem(client.post("/v1/prices", json={}), 503)
        assert client.get("/livez").status_code == 200


# -- when the encoder fails -----------------------------------------------------------------


@pytest.fixture
def mute(shop, monkeypatch):
    """A shop whose encoder is out of use, with a listing that was embedded before."""
    shop.register(MUG)

    def refuse(*_):
        raise EncoderError("no model")

    for cache in (shop.bandit.listing_texts, shop.bandit.other_texts):
        monkeypatch.setattr(cache, "embed", refuse)
    return shop


def test_without_the_encoder_listings_are_not_registered(mute):
    response = mute.post("/v1/listings", {"listings": [{**MUG, "listing_id": "new"}]})
    assert "no model" in _is_problem(response, 503)
    assert "retry-after" in response.headers
    assert mute.count("listings") == 1


@pytest.mark.parametrize("record", [True, False])
def test_without_the_encoder_prices_are_degraded_and_say_so(mute, record):
    known, inline, spoken = mute.decide(
        {"listing_id": "mug"},
        {"listing": {"listing_id": "new", "title": "oak dining table", "currency": "GBP"}},
        {"listing_id": "mug", "market": {"text": "a rainy bank holiday"}},
        record=record,
    )
    assert known["degraded"] is False
    assert "reason" not in known
    assert inline["degraded"] is True
    assert inline["reason"].startswith("text not embedded")
    assert "its words" in inline["reason"]
    assert inline["evidence"] == []
    assert spoken["degraded"] is True
    assert spoken["reason"].startswith("market text not embedded")
    assert inline["price"] > 0
    if record:
        detail = mute.client.get(f"/v1/decisions/{spoken['decision_id']}").json()
        assert (detail["degraded"], detail["reason"]) == (True, spoken["reason"])


# -- while the encoder is busy --------------------------------------------------------------


@pytest.fixture
def slow(shop_at, monkeypatch):
    """A shop that 40 items may wait in, whose encoder takes 2 texts at a time and waits before
    the second turn of a registration; what lets it go on, and the answer of that registration.
    """
    monkeypatch.setattr(running, "_TURN", 2)
    turns, let_go, waiting = [], threading.Event(), threading.Event()
    answers = []

    def encode(self, texts, progress=None):
        turns.append(list(texts))
        if len(turns) == 2:
            waiting.set()
            assert let_go.wait(60)
        rows = np.random.default_rng(len(turns)).normal(size=(len(texts), self.dim))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    with shop_at(queue_rows=40) as shop:
        shop.register(MUG)
        monkeypatch.setattr(Encoder, "encode", encode)
        many = [{**MUG, "listing_id": f"n{i}", "title": f"{uuid4()}"} for i in range(30)]
        sender = threading.Thread(target=lambda: answers.append(shop.register(*many)))
        sender.start()
        assert waiting.wait(60)
        yield shop, let_go, turns, answers, sender
        let_go.set()
        sender.join()


@pytest.mark.parametrize(
    ("request_", "flags"),
    [
        ({"listing_id": "mug"}, {}),
        ({"listing_id": "mug", "market": {"traffic": 3, "text": BLUE}}, {}),
        ({"listing": MUG}, {}),
        ({"listing": {**MUG, "title": BLUE}}, {"record": False}),
    ],
)
def test_prices_whose_texts_are_known_do_not_wait_for_the_encoder(slow, request_, flags):
    shop, _, turns, answers, _ = slow
    assert shop.decide(request_, **flags)[0]["degraded"] is False
    assert (len(turns), answers) == (2, [])


def test_a_new_text_gets_between_those_of_a_registration(slow):
    shop, let_go, turns, answers, sender = slow
    text = f"{uuid4()}"
    asked = {"listing_id": "mug", "market": {"text": text}}
    asker = threading.Thread(target=lambda: shop.decide(asked))
    asker.start()
    while shop.engine._waiting < 31:
        time.sleep(0.005)
    let_go.set()
    for thread in (asker, sender):
        thread.join()
    assert turns.index([text]) < 5
    assert len(turns) == 16
    assert answers == [{"accepted": 30, "encoded": 30, "cached": 0, "errors": []}]


def test_what_waits_for_the_encoder_counts_as_waiting(slow):
    shop, let_go, _, answers, sender = slow
    listings = [{**MUG, "listing_id": f"o{i}", "title": f"{uuid4()}"} for i in range(11)]
    markets = [{"listing_id": "mug", "market": {"text": f"{uuid4()}"}} for _ in range(11)]
    for path, body in (
        ("/v1/listings", {"listings": listings}),
        ("/v1/prices", {"requests": [{"listing": listing} for listing in listings]}),
        ("/v1/prices", {"requests": markets}),
    ):
        response = shop.post(path, body)
        assert "30 items are waiting" in _is_problem(response, 503)
        assert response.headers["retry-after"] == "1"
    let_go.set()
    sender.join()
    assert answers[0]["accepted"] == 30
    assert shop.register(*listings)["accepted"] == 11


# -- size -----------------------------------------------------------------------------------


def test_batches_of_10_000_are_served(shop, titles):
    n = 10_000
    items = [
        {"listing_id": f"l{i}", "title": titles[i % 8], "currency": "GBP", "unit_cost": 1 + i % 7}
        for i in range(n)
    ]
    assert shop.register(*items) == {"accepted": n, "encoded": 0, "cached": n, "errors": []}
    decisions = shop.decide(*({"listing_id": f"l{i}"} for i in range(n)))
    assert [d["listing_id"] for d in decisions] == [f"l{i}" for i in range(n)]
    outcomes = [
        {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 50, "units": 1}
        for d in decisions
    ]
    assert shop.report(*outcomes) == {
        "accepted": n, "corrected": 0, "duplicates": 0, "without_impressions": 0, "errors": [],
    }  # fmt: skip
    assert _log(shop)[:3] == [n, n, n]
    too_many = shop.post("/v1/outcomes", {"outcomes": [*outcomes, outcomes[0]]})
    assert "10001 items" in _is_problem(too_many, 422)


def test_a_database_that_goes_away_at_the_start_is_named(tmp_path, embeddings, monkeypatch):
    def away(_):
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("gone"))

    monkeypatch.setattr(Rollout, "resume", away)
    failures = []
    settings = Settings(home=tmp_path / "home", embeddings=embeddings)
    with TestClient(create_app(settings, failures.append)) as client:
        deadline = time.monotonic() + 30
        while "loading" in (said := client.get("/readyz").json()["detail"]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert said.startswith("model: ")
    assert len(failures) == 1  # whoever runs it is told, and ends the process


def test_a_caller_that_hangs_up_amid_its_body_is_no_fault_of_the_service(standing_shop):
    async def receive():
        return {"type": "http.disconnect"}

    answers = []

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/outcomes", "query_string": b"",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
    }  # fmt: skip
    asyncio.run(standing_shop.client.app(scope, receive, send))
    assert answers[0]["status"] == 400
