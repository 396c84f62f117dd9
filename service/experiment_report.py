"""What an A/B test says so far, from the log, which is only read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa

from bandits import minor_per_major
from evaluation.experiments import compare
from service import experiments, ids, log
from service.experiments import CONTROL, TREATMENT, Experiment
from service.fields import microseconds, utc_date
from service.problems import Problem

BEFORE_DAYS = 28
"""Days before the first, whose profit by unit takes variance out of the comparison."""

_DAY_US = 86_400_000_000
_PART = 10_000  # rows
_d = log.decisions.c


def report(
    engine: sa.Engine,
    name: str,
    at_us: int,
    currency: str | None = None,
    lag_days: int = 0,
) -> dict[str, Any]:
    """An experiment and its result, ready for JSON; without a result while no arm has impressions.

    Args:
        at_us: now, microseconds since 1970 UTC. currency: needed where units have several.
        lag_days: days after a period until its sales are all told; younger periods do not count.

    Raises:
        Problem: 404, there is no such experiment; 422, the currency is none of its, or is needed;
            409, its rows cannot be compared, and why.
    """
    experiment = experiments.named(experiments.all_of(engine), name)
    found = experiment.as_json(at_us)
    until = _over(experiment, at_us, lag_days)
    days = _days(engine, experiment, until)
    seen = days["currency"].unique().sort().to_list()
    if currency is not None and currency not in seen:
        # it may have it of days that do not count yet; where it has nothing, it may yet get it
        there = _currencies(engine, experiment)
        if there and currency not in there:
            has = ", ".join(there)
            raise Problem(422, f"currency is {currency!r:.80}: the experiment has {has}")
    if currency is None and len(seen) > 1:
        raise Problem(
            422, f"the experiment has {', '.join(seen)}: their money has no sum, name a currency"
        )
    table = _units(days if currency is None else days.filter(currency=currency), experiment)
    found |= {
        "currency": currency or (seen[0] if seen else None),
        "counted_until": until.isoformat(),
    }
    arms = table.filter(pl.col("impressions") > 0)["arm"]
    if arms.n_unique() < 2:
        reason = (
            f"Too early to say anything: of periods that are over there are impressions of "
            f"{arms.n_unique()} of 2 arms."
        )
        if not seen and until > experiment.first_day:
            reason += (
                " Only listings with a reference_price take part, in families those whose members "
                "have the same one, asked about without a unit."
            )
        return {**found, "verdict": reason}
    before = _before(engine, experiment, found["currency"])
    if before.height:
        known = before.select(pl.col("profit").sum() / pl.col("impressions").sum()).item()
        each = before.select("unit", before=pl.col("profit") / pl.col("impressions"))
        table = table.join(each, on="unit", how="left").with_columns(
            pl.col("before").fill_null(known)
        )
    try:
        result = compare(
            table, CONTROL, TREATMENT, experiment.shares,
            covariate="before" if before.height else None,
        )  # fmt: skip
    except ValueError as error:
        raise Problem(409, f"experiment {name!r:.80} cannot be read: {error}") from None
    numbers = asdict(result)
    del numbers["control"], numbers["treatment"]
    if not math.isfinite(result.high - result.low):  # a difference that could be any is none yet
        numbers |= dict.fromkeys(("difference", "low", "high"))
        return {**found, "verdict": result.verdict, "lift": None, **numbers}
    earned = abs(result.profit_per_impression[CONTROL]) or math.nan
    ends = {name: numbers[name] / earned for name in ("low", "high")}
    lift = {"value": result.difference / earned, **ends}
    return {**found, "verdict": result.verdict, "lift": lift, **numbers}


def _over(experiment: Experiment, at_us: int, lag_days: int) -> date:
    """First day of the first period that does not count yet."""
    ends = utc_date(at_us) - timedelta(lag_days)
    if experiment.stopped_at is not None:
        ends = min(ends, utc_date(experiment.stopped_at))
    last = experiment.last_day
    # a last day within a week ends that week's period
    until = experiment.period_of(ends) if last is None or ends <= last else last + timedelta(1)
    return max(until, experiment.first_day)


def _currencies(engine: sa.Engine, experiment: Experiment) -> list[str]:
    """Those of all of an experiment's decisions, sorted."""
    first = ids.lowest(microseconds(experiment.first_day))
    query = sa.select(_d.currency).distinct().where(_d.id >= first)
    with engine.connect() as conn:
        found = conn.scalars(query.where(_d.experiment == experiment.name)).all()
    return sorted(found)


