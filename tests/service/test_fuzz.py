"""Whatever is sent, the answer is an answer: never a fault of the service."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TITLES = ("red ceramic mug", "oak dining table")
NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**400), 10**400),
    st.integers(-2, 12),
    st.sampled_from([0, 1e-320, 0.005, 0.99, 1e12, 1e15, 1e308, 2**63, 2**64]),
)
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5), st.just("\ud800")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PRICES = st.one_of(st.floats(0.001, 1e12), st.integers(1, 10**9))


def _mostly(usual):
    return st.one_of(usual, usual, usual, NUMBERS, JUNK)


LISTING = st.fixed_dictionaries(
    {
        "listing_id": st.sampled_from(["a", "b", "c", "mug"]),
        "title": st.sampled_from(TITLES),
        "currency": st.sampled_from(["GBP", "GBP", "JPY", "KWD", "XXX"]),
    },
    optional={
        **dict.fromkeys(
            ("unit_cost", "reference_price", "min_price", "max_price", "minimum_advertised_price"),
            _mostly(PRICES),
        ),
        "price_ending": _mostly(st.sampled_from([0, 0.5, 0.99]) | st.floats(0, 0.9999)),
        "max_step": _mostly(st.floats(1e-9, 1000)),
        "family": st.sampled_from(["f", "g"]),
        "inventory": _mostly(st.integers(0, 10**12)),
        "one_unit_per_impression": st.booleans() | JUNK,
        "attributes": st.dictionaries(st.text(max_size=3), JUNK, max_size=2),
        "sell_by": st.datetimes().map(lambda t: t.isoformat() + "Z")
        | st.dates().map(str)
        | st.just("2999-12-31")
        | JUNK,
        "objective": st.sampled_from(["profit", "revenue", "units"])
        | st.dictionaries(
            st.sampled_from(["profit", "revenue", "units"]), st.floats(0, 9) | NUMBERS
        )
        | JUNK,
    },
)
REQUEST = st.fixed_dictionaries(
    {},
    optional={
        "listing_id": st.sampled_from(["a", "b", "c", "mug", "mug", "nowhere"]) | JUNK,
        "listing": LISTING | JUNK,
        "market": st.dictionaries(
            st.sampled_from(["traffic", "competitor_price", "promotion", "season", "x"]),
            NUMBERS | st.booleans() | JUNK,
            max_size=3,
        )
        | JUNK,
        "current_price": _mostly(PRICES),
        "inventory": _mostly(st.integers(0, 9)),
        "periods_left": st.integers(0, 40) | st.integers(0, 40) | NUMBERS,
        "unit": st.sampled_from(["u", "v"]) | JUNK,
        "request_id": st.text(max_size=5),
    },
)
ENVELOPE = st.fixed_dictionaries(
    {"requests": st.lists(_mostly(REQUEST), min_size=1, max_size=6)},
    optional={"explore": st.booleans(), "record": st.booleans()},
)

FUZZ = settings(
    max_examples=70,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _send(shop, path, body):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    response = shop.client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code in (200, 422), (response.text, body)
    if response.status_code == 422:
        assert response.headers["content-type"] == "application/problem+json"
        return None
    return response.json()


def _sound_errors(answer, n):
    for error in answer["errors"]:
        assert error.keys() == {"index", "field", "message"}
        assert 0 <= error["index"] < n
        assert error["field"]
        assert error["message"]
    return {error["index"] for error in answer["errors"]}


@FUZZ
@given(body=ENVELOPE)
def test_price_requests(textless_shop, body):
    answer = _send(textless_shop, "/v1/prices", body)
    assert answer is not None
    refused = _sound_errors(answer, len(body["requests"]))
    assert len(answer["decisions"]) + len(refused) == len(body["requests"])
    record = body.get("record", True)
    for decision in answer["decisions"]:
        assert ("decision_id" in decision) == record
        assert decision["price"] == decision["ladder"][decision["arm"]] > 0
        assert 0 < decision["propensity"] <= 1
        assert None not in decision["expected"].values()
        assert decision["expected"]["low"] <= decision["expected"]["high"]
    if not record:
        return
    outcomes = [
        {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 7, "units": i % 3}
        for i, d in enumerate(answer["decisions"])
    ]
    if outcomes:
        assert _send(textless_shop, "/v1/outcomes", {"outcomes": outcomes})["accepted"] > 0
    for name in ("a", "b", "c"):
        for call in ("", "/similar", "/demand"):
            response = textless_shop.client.get(f"/v1/listings/{name}{call}")
            assert response.status_code in (200, 404, 409), response.text


@FUZZ
@given(items=st.lists(_mostly(LISTING), min_size=1, max_size=6))
def test_listings(textless_shop, items):
    answer = _send(textless_shop, "/v1/listings", {"listings": items})
    assert answer is not None
    assert answer["accepted"] + len(_sound_errors(answer, len(items))) == len(items)


@FUZZ
@given(data=st.data())
def test_outcomes(textless_shop, data):
    outcome = st.fixed_dictionaries(
        {},
        optional={
            "decision_id": st.just(textless_shop.decision_id) | st.text(max_size=40) | JUNK,
            "outcome_id": st.text(min_size=1, max_size=3) | JUNK,
            "impressions": _mostly(st.integers(1, 10**12)),
            "units": _mostly(st.integers(0, 10**12)),
            "returned_units": _mostly(st.integers(0, 10**12)),
            "occurred_at": st.datetimes().map(lambda t: t.isoformat() + "+05:30") | JUNK,
            "more": JUNK,
        },
    )
    items = data.draw(st.lists(outcome, min_size=1, max_size=6))
    answer = _send(textless_shop, "/v1/outcomes", {"outcomes": items})
    assert answer is not None
    refused = _sound_errors(answer, len(items))
    assert answer["accepted"] + answer["duplicates"] + len(refused) == len(items)
    where = f"/v1/decisions/{textless_shop.decision_id}"
    assert textless_shop.client.get(where).status_code == 200
    priced = _send(textless_shop, "/v1/prices", {"requests": [{"listing_id": "mug"}]})
    assert len(priced["decisions"]) == 1


@FUZZ
@given(path=st.sampled_from(["listings", "prices", "outcomes"]), body=JUNK)
def test_envelopes(textless_shop, path, body):
    assert _send(textless_shop, f"/v1/{path}", body) is None


@FUZZ
@given(path=st.sampled_from(["listings", "prices", "outcomes"]), body=st.binary(max_size=60))
def test_bytes(textless_shop, path, body):
    assert _send(textless_shop, f"/v1/{path}", body) is None


@FUZZ
@given(
    cut=st.integers(0, 200),
    inserted=st.binary(max_size=8) | st.sampled_from([b"NaN", b"1e999", b"\\ud800", b"[" * 300]),
)
def test_damaged_bodies(textless_shop, cut, inserted):
    whole = json.dumps(
        {"requests": [{"listing_id": "mug", "market": {"text": "red ceramic mug", "traffic": 7}}]}
    ).encode()
    _send(textless_shop, "/v1/prices", whole[:cut] + inserted + whole[cut:])
    assert textless_shop.client.get("/readyz").status_code == 200
