"""Decisions as the HTTP contract and the log spell them, a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bandits import GUARDRAILS
from service.catalogue import Catalogue
from service.experiments import CONTROL, TREATMENT
from service.fields import objective_of
from service.ids import as_text
from service.subjects import Priced, Subjects

NO_TEXT = "text not embedded: priced from its words, cost, reference price and own sales alone"
NO_PRICE = "no price in {} is known yet, nor a cost: send unit_cost or reference_price"
NO_PRICE_FREE = (
    "no price in {} is known yet, and a unit_cost of 0 tells nothing of one: send reference_price"
)
NO_MARKET = "market text not embedded: priced without it"
EVIDENCE = 3

_GUARDRAIL_SETS: dict[int, list[str]] = {}


def _names(flags: NDArray[np.bool_]) -> list[list[str]]:
    """Names of the guardrails set in each row; rows with the same set share one list."""
    codes = flags @ (1 << np.arange(len(GUARDRAILS)))
    for code in set(codes.tolist()) - _GUARDRAIL_SETS.keys():
        _GUARDRAIL_SETS[code] = [g for i, g in enumerate(GUARDRAILS) if code >> i & 1]
    return [_GUARDRAIL_SETS[code] for code in codes.tolist()]


@dataclass(frozen=True, slots=True)
class Written:
    """Decisions ready to leave, one entry each, in the order of `Priced`.

    Attributes:
        answers: as the contract spells them. rows: as the log keeps them.
    """

    answers: list[dict[str, Any]]
    rows: list[dict[str, Any]]


def write(
    priced: Priced,
    catalogue: Catalogue,
    requests: Sequence[dict[str, Any]],
    ids: NDArray[np.uint64],
    recorded: NDArray[np.bool_],
    version: str,
    features_of: str,
    at_us: int,
) -> Written:
    """Spell decisions out.

    Args:
        requests: the items priced, n. ids: their decision ids, uint64 (n, 2).
        recorded: False for what-ifs, which get no id and no row, bool (n,).
        version: of the model. features_of: of its features.
    """
    subjects, decisions = priced.subjects, priced.decisions
    pick = decisions.arm[:, None]
    allowed = decisions.ladders.allowed
    propensity = np.take_along_axis(decisions.propensities, pick, 1)[:, 0]
    units = np.take_along_axis(decisions.estimates.mean, pick, 1)[:, 0]
    low, high = decisions.low, decisions.high
    price = decisions.price / subjects.per_major
    margin = price - np.nan_to_num(subjects.number["unit_cost"])
    arm = (np.take_along_axis(allowed.cumsum(1), pick, 1)[:, 0] - 1).tolist()
    arms = allowed.sum(1)
    ends = arms.cumsum()
    spans = [slice(*ends_of) for ends_of in zip((ends - arms).tolist(), ends.tolist(), strict=True)]
    ladder = (decisions.ladders.prices / subjects.per_major[:, None])[allowed].tolist()
    guardrails = _names(decisions.ladders.guardrails)
    texts = as_text(ids)
    policies = np.where(subjects.control, CONTROL, TREATMENT).tolist()
    profit = units * margin
    money = (price.tolist(), units.tolist(), profit.tolist(), (low * margin).tolist(),
             (high * margin).tolist(), propensity.tolist())  # fmt: skip
    keys = zip(
        texts, recorded.tolist(), subjects.listing_id.tolist(), subjects.currency.tolist(),
        requests, arm, spans, guardrails, _evidence(priced, catalogue),
        _reasons(priced), policies, subjects.experiment.tolist(), *money, strict=True,
    )  # fmt: skip
    answers = [
        {
            **({"decision_id": text} if record else {}),
            "listing_id": listing_id,
            **({"request_id": request["request_id"]} if "request_id" in request else {}),
            "price": p,
            "currency": currency,
            "arm": a,
            "ladder": ladder[span],
            "propensity": chance,
            "expected": {
                "units_per_impression": u,
                "profit_per_impression": gain,
                "low": lowest,
                "high": highest,
            },
            "policy": policy,
            **({"experiment": experiment} if experiment else {}),
            "guardrails": names,
            "evidence": similar,
            **({"degraded": True, "reason": reason} if reason else {"degraded": False}),
        }
        for text, record, listing_id, currency, request, a, span, names, similar, reason,
            policy, experiment, p, u, gain, lowest, highest, chance in keys
    ]  # fmt: skip
    rows = []
    if recorded.any():
        rows = _rows(priced, catalogue, requests, texts, answers, spans)
    _add_aims(priced, price, units, answers, rows)
    if not rows:
        return Written(answers, [])
    shared = {"at": at_us, "model_version": version, "features_of": features_of}
    kept = zip(rows, recorded.tolist(), strict=True)
    return Written(answers, [{**row, **shared} for row, record in kept if record])


def _rows(
    priced: Priced,
    catalogue: Catalogue,
    requests: Sequence[dict[str, Any]],
    texts: Sequence[str],
    answers: Sequence[dict[str, Any]],
    spans: Sequence[slice],
) -> list[dict[str, Any]]:
    """Decisions as the log keeps them, but for what all of a batch share.

    Args:
        texts: their ids. answers: as given. spans: of each row's arms among all allowed arms.
    """
    subjects, decisions = priced.subjects, priced.decisions
    n, pick, allowed = len(subjects), decisions.arm[:, None], decisions.ladders.allowed
    unit_cost = subjects.number["unit_cost"]
    leader, limits = priced.listings.leader, priced.listings.limits
    led = (leader != np.arange(n)).tolist()
    families, categories = (
        np.array([*names, None], object)[code].tolist()
        for names, code in (
            (catalogue.family_code, subjects.family),
            (catalogue.category_code, subjects.category),
        )
    )
    width = decisions.features.shape[1]
    expected = [answer["expected"] for answer in answers]
    columns: dict[str, Sequence[Any]] = {
        "id": texts,
        "drawn_with": [texts[i] if other else None for i, other in zip(leader, led, strict=True)],
        "listing": subjects.listing.tolist(),
        "request_id": [request.get("request_id") for request in requests],
        "unit": [request.get("unit") for request in requests],
        "family": families,
        "market": [_json(request.get("market")) for request in requests],
        "policy": [answer["policy"] for answer in answers],
        "features": _slices(decisions.features.ravel(), _even(n, width)),
        "curve_sd": np.take_along_axis(decisions.estimates.curve_sd, pick, 1)[:, 0].tolist(),
        "currency": subjects.currency.tolist(),
        "unit_cost": [cost if cost == cost else None for cost in unit_cost.tolist()],
        "price": decisions.price.tolist(),
        "arm": [answer["arm"] for answer in answers],
        "propensity": [answer["propensity"] for answer in answers],
        "ladder": _slices(decisions.ladders.prices[allowed], spans),
        "expected_gains": _slices(decisions.expected[allowed], spans),
        "scores": _slices(decisions.scores[allowed], spans),
        "propensities": _slices(decisions.propensities[allowed], spans),
        **{name: [one[name] for one in expected] for name in expected[0]},
        "guardrails": [" ".join(answer["guardrails"]) for answer in answers],
        "objective": [None] * n,
        "plan": [None] * n,
        "degraded": [answer.get("reason") for answer in answers],
        "single": subjects.single.tolist(),
        "weight": decisions.weight.tolist(),
        "passing": decisions.passing.tolist(),
        "day_expected": decisions.day.tolist(),
        "elasticity": decisions.elasticity.tolist(),
        "worth_expected": decisions.worth.tolist(),
        "category": categories,
        "lowest": limits.lower.tolist(),
        "highest": limits.upper.tolist(),
        "experiment": [answer.get("experiment") for answer in answers],
    }
    values = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def _json(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _add_aims(
    priced: Priced,
    price: NDArray[np.float64],
    units: NDArray[np.float64],
    answers: list[dict[str, Any]],
    rows: list[dict[str, Any]],
) -> None:
    """Say in answers, and in rows of the log if any, what was aimed at and which stock planned.

    Args:
        price: currency units, (n,). units: expected per impression, (n,).
    """
    listings = priced.listings
    if listings.objective is not None:
        gain = (listings.gain(price[:, None])[:, 0] * units).tolist()
        for i, objective in enumerate(objectives(priced.subjects)):
            if objective is not None:
                answers[i]["objective"] = objective
                # `expected` is the row's too, where it has no place
                answers[i]["expected"] = {**answers[i]["expected"], "gain_per_impression": gain[i]}
                if rows:
                    rows[i]["objective"] = orjson.dumps(objective).decode()
    if listings.stock is not None:
        left, stock = priced.subjects.inventory, listings.stock
        for i in np.flatnonzero(~np.isnan(left)).tolist():
            plan = {
                "inventory": int(left[i]),
                "days": int(stock.days[i]),
                "impressions_per_day": float(stock.impressions[i]),
            }
            answers[i]["plan"] = plan
            if rows:
                rows[i]["plan"] = orjson.dumps(plan).decode()


def objectives(subjects: Subjects) -> list[str | dict[str, float] | None]:
    """Each subject's own objective, None for those without."""
    return [objective_of(weights) for weights in subjects.objective.tolist()]


