"""What comes in over HTTP, item by item, and what goes out."""

from typing import Annotated, Literal, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from service.fields import (
    Attributes,
    Count,
    Currency,
    Day,
    Line,
    Market,
    Money,
    Name,
    Objective,
    Paragraph,
    Price,
    SellBy,
    When,
    apart_from_paths,
    filled,
    no_path_step,
)

MOST_ITEMS = 10_000
"""Items in one batch."""

_STRICT = {"extra": "forbid"}

UnitsLeft = Annotated[
    Count,
    Field(description="Units left to sell, not to be replenished. A request's goes before."),
]
DaysLeft = Annotated[
    Count, Field(description="Days left to sell in, today included; goes before `sell_by`.")
]


class Listing(TypedDict):
    """A thing for sale, as `POST /v1/listings` takes it. Money in currency units."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    listing_id: Annotated[Name, AfterValidator(apart_from_paths)]
    title: Annotated[Line, AfterValidator(filled)]
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
    inventory: NotRequired[UnitsLeft]
    sell_by: NotRequired[SellBy]
    objective: NotRequired[Objective]
    price_ending: NotRequired[Annotated[Money, Field(lt=1)]]
    max_step: NotRequired[Annotated[float, Field(strict=True, gt=0, le=1000, allow_inf_nan=False)]]
    family: NotRequired[Name]
    one_unit_per_impression: NotRequired[Annotated[bool, Field(strict=True)]]


class PriceRequest(TypedDict):
    """One price wanted: a listing by id or inline, and what the market is like."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    listing_id: NotRequired[Name]
    listing: NotRequired[Listing]
    market: NotRequired[Market]
    current_price: NotRequired[Price]
    inventory: NotRequired[UnitsLeft]
    periods_left: NotRequired[DaysLeft]
    unit: NotRequired[Name]
    request_id: NotRequired[Name]


class Outcome(TypedDict):
    """What came of a decision, or a part of it."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    decision_id: Name
    outcome_id: Name
    impressions: Annotated[int, Field(strict=True, ge=0, le=10**12)]
    units: Count
    returned_units: NotRequired[Count]
    occurred_at: NotRequired[When]


class NewExperiment(TypedDict):
    """An A/B test of the policy's prices against reference prices."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    name: Annotated[Name, AfterValidator(no_path_step)]
    share: NotRequired[
        Annotated[
            float,
            Field(
                strict=True,
                ge=0.01,
                le=0.99,
                description="Of the units that the policy prices. 0.5.",
            ),
        ]
    ]
    period: NotRequired[
        Annotated[
            Literal["day", "week"], Field(description="For how long a unit keeps its side. day.")
        ]
    ]
    first_day: NotRequired[Annotated[Day, Field(description="UTC. The next period's first.")]]
    last_day: NotRequired[
        Annotated[Day | None, Field(description="UTC, included. Without: until it is stopped.")]
    ]


LISTINGS = TypeAdapter(list[Listing])
PRICE_REQUESTS = TypeAdapter(list[PriceRequest])
OUTCOMES = TypeAdapter(list[Outcome])
NEW_EXPERIMENT = TypeAdapter(NewExperiment)


class Evidence(TypedDict):
    """A similar listing; `price` is what the guess takes it to be worth: its reference price, else
    what it sold for before, else what its own sales point to.
    """

    listing_id: str
    similarity: float
    price: NotRequired[float]


class Expected(TypedDict):
    """Estimate at the price, per impression; `low` and `high` bound profit, 90 %.

    `gain_per_impression` is what the listing's own objective makes of it, where it has one.
    """

    units_per_impression: float
    profit_per_impression: float
    low: float
    high: float
    gain_per_impression: NotRequired[float]


class Plan(TypedDict):
    """What a finite stock was planned over: units left, days, impressions expected a day."""

    inventory: int
    days: int
    impressions_per_day: float


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
    policy: Literal["bandit", "reference"]
    experiment: NotRequired[str]
    guardrails: list[
        Literal[
            "cost_floor",
            "min_price",
            "minimum_advertised_price",
            "max_price",
            "max_step",
            "price_ending",
            "family",
            "reference_range",
        ]
    ]
    evidence: list[Evidence]
    degraded: bool
    reason: NotRequired[str]
    objective: NotRequired[str | dict[str, float]]
    plan: NotRequired[Plan]
