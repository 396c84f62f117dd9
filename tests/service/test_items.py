"""Refusals: one bad item is named, and sinks nothing."""

import json
import uuid

import pytest

from service.items import read_envelope, read_items
from service.problems import Problem
from service.schemas import LISTINGS

DEEP = "[" * 150 + "]" * 150
DEEPER = "[" * 500 + "]" * 500
LONG = '"' + "x" * (32 * 1024 + 1) + '"'
HUGE = "9" * 3000
HUGER = "9" * 9000

# field, the JSON that stands for its value, and words of the message
LISTING = [
    ("listing_id", "missing", "missing"),
    ("listing_id", '""', "empty"),
    ("listing_id", "7", "string"),
    ("listing_id", "null", "string"),
    ("listing_id", '"a\\u0000"', "control character U+0000"),
    ("listing_id", '"' + "x" * 1025 + '"', "1024 bytes"),
    ("title", "missing", "missing"),
    ("title", '""', "empty"),
    ("title", "true", "string"),
    ("title", '["mug"]', "string"),
    ("title", LONG, "32768 bytes"),
    ("title", '"' + "é" * 16385 + '"', "32770 bytes"),
    ("title", '"two\\nlines"', "control character U+000A"),
    ("title", '"\\ud800"', "control character U+D800"),
    ("description", LONG, "32768 bytes"),
    ("description", '"\\u001b[0m"', "control character U+001B"),
    ("description", '"\\udfff"', "control character U+DFFF"),
    ("category", "7", "string"),
    ("brand", '"\\u0085"', "control character U+0085"),
    ("attributes", '{"colour": 7}', "string"),
    ("attributes", '["red"]', "dictionary"),
    ("attributes", '{"a\\u0001": "red"}', "control character"),
    ("attributes", '{"a": "\\u0001"}', "control character"),
    ("attributes", '{"a": ' + LONG + "}", "32768 bytes"),
    ("attributes", '{"\\ud800": "red"}', "control character U+D800"),
    ("currency", "missing", "missing"),
    ("currency", '"GBX"', "'GBX': unknown currency"),
    ("currency", '"gbp"', "capitals"),
    ("currency", "826", "string"),
    ("unit_cost", "NaN", "finite"),
    ("unit_cost", "Infinity", "finite"),
    ("unit_cost", "-Infinity", "finite"),
    ("unit_cost", "1e400", "finite"),
    ("unit_cost", "-0.01", "-0.01"),
    ("unit_cost", '"2.50"', "number"),
    ("unit_cost", "true", "number"),
    ("unit_cost", "null", "number"),
    ("unit_cost", "[2]", "number"),
    ("unit_cost", "1e13", "1e12"),
    ("unit_cost", HUGE, "number"),
    ("unit_cost", HUGER, "number"),
    ("reference_price", "NaN", "finite"),
    ("reference_price", "-5", "-5"),
    ("reference_price", "0", "leave the field out"),
    ("reference_price", DEEP, "number"),
    ("reference_price", DEEPER, "number"),
    ("min_price", "-1", "-1"),
    ("max_price", "0", "leave the field out"),
    ("max_price", '"10"', "number"),
    ("minimum_advertised_price", "-Infinity", "finite"),
    ("inventory", "-1", "-1"),
    ("inventory", "1.5", "integer"),
    ("inventory", "true", "integer"),
    ("inventory", HUGE, "1000000000000"),
    ("inventory", HUGER, "integer"),
    ("sell_by", '"soon"', "soon"),
    ("sell_by", '"2026-01-31T12:00:00"', "with its offset, 2026-01-31T12:00:00Z"),
    ("sell_by", "1780000000", "RFC 3339"),
    ("sell_by", '"1798761600"', "'1798761600': not a time: give RFC 3339"),
    ("sell_by", '"20261224"', "'20261224': not a time: give RFC 3339"),
    ("sell_by", '"+1798761600"', "'+1798761600': not a time: give RFC 3339"),
    ("sell_by", '"2026-02-30"', "'2026-02-30': day"),
    ("sell_by", '"2026-W05-1"', "'2026-W05-1'"),
    ("objective", "7", 'give "profit", "revenue", "units"'),
    ("objective", '"profits"', "'profits': give"),
    ("objective", "{}", "or weights"),
    ("objective", "[1]", "or weights"),
    ("objective", '{"sales": 1}', "'sales' is no weight: give profit, revenue or units"),
    ("objective", '{"\\ud800": 1}', "is no weight"),
    ("objective", '{"profit": -1}', "profit is -1: give a number from 0 to 1e6"),
    ("objective", '{"profit": true}', "profit is True: give a number"),
    ("objective", '{"units": NaN}', "units is nan: give a number from 0 to 1e12"),
    ("objective", '{"revenue": ' + HUGER + "}", "give a number from 0 to 1e6"),
    ("objective", '{"units": "1"}', "units is '1': give a number"),
    ("objective", '{"profit": 0, "units": 0}', "all weights are 0"),
    ("price_ending", "1", "less than 1"),
    ("price_ending", "-0.01", "-0.01"),
    ("max_step", "0", "greater than 0"),
    ("max_step", "1e300", "1000"),
    ("max_step", "NaN", "finite"),
    ("family", '""', "empty"),
    ("family", "7", "string"),
    ("one_unit_per_impression", "1", "boolean"),
    ("colour", '"red"', "not a field"),
]

