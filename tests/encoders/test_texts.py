import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import listing_texts, market_texts

anything = st.text(st.characters(codec=None))  # lone surrogates included
maybe = st.none() | anything


def test_a_listing_in_full():
    assert listing_texts(
        ["  Red\tshirt "],
        ["Soft.\n\nWarm."],
        ["Clothes"],
        ["Acme"],
        [{"size": "M", "colour": "red"}],
    ) == ["Red shirt | brand: Acme | category: Clothes | colour: red | size: M | Soft. Warm."]


def test_what_is_unknown_is_left_out():
    assert listing_texts(["a", None, ""], [None, "d", ""], attributes=[None, {"k": ""}, {}]) == [
        "a",
        "d",
        "",
    ]
    assert listing_texts([]) == []


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="brand has 1 rows, title has 2"):
        listing_texts(["a", "b"], brand=["x"])


def test_a_market_in_full_without_the_numeric_features():
    market = {
        "text": "Black  Friday",
        "weather": "rain",
        "promotion": "2 for 1",
        "season": "winter",
        "competitor_price": 9.5,
        "traffic": 100,
        "rank": 3.0,
        "rate": np.float32(0.5),
        "open": True,
        "nested": {"a": 1},
        "bad": float("nan"),
        "none": None,
    }
    assert market_texts([market, None, {}, {"traffic": 5}]) == [
        "Black Friday | season: winter | promotion: 2 for 1 | open: yes | rank: 3 | rate: 0.5"
        " | weather: rain",
        "",
        "",
        "",
    ]


def test_one_number_has_one_spelling():
    assert market_texts([{"rank": 3}]) == market_texts([{"rank": 3.0}]) == ["rank: 3"]


@pytest.mark.parametrize(
    "text",
    ["", "🙂👩‍👩‍👧", "красный 赤い シャツ أحمر", "x" * 32_768, "é " * 16_384, "\ud800", "\x00"],
)
def test_difficult_texts(text):
    (got,) = listing_texts([text])
    assert got == " ".join(unicodedata.normalize("NFC", got).split())
    got.encode("utf-8")


def test_composed_and_decomposed_are_one_text():
    assert listing_texts(["cafe\u0301"]) == listing_texts(["caf\u00e9"])


@given(maybe, maybe, maybe, maybe, st.none() | st.dictionaries(anything, anything, max_size=4))
def test_laws_of_listing_texts(title, description, category, brand, attributes):
    turned = None if attributes is None else dict(reversed(attributes.items()))
    a = listing_texts([title], [description], [category], [brand], [attributes])
    b = listing_texts([title], [description], [category], [brand], [turned])
    assert a == b  # order-independent
    assert unicodedata.is_normalized("NFC", a[0])
    assert a[0] == " ".join(a[0].split())
    assert listing_texts(a) == a  # canonical texts are their own canonical text


@given(st.dictionaries(anything, anything | st.floats() | st.integers() | st.booleans()))
def test_market_texts_do_not_depend_on_order(market):
    assert market_texts([market]) == market_texts([dict(reversed(market.items()))])
