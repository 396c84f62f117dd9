"""What the service can say of a listing or a decision: similar listings, demand, the reasons."""

import hashlib
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import Context, Estimates, Objective, minor_per_major, uniforms
from service import ids, log
from service.bounds import bounds_of, kin_of, sensible_for
from service.catalogue import rfc3339
from service.decisions import objectives
from service.fields import weights_of
from service.pricebandit import Pricebandit, now_us
from service.problems import Problem
from service.subjects import listings_of


def _row(bandit: Pricebandit, listing_id: str) -> NDArray[np.int64]:
    row = bandit.catalogue.row_of.get(listing_id)
    if row is None:
        raise Problem(404, f"listing_id is {listing_id!r:.80}: unknown, register it first")
    return np.array([row])


def listing(bandit: Pricebandit, listing_id: str) -> dict[str, Any]:
    """The listing as it was accepted.

    Raises:
        Problem: 404, it is not in the catalogue.
    """
    return bandit.catalogue.document[int(_row(bandit, listing_id)[0])]


def listings(source: log.Log, after: str, limit: int) -> dict[str, Any]:
    """Listings in service as they were accepted, by their ids, and the id to go on after.

    Args:
        after: id that all come after, in the order of the database; empty for the first.

    Raises:
        Problem: 422, it is no id, and PostgreSQL cannot read it.
    """
    if "\0" in after:
        raise Problem(422, f"after is {after!r:.80}: control character U+0000: remove it")
    table = log.listings.c
    query = sa.select(table.listing_id, table.document).where(table.deleted_at.is_(None))
    query = query.where(table.listing_id > after).order_by(table.listing_id).limit(limit + 1)
    with source.engine.connect() as conn:
        rows = conn.execute(query).all()
    more = {"next": rows[limit - 1].listing_id} if len(rows) > limit else {}
    return {"listings": [orjson.loads(row.document) for row in rows[:limit]], **more}


def similar(bandit: Pricebandit, listing_id: str, k: int) -> dict[str, Any]:
    """The `k` most similar listings with cosine, the price decided last, else charged before, and
    what each has earned.

    Raises:
        Problem: 404, it is not in the catalogue.
    """
    catalogue, row = bandit.catalogue, _row(bandit, listing_id)
    text = catalogue.text[row]
    if text[0] < 0:
        return {"listing_id": listing_id, "similar": []}
    vector = bandit.listing_texts.vectors(text)
    cosines, found = bandit.listing_texts.neighbours(vector, 3 * k + 10, catalogue.embeddings())
    rows, similarity = catalogue.nearest(row, catalogue.currency[row].tolist(), cosines, found, k=k)
    rows, similarity = rows[0][rows[0] >= 0], similarity[0][rows[0] >= 0]
    totals = bandit.policy.evidence.totals_of(rows).numpy()  # units, impressions, revenue, profit
    charged = catalogue.in_minor_units(rows, np.exp(catalogue.charged(rows)))
    last = catalogue.last_price[rows]
    prices = np.where(np.isnan(last), charged, last)
    places = np.log10(catalogue.per_major[rows]).astype(int)
    return {
        "listing_id": listing_id,
        "similar": [
            {
                "listing_id": catalogue.listing_id[r],
                "title": catalogue.document[r]["title"],
                "similarity": s,
                **({"price": p} if p == p else {}),
                "currency": catalogue.currency[r],
                "impressions": int(impressions),
                "units": int(units),
                "revenue": round(revenue, d),
                "profit": round(profit, d),
            }
            for r, s, p, d, (units, impressions, revenue, profit) in zip(
                rows.tolist(),
                similarity.tolist(),
                prices.tolist(),
                places.tolist(),
                totals.tolist(),
                strict=True,
            )
        ],
    }


def demand(bandit: Pricebandit, listing_id: str) -> dict[str, Any]:
    """The estimated demand curve over the listing's present ladder, and where it comes from.

    Raises:
        Problem: 404, it is not in the catalogue; 409, its limits leave no price.
    """
    row = _row(bandit, listing_id)
    subjects, guess, sd = bandit.strangers(row)
    catalogue = bandit.catalogue
    kin = kin_of(subjects, catalogue)
    bounds = bounds_of(subjects, sensible_for(subjects, catalogue, kin))
    if not bounds.feasible.all():
        raise Problem(409, "the listing's limits leave no price: change one of them")
    at = now_us()
    listings = listings_of(subjects, guess, sd, bounds, np.arange(1), at)
    policy = bandit.policy
    belief = policy.posterior(listings)
    profile = policy.profile(belief)
    usual, listings = listings, policy.placed(listings)
    ladders = policy.ladders(listings, profile)
    minor = ladders.prices[:, ladders.allowed[0]]
    prices = minor / subjects.per_major[:, None]
    estimates, _ = policy.estimate(listings, profile, prices)
    alone = Estimates(*(getattr(estimates, name)[0] for name in Estimates.__slots__))
    low, high = policy.interval(listings, belief, prices[0], alone)
    cost = subjects.number["unit_cost"]
    margin = (prices - np.nan_to_num(cost)[:, None])[0]
    middle, middle_sd = bandit.guesses.middle(subjects)
    parts = policy.contributions(usual, _uninformed(listings.context, middle, middle_sd), prices)
    totals = policy.evidence.totals_of(row)[0].tolist()
    return {
        "listing_id": listing_id,
        "currency": subjects.currency[0],
        "objective": objectives(subjects)[0] or ("revenue" if np.isnan(cost[0]) else "profit"),
        "model_version": bandit.fold.version,
        "impressions": int(totals[1]),
        "units": int(totals[0]),
        "guess": {"price": float(np.exp(guess[0])), "log_sd": float(sd[0])},
        # times the usual
        "today": {
            "demand": float(policy.forecast(usual)[0]),
            "worth": float(np.exp((listings.anchor - usual.anchor)[0])),
        },
        "curve": _curve(prices[0], (margin, listings.gain(prices)[0]), estimates, low, high, parts),
    }