REQUEST = [
    ("listing_id", "missing", "either listing_id or listing"),
    ("listing_id", '"nowhere"', "'nowhere': unknown, register it first"),
    ("listing_id", "7", "string"),
    ("listing", '{"listing_id": "x", "title": "mug", "currency": "GBP"}', "not both"),
    ("current_price", "NaN", "finite"),
    ("current_price", "-1", "-1"),
    ("current_price", "0", "leave the field out"),
    ("current_price", '"5"', "number"),
    ("current_price", HUGER, "number"),
    ("inventory", "-1", "-1"),
    ("periods_left", "2.5", "integer"),
    ("unit", '""', "empty"),
    ("unit", '"\\u0007"', "control character"),
    ("request_id", "7", "string"),
    ("market", "7", "dictionary"),
    ("market", '{"traffic": -1}', "at least 0"),
    ("market", '{"traffic": true}', "traffic"),
    ("market", '{"competitor_price": "cheap"}', "at least 0"),
    ("market", '{"competitor_price": NaN}', "finite"),
    ("market", '{"competitor_price": Infinity}', "finite"),
    ("market", '{"anything": 1e400}', "finite"),
    ("market", '{"anything": 1e16}', "1e15"),
    ("market", '{"anything": ' + HUGE + "}", "1e15"),
    ("market", '{"anything": ' + HUGER + "}", "1e15"),
    ("market", '{"anything": [1]}', "number or a string"),
    ("market", '{"anything": null}', "number or a string"),
    ("market", '{"anything": ' + DEEPER + "}", "number or a string"),
    ("market", '{"text": ' + LONG + "}", "32768 bytes"),
    ("market", '{"text": "\\u0000"}', "control character"),
    ("market", '{"text": "\\ud83d"}', "control character U+D83D"),
    ("market", '{"\\ud800": 1}', "control character U+D800"),
    ("explore", "false", "not a field"),
]

OUTCOME = [
    ("decision_id", "missing", "missing"),
    ("decision_id", "7", "string"),
    ("decision_id", '"not-an-id"', "unknown"),
    ("decision_id", '"00000000-0000-7000-8000-000000000000"', "unknown"),
    ("decision_id", '"\\u0000"', "control character"),
    ("decision_id", LONG, "1024 bytes"),
    ("outcome_id", "missing", "missing"),
    ("outcome_id", '""', "empty"),
    ("outcome_id", '"\\ud800"', "control character"),
    ("impressions", "missing", "missing"),
    ("impressions", "-3", "-3"),
    ("impressions", "1.5", "integer"),
    ("impressions", "NaN", "integer"),
    ("impressions", "true", "integer"),
    ("impressions", '"100"', "give it without quotes"),
    ("impressions", "null", "integer"),
    ("impressions", "[100]", "integer"),
    ("impressions", HUGE, "1000000000000"),
    ("impressions", HUGER, "integer"),
    ("units", "missing", "missing"),
    ("units", "-1", "-1"),
    ("units", "Infinity", "integer"),
    ("units", "2e0", "integer"),
    ("returned_units", "-1", "-1"),
    ("returned_units", "true", "integer"),
    ("occurred_at", '"yesterday"', "yesterday"),
    ("occurred_at", "1780000000", "RFC 3339"),
    ("occurred_at", '"20260101"', "'20260101': not a time: give RFC 3339"),
    ("occurred_at", '"1780000000.5"', "'1780000000.5': not a time: give RFC 3339"),
    ("occurred_at", '"0"', "'0': not a time: give RFC 3339"),
    ("occurred_at", '"2026-01-31T12:00:00"', "with its offset, 2026-01-31T12:00:00Z"),
    ("occurred_at", '"2030-01-01"', "'2030-01-01': not a time: give RFC 3339"),
    ("occurred_at", '"9999-12-31T23:59:59-23:59"', "1970"),
    ("occurred_at", '"0001-01-01T00:00:00+23:59"', "1970"),
    ("sold_at", '"noon"', "not a field"),
]


