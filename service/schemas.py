"""What comes in over HTTP, item by item, and what single items are refused for."""

import math
import re
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from bandits import MINOR_DIGITS

LONGEST_TEXT = 32 * 1024
"""Bytes of UTF-8 in one text."""

MOST_ITEMS = 10_000
"""Items in one batch."""

# lone surrogates (U+D800 to U+DFFF) too: they have no UTF-8
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def shown(value: object) -> str:
    """A value as messages show it, 80 characters at most."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # integers of thousands of digits and lists a thousand deep refuse to be printed
        return "a value too large to show"
    return text if len(text) <= 80 else text[:77] + "…"


def _text(value: str, control: re.Pattern[str], longest: int = LONGEST_TEXT) -> str:
    if len(value) * 4 > longest and (size := len(value.encode("utf-8", "replace"))) > longest:
        raise ValueError(f"{size} bytes long: shorten it to {longest} bytes of UTF-8")
    if not value.isprintable() and (found := control.search(value)):
        raise ValueError(f"control character U+{ord(found[0]):04X}: remove it")
    return value


def _line(value: str) -> str:
    return _text(value, _CONTROL)


def _paragraph(value: str) -> str:
    return _text(value, _CONTROL_BUT_LINES)


def _filled(value: str) -> str:
    if not value:
        raise ValueError("empty: give at least one character")
    return value


def _name(value: str) -> str:
    return _text(_filled(value), _CONTROL, 1024)


def _currency(value: str) -> str:
    if value not in MINOR_DIGITS:
        raise ValueError("unknown currency: give an ISO 4217 code in capitals, e.g. GBP")
    return value


def _money(value: float) -> float:
    # beyond this a price in minor units would not fit where it is kept
    if value > 1e12:
        raise ValueError("more than 1e12 currency units: check the unit")
    return value


def _no_money_is_absent(value: float) -> float:
    if value == 0:
        raise ValueError("0 is not a price: leave the field out where it is unknown")
    return _money(value)


Name = Annotated[str, Field(strict=True), AfterValidator(_name)]
Line = Annotated[str, Field(strict=True), AfterValidator(_line)]
Paragraph = Annotated[str, Field(strict=True), AfterValidator(_paragraph)]
Currency = Annotated[str, Field(strict=True), AfterValidator(_currency)]
Money = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), AfterValidator(_money)]
Price = Annotated[
    float, Field(strict=True, ge=0, allow_inf_nan=False), AfterValidator(_no_money_is_absent)
]
Count = Annotated[int, Field(strict=True, ge=0, le=10**12)]


def _when(value: Any) -> Any:
    # numbers would be taken for seconds since 1970, which the contract does not allow
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("not a time: give RFC 3339 text with its offset, 2026-01-31T12:00:00Z")
    return value


When = Annotated[AwareDatetime, BeforeValidator(_when)]


def _attributes(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        _line(key)
        _line(text)
    return value


Attributes = Annotated[
    dict[Annotated[str, Field(strict=True)], Annotated[str, Field(strict=True)]],
    AfterValidator(_attributes),
]

_STRICT = {"extra": "forbid"}


class Listing(TypedDict):
    """A thing for sale, as `POST /v1/listings` takes it. Money in currency units."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    listing_id: Name
    title: Annotated[Line, AfterValidator(_filled)]
    currency: Currency
    description: NotRequired[Paragraph]
    category: NotRequired[Line]
    brand: NotRequired[Line]
    attributes: NotRequired[Attributes]
    unit_cost: NotRequired[Money]
    reference_price: NotRequired[Price]
    min_price: NotRequired[Money]
    max_price: NotRequired[Price]
    minimum_advertised_price: NotRequired[Money]
    inventory: NotRequired[Count]
    sell_by: NotRequired[When]
    price_ending: NotRequired[Annotated[Money, Field(lt=1)]]
    max_step: NotRequired[Annotated[float, Field(strict=True, gt=0, le=1000, allow_inf_nan=False)]]
    family: NotRequired[Name]
    one_unit_per_impression: NotRequired[Annotated[bool, Field(strict=True)]]


def _market(value: dict[str, Any]) -> dict[str, Any]:
    for key, entry in value.items():
        _line(key)
        if isinstance(entry, str):
            (_paragraph if key == "text" else _line)(entry)
        elif isinstance(entry, bool):
            if key != "promotion":
                raise ValueError(f"{key} is {entry}: give a number or a string")
        elif isinstance(entry, int | float):
            # compared before isfinite, which cannot take integers of hundreds of digits
            if abs(entry) > 1e15 or not math.isfinite(entry):
                raise ValueError(f"{key} is {shown(entry)}: give a finite number below 1e15")
        else:
            raise ValueError(f"{key} is {shown(entry)}: give a number or a string")
    for key in ("competitor_price", "traffic"):
        if key in value and (isinstance(value[key], str | bool) or value[key] < 0):
            raise ValueError(f"{key} is {shown(value[key])}: give a number of at least 0")
    return value


Market = Annotated[dict[str, Any], Field(strict=True), AfterValidator(_market)]


class PriceRequest(TypedDict):
    """One price wanted: a listing by id or inline, and what the market is like."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    listing_id: NotRequired[Name]
    listing: NotRequired[Listing]
    market: NotRequired[Market]
    current_price: NotRequired[Price]
    inventory: NotRequired[Count]
    periods_left: NotRequired[Count]
    unit: NotRequired[Name]
    request_id: NotRequired[Name]


class Outcome(TypedDict):
    """What came of a decision, or a part of it."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    decision_id: Name
    outcome_id: Name
    impressions: Annotated[int, Field(strict=True, gt=0, le=10**12)]
    units: Count
    returned_units: NotRequired[Count]
    occurred_at: NotRequired[When]


LISTINGS = TypeAdapter(list[Listing])
PRICE_REQUESTS = TypeAdapter(list[PriceRequest])
OUTCOMES = TypeAdapter(list[Outcome])


class Evidence(TypedDict):
    """A similar listing."""

    listing_id: str
    similarity: float
    price: NotRequired[float]


class Expected(TypedDict):
    """Estimate at the price, per impression; `low` and `high` bound profit, 90 %."""

    units_per_impression: float
    profit_per_impression: float
    low: float
    high: float


class Decision(TypedDict):
    """A price, and what it rests on."""

    decision_id: NotRequired[str]
    listing_id: str
    request_id: NotRequired[str]
    price: float
    currency: str
    arm: int
    ladder: list[float]
    propensity: float
    expected: Expected
    policy: str
    guardrails: list[
        Literal[
            "cost_floor",
            "min_price",
            "minimum_advertised_price",
            "max_price",
            "max_step",
            "price_ending",
            "family",
        ]
    ]
    evidence: list[Evidence]
    degraded: bool
    reason: NotRequired[str]
