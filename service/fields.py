"""Kinds of fields that come in over HTTP: what each may say, and why it is refused."""

import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from bandits import MINOR_DIGITS

LONGEST_TEXT = 32 * 1024
"""Bytes of UTF-8 in one text."""

WEIGHTS = {"profit": 1e6, "revenue": 1e6, "units": 1e12}
"""What an objective may weigh, and the largest weight of each: beyond it, check the unit."""

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


def filled(value: str) -> str:
    """Text that is not empty."""
    if not value:
        raise ValueError("empty: give at least one character")
    return value


def apart_from_paths(value: str) -> str:
    """A listing id that is not taken for what is asked about another listing."""
    for end in ("/similar", "/demand"):
        if value.endswith(end):
            raise ValueError(f"ends in {end}, which GET /v1/listings answers of another: rename it")
    return value


def no_path_step(value: str) -> str:
    """A name that stays as it is in an address, where `.` and `..` are steps."""
    if {".", ".."} & {*value.split("/")}:
        raise ValueError("has . or .. between slashes, which addresses leave out: rename it")
    return value


def _name(value: str) -> str:
    return _text(filled(value), _CONTROL, 1024)


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


_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WITH_OFFSET = re.compile(_DATE.pattern + r".*[Zz+−-]", re.ASCII)


def _when(value: Any) -> Any:
    # numbers, also as text, would be taken for seconds since 1970: the contract has none
    if isinstance(value, datetime):
        return value
    if not (isinstance(value, str) and _WITH_OFFSET.match(value)):
        raise ValueError("not a time: give RFC 3339 text with its offset, 2026-01-31T12:00:00Z")
    return value


When = Annotated[AwareDatetime, BeforeValidator(_when)]


def _day_or(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    # a date stays one: the listing is to be given back as it was accepted
    if isinstance(value, str) and _DATE.fullmatch(value):
        return date.fromisoformat(value)
    return value if type(value) is date else handler(value)


def _day(value: Any) -> Any:
    if type(value) is date:
        return value
    if not (isinstance(value, str) and _DATE.fullmatch(value)):
        raise ValueError("not a day: give one such as 2026-01-31")
    if value > "2999":
        raise ValueError("give a day before the year 3000, or none for no end")
    return value


Day = Annotated[date, BeforeValidator(_day)]

SellBy = Annotated[
    When,
    WrapValidator(_day_or),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": f} for f in ("date-time", "date")],
            "description": "A time, or a day up to its end (UTC), after which nothing is sold.",
        }
    ),
]


def _objective(value: Any) -> Any:
    if isinstance(value, str) and value in WEIGHTS:
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError('give "profit", "revenue", "units", or weights, e.g. {"profit": 1}')
    for name, weight in value.items():
        if name not in WEIGHTS:
            raise ValueError(f"{shown(name)} is no weight: give profit, revenue or units")
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not (number and 0 <= weight <= WEIGHTS[name]):
            most = f"{WEIGHTS[name]:g}".replace("e+0", "e").replace("e+", "e")
            raise ValueError(f"{name} is {shown(weight)}: give a number from 0 to {most}")
    if not any(value.values()):
        raise ValueError("all weights are 0: give one of profit, revenue and units more")
    return value


Objective = Annotated[
    str | dict[str, float],
    PlainValidator(_objective),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(WEIGHTS)},
                {
                    "type": "object",
                    "properties": {
                        name: {"type": "number", "minimum": 0, "maximum": most}
                        for name, most in WEIGHTS.items()
                    },
                    "minProperties": 1,
                    "additionalProperties": False,
                },
            ],
            "description": "What a unit sold is worth: weights of its profit and its revenue, "
            "and in `units` currency units beside them. Absent: profit.",
            "examples": ["revenue", {"profit": 1, "units": 0.5}],
        }
    ),
]


def _attributes(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        _line(key)
        _line(text)
    return value


Attributes = Annotated[
    dict[Annotated[str, Field(strict=True)], Annotated[str, Field(strict=True)]],
    AfterValidator(_attributes),
]


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


# -- as numbers -----------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_WEIGHTS = [math.nan] * len(WEIGHTS)


def end_of(sell_by: date | str | None) -> float:
    """Microseconds since 1970 UTC at which a time, or the day given, ends; NaN without one.

    A day ends with its last microsecond, and can so be told from the midnight after it. Listings
    come with times and dates, and from the log with the text of either.
    """
    if sell_by is None:
        return math.nan
    if isinstance(sell_by, str):
        sell_by = (date if _DATE.fullmatch(sell_by) else datetime).fromisoformat(sell_by)
    if isinstance(sell_by, datetime):
        return (sell_by - _EPOCH) / _MICROSECOND
    return microseconds(sell_by) + 86_400e6 - 1


def utc_date(at_us: int) -> date:
    """The day (UTC) of a time in microseconds since 1970."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).date()


def microseconds(day: date) -> int:
    """When a day begins, microseconds since 1970 UTC."""
    return (day.toordinal() - _EPOCH.toordinal()) * 86_400_000_000


def weights_of(objective: str | dict[str, float] | None) -> list[float]:
    """An objective as weights in the order of `WEIGHTS`, NaN without one."""
    if objective is None:
        return _NO_WEIGHTS
    given = {objective: 1.0} if isinstance(objective, str) else objective
    return [given.get(name, 0.0) for name in WEIGHTS]


def objective_of(weights: list[float]) -> str | dict[str, float] | None:
    """Weights as an objective: by name where they are one's, None where they are NaN."""
    if math.isnan(weights[0]):
        return None
    if sorted(weights) == [0.0, 0.0, 1.0]:
        return list(WEIGHTS)[weights.index(1.0)]
    return dict(zip(WEIGHTS, weights, strict=True))