def _id(case):
    return f"{case[0]} {case[1] if len(case[1]) < 40 else case[1][:20] + '…'}"


def _written(sound, field, value):
    """The item as JSON text with one field changed, since some of it `json` would not write."""
    fields = {name: json.dumps(v) for name, v in sound.items()} | {field: value}
    return "{" + ", ".join(f'"{k}": {v}' for k, v in fields.items() if v != "missing") + "}"


def _send(shop, path, envelope, items):
    body = f'{{"{envelope}": [{", ".join(items)}]}}'.encode()
    return shop.client.post(path, content=body, headers={"content-type": "application/json"})


def _refused(answer, index, field, words):
    errors = answer["errors"]
    assert {e["index"] for e in errors} == {index}
    assert all(e.keys() == {"index", "field", "message"} for e in errors)
    named = {e["field"].split(".")[0] for e in errors}
    assert named == {field}
    assert any(words in e["message"] for e in errors), errors
    assert all(len(e["message"]) < 500 for e in errors)


@pytest.mark.parametrize("case", LISTING, ids=_id)
def test_a_bad_listing_is_refused_alone_and_by_field(standing_shop, case):
    field, value, words = case
    sound = {"listing_id": "good", "title": "red ceramic mug", "currency": "GBP"}
    bad = _written({**sound, "listing_id": "bad"}, field, value)
    response = _send(standing_shop, "/v1/listings", "listings", [bad, json.dumps(sound)])
    assert response.status_code == 200
    assert response.json()["accepted"] == 1
    _refused(response.json(), 0, field, words)
    assert standing_shop.client.get("/v1/listings/bad").status_code == 404


@pytest.mark.parametrize("case", [c for c in LISTING if c[1] != "missing"], ids=_id)
@pytest.mark.parametrize("record", [True, False])
def test_a_bad_inline_listing_is_refused_with_its_request(standing_shop, case, record):
    field, value, words = case
    inline = {"listing_id": "bad", "title": "red ceramic mug", "currency": "GBP"}
    items = [json.dumps({"listing_id": "mug"}), f'{{"listing": {_written(inline, field, value)}}}']
    body = f'{{"record": {json.dumps(record)}, "requests": [{", ".join(items)}]}}'.encode()
    headers = {"content-type": "application/json"}
    response = standing_shop.client.post("/v1/prices", content=body, headers=headers)
    assert response.status_code == 200
    assert [d["listing_id"] for d in response.json()["decisions"]] == ["mug"]
    errors = response.json()["errors"]
    assert {e["index"] for e in errors} == {1}
    assert all(e["field"].startswith(f"listing.{field}") for e in errors)
    assert any(words in e["message"] for e in errors)


@pytest.mark.parametrize("case", REQUEST, ids=_id)
def test_a_bad_price_request_is_refused_alone_and_by_field(standing_shop, case):
    field, value, words = case
    items = [json.dumps({"listing_id": "mug"}), _written({"listing_id": "mug"}, field, value)]
    response = _send(standing_shop, "/v1/prices", "requests", items)
    assert response.status_code == 200
    assert len(response.json()["decisions"]) == 1
    named = "listing_id" if field == "listing" else field
    _refused(response.json(), 1, named, words)