def _days(engine: sa.Engine, experiment: Experiment, until: date) -> pl.DataFrame:
    """Sums of an experiment's decisions by unit, day, arm and currency."""
    return _sums(engine, microseconds(experiment.first_day), microseconds(until), experiment.name)


def _units(days: pl.DataFrame, experiment: Experiment) -> pl.DataFrame:
    """One row a unit and period, as `compare` reads them."""
    # weeks are polars' own, from Monday on
    period = pl.from_epoch("day", "d").dt.truncate("1w" if experiment.period == "week" else "1d")
    return (
        days.with_columns(period=period)
        .group_by("unit", "period", "arm")
        .agg(pl.col("profit").sum(), pl.col("impressions").sum())
    )


def _before(engine: sa.Engine, experiment: Experiment, currency: str) -> pl.DataFrame:
    """Profit and impressions of units before the first day, of those that had any."""
    first = experiment.first_day
    since = microseconds(first - timedelta(BEFORE_DAYS))
    days = _sums(engine, since, microseconds(first), None)
    sums = days.filter(currency=currency).group_by("unit")
    found = sums.agg(pl.col("profit").sum(), pl.col("impressions").sum())
    return found.filter(pl.col("impressions") > 0)


def _sums(engine: sa.Engine, since: int, until: int, name: str | None) -> pl.DataFrame:
    """Impressions and profit by unit, day, arm and currency, of decisions of a time.

    Args:
        since, until: microseconds since 1970 UTC, the latter not included.
        name: of the experiment that they took part in; None for all decisions.
    """
    outcomes = log.told_by_decision(ids.lowest(since))
    day = (_d.at // _DAY_US).label("day")
    # a cost that is unknown counts as nothing, as it does where prices are chosen
    net = outcomes.c.units - outcomes.c.returned
    cost = sa.func.coalesce(_d.unit_cost, 0.0)
    keys = _d.family, log.listings.c.listing_id, day, _d.policy, _d.currency
    query = (
        sa.select(
            *keys,
            sa.func.sum(sa.func.coalesce(outcomes.c.impressions, 0)),
            sa.func.sum(sa.cast(net * _d.price, sa.Double)),
            sa.func.sum(net * cost),
        )
        .select_from(
            log.decisions.join(log.listings, log.listings.c.row == _d.listing).outerjoin(
                outcomes, outcomes.c.decision_id == _d.id
            )
        )
        # ids rise with time, and never fall behind it
        .where(_d.id >= ids.lowest(since), _d.at >= since, _d.at < until)
        .group_by(*keys)
    )
    if name is not None:
        query = query.where(_d.experiment == name)
    # in parts: whoever turns a million rows at once holds up all prices
    with engine.connect().execution_options(stream_results=True) as conn:
        parts = [_summed(part) for part in conn.execute(query).partitions(_PART)]
    return pl.concat(parts or [_summed([])])


def _summed(rows: Sequence[Any]) -> pl.DataFrame:
    """Rows of `_sums` as the table that it returns."""
    family, listing, days, policy, currency, impressions, taken, spent = (
        zip(*rows, strict=True) if rows else [()] * 8
    )
    minor = minor_per_major(list(currency)).tolist() if rows else list[int]()
    units = [experiments.unit_of(f, i) for f, i in zip(family, listing, strict=True)]
    frame = pl.DataFrame(
        {
            "unit": pl.Series(units, dtype=pl.String),
            "day": pl.Series(days, dtype=pl.Int64),
            "arm": pl.Series(policy, dtype=pl.String),
            "currency": pl.Series(currency, dtype=pl.String),
            "impressions": pl.Series([int(n) for n in impressions], dtype=pl.Int64),
            "taken": pl.Series([float(t or 0) for t in taken], dtype=pl.Float64),
            "spent": pl.Series([float(s or 0) for s in spent], dtype=pl.Float64),
            "minor": pl.Series(minor, dtype=pl.Float64),
        }
    )
    return frame.with_columns(profit=pl.col("taken") / pl.col("minor") - pl.col("spent"))
