"""Starting and stopping A/B tests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import sqlalchemy as sa

from service import log
from service.experiments import DAYS, Experiment, earliest, named
from service.pricebandit import Pending, Pricebandit, now_us
from service.problems import Problem


def start(bandit: Pricebandit, conn: sa.Connection, asked: Sequence[Experiment]) -> Pending:
    """Begin experiments, each on its first day; `listings` in the answers are those that have a
    reference price now.

    Raises:
        Problem: 422, it would begin today or earlier, amid prices of its own first day; 409, there
            is one of its name or one in its days.
    """
    at, known = now_us(), list(bandit.experiments)
    for new in asked:
        _check(new, known, at)
        known.append(new)
    rows = [
        {
            "name": new.name,
            "share": new.share,
            "period": new.period,
            "first_day": new.first_day.isoformat(),
            "last_day": new.last_day and new.last_day.isoformat(),
            "started_at": at,
            "stopped_at": None,
        }
        for new in asked
    ]
    conn.execute(log.experiments.insert(), rows)

    def apply() -> None:
        bandit.experiments = sorted(known, key=lambda one: one.first_day)

    priced = ~np.isnan(bandit.catalogue.number["reference_price"]) & bandit.catalogue.active
    able = {"listings": int(priced.sum())}
    return Pending([{**new.as_json(at), **able} for new in asked], apply)


def stop(bandit: Pricebandit, conn: sa.Connection, asked: Sequence[str]) -> Pending:
    """End experiments now: from the next price on the policy prices every unit; families keep the
    price of the day.

    Raises:
        Problem: 404, there is none of the name.
    """
    at, table = now_us(), log.experiments
    known = list(bandit.experiments)
    for name in asked:
        found = named(known, name)
        if found.state_at(at) in ("waiting", "running"):
            conn.execute(table.update().where(table.c.name == name), {"stopped_at": at})
            known[known.index(found)] = replace(found, stopped_at=at)

    def apply() -> None:
        bandit.experiments = known

    return Pending([named(known, name).as_json(at) for name in asked], apply)


def _check(new: Experiment, known: Sequence[Experiment], at_us: int) -> None:
    first = earliest(new.period, at_us)
    if new.period == "week" and new.first_day.weekday():
        monday = new.first_day + timedelta(DAYS["week"] - new.first_day.weekday())
        raise Problem(422, f"first_day is {new.first_day}, no Monday: give {max(monday, first)}")
    if new.first_day < first:
        raise Problem(
            422,
            f"first_day is {new.first_day}: prices of that {new.period} may have been decided "
            f"already, give {first.isoformat()} or later",
        )
    if new.last_day is not None and new.last_day < new.first_day:
        raise Problem(
            422, f"last_day is {new.last_day}, before first_day {new.first_day}: change one"
        )
    if any(one.name == new.name for one in known):
        raise Problem(
            409, f"name is {new.name!r:.80}: there is an experiment of this name, take another"
        )
    for one in known:
        if one.overlaps(new):
            raise Problem(
                409,
                f"experiment {one.name!r:.80} has days of it: stop that one "
                "(POST /v1/experiments/NAME/stop), or begin after its last day",
            )