@pytest.mark.parametrize("case", OUTCOME, ids=_id)
def test_a_bad_outcome_is_refused_alone_and_by_field(standing_shop, case):
    field, value, words = case
    sound = {"decision_id": standing_shop.decision_id, "impressions": 10, "units": 1}
    bad = _written({**sound, "outcome_id": "bad"}, field, value)
    good = json.dumps({**sound, "outcome_id": str(uuid.uuid4())})
    response = _send(standing_shop, "/v1/outcomes", "outcomes", [bad, good])
    assert response.status_code == 200
    assert response.json()["accepted"] == 1
    _refused(response.json(), 0, field, words)


@pytest.mark.parametrize("item", ["null", "7", '"mug"', "[]", "true", "NaN", DEEP, DEEPER])
@pytest.mark.parametrize(
    ("path", "envelope"),
    [("/v1/listings", "listings"), ("/v1/prices", "requests"), ("/v1/outcomes", "outcomes")],
)
def test_an_item_that_is_no_object_is_refused_alone(standing_shop, path, envelope, item):
    answer = _send(standing_shop, path, envelope, [item]).json()
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(0, "item")]
    assert "dictionary" in answer["errors"][0]["message"]


def test_contradicting_limits_of_a_listing_are_refused(standing_shop):
    base = {"title": "red ceramic mug", "currency": "GBP", "max_price": 5}
    answer = standing_shop.register(
        {"listing_id": "a", **base, "min_price": 6},
        {"listing_id": "b", **base, "unit_cost": 5.01},
        {"listing_id": "c", **base, "minimum_advertised_price": 7},
        {"listing_id": "d", **base, "min_price": 5, "unit_cost": 5},
    )
    assert answer["accepted"] == 1
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [
        (0, "max_price"), (1, "max_price"), (2, "max_price"),
    ]  # fmt: skip
    assert "max_price is 5, below min_price 6: raise it" in answer["errors"][0]["message"]


def test_endings_that_a_currency_does_not_have_are_refused(standing_shop):
    endings = [
        ("GBP", 0.995), ("GBP", 0.125), ("JPY", 0.5), ("KWD", 0.9995), ("GBP", 0.999999999),
        ("GBP", 0.99), ("GBP", 0.29), ("KWD", 0.995), ("JPY", 0), ("GBP", 0.1 + 0.2),
    ]  # fmt: skip
    answer = standing_shop.register(
        *(
            {"listing_id": f"e{i}", "title": "mug", "currency": currency, "price_ending": ending}
            for i, (currency, ending) in enumerate(endings)
        )
    )
    assert answer["accepted"] == 5
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [
        (i, "price_ending") for i in range(5)
    ]
    messages = [e["message"] for e in answer["errors"]]
    assert messages[0] == "price_ending is 0.995: GBP has 0, 0.01 … 0.99: give one it has"
    assert messages[2] == "price_ending is 0.5: JPY has 0 alone: give one it has"
    assert "KWD has 0, 0.001 … 0.999" in messages[3]


def test_a_contradiction_inline_is_reported_once(standing_shop):
    inline = {"listing_id": "z", "title": "red ceramic mug", "currency": "GBP"}
    bad = {"listing": {**inline, "min_price": 6, "max_price": 5}}
    for record in (True, False):
        answer = standing_shop.price({"listing_id": "mug"}, bad, record=record)
        assert [(e["index"], e["field"]) for e in answer["errors"]] == [(1, "listing.max_price")]
        assert len(answer["decisions"]) == 1


def test_of_a_key_given_twice_the_last_counts(standing_shop):
    item = (
        '{"listing_id": "twice", "title": "red ceramic mug", "currency": "XXX", "currency": "EUR"}'
    )
    answer = _send(standing_shop, "/v1/listings", "listings", [item]).json()
    assert answer["accepted"] == 1
    assert standing_shop.client.get("/v1/listings/twice").json()["currency"] == "EUR"


def test_texts_of_exactly_32_kib_are_taken(standing_shop):
    text = "red ceramic mug " * 2048
    answer = standing_shop.register(
        {"listing_id": "long", "title": text, "description": text, "currency": "GBP"}
    )
    assert answer["errors"] == []


