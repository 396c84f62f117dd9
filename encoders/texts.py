"""Canonical texts: the one spelling under which a listing or a market is embedded and cached.

Two requests that mean the same must give the same text, byte for byte, or the cache misses and
the bandit sees two contexts where there is one. Hence NFC, collapsed whitespace, a fixed order of
fields, and sorted keys.

A listing reads ``title | brand: B | category: C | key: value | ... | description``: the short,
telling fields come first because a transformer cuts a long text at its end. A market reads
``text | season: S | promotion: P | key: value | ...``; ``competitor_price`` and ``traffic`` are
left out, since they are features of their own and a price inside the text would make every
request a new text.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real

__all__ = ["listing_texts", "market_texts"]

_BETWEEN = " | "
_MARKET_FIRST = ("season", "promotion")
_MARKET_ELSEWHERE = frozenset({"competitor_price", "traffic"})
_MARKET_KNOWN = {"text", *_MARKET_FIRST, *_MARKET_ELSEWHERE}

Column = Sequence[str | None] | None


def listing_texts(
    title: Sequence[str | None],
    description: Column = None,
    category: Column = None,
    brand: Column = None,
    attributes: Sequence[Mapping[str, str] | None] | None = None,
) -> list[str]:
    """Canonical texts of n listings, given as columns of length n.

    Any element may be None or empty and is then left out; ``attributes`` are order-independent.
    A listing of which nothing is known gives ``""``.

    Raises:
        ValueError: a column's length is not that of ``title``.
    """
    n = len(title)
    columns = {
        "description": description,
        "category": category,
        "brand": brand,
        "attributes": attributes,
    }
    for name, column in columns.items():
        if column is not None and len(column) != n:
            raise ValueError(f"{name} has {len(column)} rows, title has {n}; give one per listing")
    absent = [None] * n
    return [
        _joined(
            [
                _clean(t),
                *_labelled([("brand", b), ("category", c)]),
                *sorted(_labelled((a or {}).items())),
                _clean(d),
            ]
        )
        for t, d, c, b, a in zip(
            title,
            description or absent,
            category or absent,
            brand or absent,
            attributes or absent,
            strict=True,
        )
    ]


def market_texts(markets: Sequence[Mapping[str, object] | None]) -> list[str]:
    """Canonical texts of n markets; an absent or empty market gives ``""``.

    Strings and finite numbers are written; None, NaN, infinities and nested values are left out.
    ``3`` and ``3.0`` are the same number and the same text.
    """
    return [_market_text(market) if market else "" for market in markets]


def _market_text(market: Mapping[str, object]) -> str:
    if market.keys() <= _MARKET_ELSEWHERE:
        return ""
    others = ((key, value) for key, value in market.items() if key not in _MARKET_KNOWN)
    return _joined(
        [
            _written(market.get("text")),
            *_labelled((key, market.get(key)) for key in _MARKET_FIRST),
            *sorted(_labelled(others)),
        ]
    )


def _labelled(pairs: Iterable[tuple[str, object]]) -> list[str]:
    cleaned = ((_clean(key), _written(value)) for key, value in pairs)
    return [f"{key}: {value}" if key else value for key, value in cleaned if value]


def _joined(parts: Iterable[str]) -> str:
    return _BETWEEN.join(part for part in parts if part)


def _written(value: object) -> str:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            return ""
        return str(int(number)) if number.is_integer() else repr(number)
    return ""


def _clean(text: str | None) -> str:
    """NFC, one space between words, none outside."""
    if not text:
        return ""
    if not text.isascii():
        # JSON may carry half a surrogate pair; tokenisers and hashes need valid Unicode.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())