def _reasons(priced: Priced) -> list[str | None]:
    """Why each decision is degraded, None where it is not."""
    subjects = priced.subjects
    found = np.full(len(subjects), None, object)
    found[subjects.market_lost] = NO_MARKET
    found[~subjects.embedded] = NO_TEXT
    free = subjects.number["unit_cost"] == 0  # NaN where it is unknown
    for mine, text in ((~free, NO_PRICE), (free, NO_PRICE_FREE)):
        rows = priced.unknown & mine
        found[rows] = [text.format(currency) for currency in subjects.currency[rows]]
    return list(found)


def _even(n: int, width: int) -> list[slice]:
    return [slice(i * width, (i + 1) * width) for i in range(n)]


def _slices(flat: NDArray[Any], spans: Sequence[slice]) -> list[bytes]:
    """Bytes of each span of a flat array, without a copy of the array per row."""
    size = flat.itemsize
    raw = np.ascontiguousarray(flat).tobytes()
    return [raw[span.start * size : span.stop * size] for span in spans]


def _evidence(priced: Priced, catalogue: Catalogue) -> list[list[dict[str, Any]]]:
    """Up to three similar listings for each subject, with what the guess takes them to be worth."""
    rows = priced.subjects.neighbours[:, :EVIDENCE]
    prices = catalogue.in_minor_units(rows, np.exp(catalogue.worth(rows)))
    similarity = np.round(priced.subjects.similarity[:, :EVIDENCE], 4)
    name = catalogue.listing_id
    return [
        [
            {"listing_id": name[r], "similarity": s, **({"price": p} if p == p else {})}
            for r, s, p in zip(*triple, strict=True)
            if r >= 0
        ]
        for triple in zip(rows.tolist(), similarity.tolist(), prices.tolist(), strict=True)
    ]