def test_many_errors_of_one_item_leave_the_others_alone(standing_shop):
    bad = {"listing_id": "", "title": 7, "currency": "?", "unit_cost": -1, "colour": "red"}
    good = {"listing_id": "fine", "title": "red ceramic mug", "currency": "GBP"}
    answer = standing_shop.register(good, bad, {**good, "listing_id": "fine too"})
    assert answer["accepted"] == 2
    assert {e["field"] for e in answer["errors"]} == set(bad)


def test_one_bad_listing_leaves_999(shop, titles):
    items = [
        {"listing_id": f"l{i}", "title": titles[i % len(titles)], "currency": "GBP"}
        for i in range(1000)
    ]
    items[617]["unit_cost"] = -1
    answer = shop.register(*items)
    assert answer["accepted"] == 999
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(617, "unit_cost")]
    assert shop.count("listings") == 999


def test_one_bad_request_and_one_bad_outcome_leave_999(shop):
    shop.register({"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP"})
    requests = [{"listing_id": "mug", "request_id": f"r{i}"} for i in range(1000)]
    requests[311]["current_price"] = -5
    answer = shop.price(*requests)
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(311, "current_price")]
    sent = [f"r{i}" for i in range(1000) if i != 311]
    assert [d["request_id"] for d in answer["decisions"]] == sent
    assert shop.count("decisions") == 999
    decisions = answer["decisions"] + answer["decisions"][:1]
    outcomes = [
        {"decision_id": d["decision_id"], "outcome_id": f"o{i}", "impressions": 9, "units": 1}
        for i, d in enumerate(decisions)
    ]
    outcomes[42]["impressions"] = -1
    answer = shop.report(*outcomes)
    assert (answer["accepted"], answer["duplicates"]) == (999, 0)
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(42, "impressions")]
    assert shop.count("outcomes") == 999


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"listings", b"null", b"[]", b'"listings"', b"{}", b'{"listings": 7}',
        b'{"listings": {}}', b'{"listings": null}', b'{"listings": []}', b'{"Listings": [{}]}',
        b'{"listings": [{}], "more": 1}', b'{"listings": [{}], "\\ud800": 1}',
        b'{"listings": [{}], "record": true}', b'{"listings": [{}]} {}', b"\xff\xfe", b"\x00",
        b"[" * 100_000, b'{"listings": [{}]', b'{"listings": ["\xff"]}', b'{"listings": [\'\']}',
        b'{"listings": [' + b"9" * 9000 + b"}",
    ],
)  # fmt: skip
def test_a_body_that_is_not_the_envelope_is_a_422_problem(standing_shop, body):
    response = standing_shop.client.post(
        "/v1/listings", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["status"] == 422


@pytest.mark.parametrize("name", ["listings", "requests", "outcomes"])
def test_batches_have_1_to_10_000_items(name):
    for n in (0, 10_001):
        with pytest.raises(Problem, match=f"{name} has {n} items: send 1 to 10000") as caught:
            read_envelope(json.dumps({name: [1] * n}).encode(), name)
        assert caught.value.status == 422
    assert len(read_envelope(json.dumps({name: [1] * 10_000}).encode(), name)[name]) == 10_000


@pytest.mark.parametrize("value", ["null", "1", '"false"', "[]", DEEP, DEEPER, HUGER])
def test_flags_are_true_or_false(standing_shop, value):
    body = f'{{"requests": [{{"listing_id": "mug"}}], "explore": {value}}}'
    response = standing_shop.client.post(
        "/v1/prices", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 422
    assert response.json()["detail"].startswith("explore is ")


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("4,1", "write 4.1, with a decimal point"),
        ("4.1", "give it without quotes"),
        ("£4.1", "remove the currency sign"),
        ("", "fill the cell"),
    ],
)
def test_text_for_a_number_is_told_how_to_be_written(text, fix):
    sent = {"listing_id": "a", "title": "mug", "currency": "GBP", "unit_cost": text}
    (error,) = read_items(LISTINGS, [sent]).errors
    assert error.message.startswith(f"unit_cost is {text!r}: text, not a number: {fix}")