def _curve(
    prices: NDArray[np.float64],
    worth: tuple[NDArray[np.float64], NDArray[np.float64]],
    estimates: Estimates,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    parts: dict[str, NDArray[np.float64]],
) -> list[dict[str, Any]]:
    """Points of the curve; `worth` of a unit sold: its profit, and what the objective gains."""
    return [
        {
            "price": float(price),
            "units_per_impression": {"estimate": u, "low": lo, "high": hi},
            "profit_per_impression": {"estimate": u * m, "low": lo * m, "high": hi * m},
            "gain_per_impression": {"estimate": u * g, "low": lo * g, "high": hi * g},
            "contributions": {name: float(part[0, i]) for name, part in parts.items()},
        }
        for i, (price, m, g, u, lo, hi) in enumerate(
            zip(
                prices.tolist(),
                *(unit.tolist() for unit in worth),
                estimates.mean[0].tolist(),
                low.tolist(),
                high.tolist(),
                strict=True,
            )
        )
    ]


def _uninformed(
    context: Context, middle: NDArray[np.float64], middle_sd: NDArray[np.float64]
) -> Context:
    nan = np.full(len(middle), np.nan)
    return Context(
        np.zeros_like(context.text),
        np.zeros_like(context.market_text),
        nan,
        middle,
        middle_sd,
        nan,
        nan,
        nan,
        np.zeros(len(middle)),
        context.at,
        context.category,
        np.full_like(context.words, -1),
    )


def decision(source: log.Log, listing_ids: list[str], decision_id: str) -> dict[str, Any]:
    """Everything that decided a price, and its outcomes so far.

    Args:
        listing_ids: of every catalogue row.

    Raises:
        Problem: 404, there is no such decision.
    """
    key = ids.canonical(decision_id)
    d, o = log.decisions, log.outcomes
    with source.engine.connect() as conn:
        row = conn.execute(d.select().where(d.c.id == key)).one_or_none() if key else None
        if row is None:
            raise Problem(404, f"decision_id is {decision_id!r:.80}: unknown")
        came = conn.execute(o.select().where(o.c.decision_id == key).order_by(o.c.seq)).all()
    per_major = int(minor_per_major([row.currency])[0])
    ladder = np.frombuffer(row.ladder, np.int64) / per_major
    return {
        "decision_id": row.id,
        "listing_id": listing_ids[row.listing],
        **_present(request_id=row.request_id, unit=row.unit, family=row.family),
        "decided_at": rfc3339(row.at),
        "policy": row.policy,
        **_present(experiment=row.experiment),
        "model_version": row.model_version,
        "features_version": row.features_of,
        "features_hash": hashlib.sha256(row.features).hexdigest(),
        "market": orjson.loads(row.market) if row.market else {},
        **_present(unit_cost=row.unit_cost),
        "price": row.price / per_major,
        "currency": row.currency,
        "arm": row.arm,
        "ladder": ladder.tolist(),
        **_present(
            expected_gains=row.expected_gains
            and np.frombuffer(row.expected_gains, np.float64).tolist()
        ),
        "scores": np.frombuffer(row.scores, np.float64).tolist(),
        "propensities": np.frombuffer(row.propensities, np.float64).tolist(),
        "propensity": row.propensity,
        **_present(drawn_with=row.drawn_with),
        "uniform": float(uniforms(ids.as_words([row.drawn_with or row.id]))[0]),
        "expected": {
            "units_per_impression": row.units_per_impression,
            "profit_per_impression": row.profit_per_impression,
            "low": row.low,
            "high": row.high,
            **_present(gain_per_impression=_gain(row, row.price / per_major)),
        },
        "guardrails": row.guardrails.split(),
        **_present(
            lowest=None if row.lowest is None else row.lowest / per_major,
            highest=None if row.highest is None else row.highest / per_major,
        ),
        "degraded": row.degraded is not None,
        **_present(
            reason=row.degraded,
            objective=row.objective and orjson.loads(row.objective),
            plan=row.plan and orjson.loads(row.plan),
        ),
        "outcomes": [
            {
                "outcome_id": outcome.outcome_id,
                "revision": outcome.revision,
                "impressions": outcome.impressions,
                "units": outcome.units,
                "returned_units": outcome.returned_units,
                "occurred_at": rfc3339(outcome.occurred_at),
                "received_at": rfc3339(outcome.received_at),
            }
            for outcome in came
        ],
    }


def _gain(row: sa.Row[Any], price: float) -> float | None:
    """What a logged decision's own objective makes of an impression, None where it has none."""
    if row.objective is None:
        return None
    weights = np.array([weights_of(orjson.loads(row.objective))])
    gain = Objective(*weights.T).gain(np.array([[price]]), np.array([[row.unit_cost or 0.0]]))
    return float(gain[0, 0] * row.units_per_impression)


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
