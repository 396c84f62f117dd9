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
    families, categories = (
        np.array([*names, None], object)[code].tolist()
        for names, code in (
            (catalogue.family_code, subjects.family),
            (catalogue.category_code, subjects.category),
        )
    )
    blobs = (
        _slices(decisions.ladders.prices[allowed], spans),
        _slices(decisions.expected[allowed], spans),
        _slices(decisions.scores[allowed], spans),
        _slices(decisions.propensities[allowed], spans),
        _slices(decisions.features.ravel(), _even(n, decisions.features.shape[1])),
    )
    curve_sd = np.take_along_axis(decisions.estimates.curve_sd, pick, 1)[:, 0].tolist()
    leader = priced.listings.leader
    led = (leader != np.arange(n)).tolist()
    limits = priced.listings.limits
    ends = limits.lower.tolist(), limits.upper.tolist()
    drawn_with = [texts[i] if follows else None for i, follows in zip(leader, led, strict=True)]
    columns = zip(
        texts, drawn_with, subjects.listing.tolist(), requests, families, categories, answers,
        decisions.price.tolist(), unit_cost.tolist(), subjects.single.tolist(),
        decisions.weight.tolist(), decisions.passing.tolist(), decisions.day.tolist(),
        decisions.elasticity.tolist(), decisions.worth.tolist(), *ends, *blobs, curve_sd,
        strict=True,
    )  # fmt: skip
    rows = [
        {
            "id": text,
            "drawn_with": other,
            "listing": listing,
            "request_id": request.get("request_id"),
            "unit": request.get("unit"),
            "family": family,
            "market": orjson.dumps(request["market"]).decode() if "market" in request else None,
            "policy": answer["policy"],
            "features": features,
            "curve_sd": curve,
            "currency": answer["currency"],
            "unit_cost": cost if cost == cost else None,
            "price": minor,
            "arm": answer["arm"],
            "propensity": answer["propensity"],
            "ladder": ladder_bytes,
            "expected_gains": expected_bytes,
            "scores": score_bytes,
            "propensities": propensity_bytes,
            **answer["expected"],
            "guardrails": " ".join(answer["guardrails"]),
            "objective": None,
            "plan": None,
            "degraded": answer.get("reason"),
            "single": single,
            "weight": weight,
            "passing": passing,
            "day_expected": day,
            "elasticity": elasticity,
            "worth_expected": worth,
            "category": category,
            "lowest": lowest,
            "highest": highest,
            "experiment": answer.get("experiment"),
        }
        for text, other, listing, request, family, category, answer, minor, cost, single, weight,
            passing, day, elasticity, worth, lowest, highest, ladder_bytes, expected_bytes,
            score_bytes, propensity_bytes, features, curve in columns
    ]  # fmt: skip
    return rows


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
