import pytest

from service.gate import Gate
from service.problems import Problem

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP"}
PATHS = ["/v1/listings/mug", "/v1/decisions/7", "/docs", "/openapi.json", "/nowhere"]


def _is_problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    return response.json()["detail"]


def test_with_keys_only_their_bearers_are_served(shop_at):
    with shop_at(api_keys="first, second", peer="203.0.113.9", base_url="http://shop") as shop:
        for path in PATHS:
            response = shop.client.get(path)
            assert "Bearer" in _is_problem(response, 401)
            assert response.headers["www-authenticate"] == "Bearer"
        for given in ("Bearer wrong", "Bearer ", "Basic first", "first", "Bearer first,second"):
            response = shop.post("/v1/listings", {"listings": [MUG]}, Authorization=given)
            _is_problem(response, 401)
        for given in ("Bearer first", "bearer second"):
            response = shop.post("/v1/listings", {"listings": [MUG]}, Authorization=given)
            assert response.json()["accepted"] == 1
        assert shop.client.get("/livez").json() == {"status": "alive"}
        assert shop.client.get("/readyz").json()["status"] == "ready"


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
def test_keys_beyond_ascii_are_read_as_clients_send_them(shop_at, coding):
    with shop_at(api_keys="clé, voilà") as shop:  # the last byte of à is a space in Latin-1
        for key in ("clé", "voilà"):
            sent = {"authorization": f"Bearer {key}".encode(coding)}
            assert shop.client.get("/docs", headers=sent).status_code == 200
        for key in ("clè", "cl", "ÿ", ""):
            sent = {"authorization": f"Bearer {key}".encode(coding)}
            _is_problem(shop.client.get("/docs", headers=sent), 401)


def test_with_keys_loopback_needs_one_too(shop_at):
    with shop_at(api_keys="key") as shop:
        _is_problem(shop.client.get("/v1/listings/mug"), 401)


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.7", "::ffff:10.0.0.7", "testclient", ""])
def test_without_keys_only_loopback_is_served(shop_at, peer):
    with shop_at(peer=peer) as shop:
        for path in PATHS:
            assert "loopback" in _is_problem(shop.client.get(path), 403)
        _is_problem(shop.post("/v1/listings", {"listings": [MUG]}), 403)
        assert shop.client.get("/livez").status_code == 200
        assert shop.client.get("/readyz").status_code == 200


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_keys_loopback_is_served(shop_at, peer):
    with shop_at(peer=peer) as shop:
        assert shop.register(MUG)["accepted"] == 1


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "@",
        "a b",
        "evil.example:",
        "evil.example:99999",
        "127.0.0.1:80:80",
        "127.0.0.1@evil.example",
    ],
)
def test_without_keys_a_foreign_host_header_is_refused(standing_shop, host):
    response = standing_shop.client.get("/v1/listings/mug", headers={"host": host})
    assert "host is" in _is_problem(response, 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_without_keys_names_of_this_machine_are_served(standing_shop, host):
    response = standing_shop.client.get("/v1/listings/mug", headers={"host": host})
    assert response.status_code == 200


def test_a_caller_over_its_rate_waits_and_others_do_not(shop_at):
    with shop_at(api_keys="one,two", rate_limit=5) as shop:

        def send(key, n):
            items = [{**MUG, "listing_id": f"l{i}"} for i in range(n)]
            return shop.post("/v1/listings", {"listings": items}, Authorization=f"Bearer {key}")

        assert send("one", 5).status_code == 200
        response = send("one", 5)
        assert "5 items per second" in _is_problem(response, 429)
        assert int(response.headers["retry-after"]) >= 1
        assert send("two", 5).status_code == 200


def test_a_budget_fills_up_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("service.gate.time.monotonic", lambda: now[0])
    gate = Gate(["key"], 10.0)
    gate.charge("a", 25)  # above a second's worth: passes on a full budget, and is paid off
    with pytest.raises(Problem) as caught:
        gate.charge("a", 1)
    assert caught.value.status == 429
    now[0] += float(caught.value.headers["Retry-After"])
    gate.charge("a", 1)


def test_no_limit_unless_one_is_set():
    gate = Gate([], 0.0)
    for _ in range(100):
        gate.charge("a", 10_000)
    assert gate._budgets == {}
