"""Days of a shop told one by one, at noon of days from `FIRST` on."""

import numpy as np
import sqlalchemy as sa

from service import insight, outcomes, pricebandit, pricing

DAY_US = 86_400_000_000
FIRST = 20_600  # days since 1970


def clock_of(monkeypatch):
    """What sets the service's clock to a day."""

    def at(day):
        for module in (pricing, outcomes, pricebandit, insight):
            monkeypatch.setattr(module, "now_us", lambda: (FIRST + day) * DAY_US + DAY_US // 2)

    return at


def sell(bandit, drive, ids, impressions, units_at):
    """Price listings and tell what `units_at` their prices, (n,), was sold; what was told."""
    decisions = drive.prices(bandit, *({"listing_id": i} for i in ids))
    units = units_at(np.array([d["price"] for d in decisions])).tolist()
    told = [
        {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": impressions, "units": u}
        for d, u in zip(decisions, units, strict=True)
    ]
    assert drive.outcomes(bandit, *told)["errors"] == []
    return told


def logged(bandit, column, shape):
    """A column of the log day by day, `shape` (days, listings)."""
    with bandit.log.engine.connect() as conn:
        found = conn.execute(sa.select(column)).scalars().all()
    return np.array(found, np.float64).reshape(shape)
