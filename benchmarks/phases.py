"""The time of a price request by phase, in this process: no HTTP, no other thread.

Run by `serving.py --phases`, on the state that it leaves.
"""

import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import orjson
import sqlalchemy as sa

from service import pricing, reading
from service.pricebandit import Pricebandit
from service.settings import Settings

PHASES = {
    "read": "parse and validate the body",
    "decide": "gather, guess, choose, spell out",
    "write": "insert into the log",
    "commit": "until it is on the disk",
    "apply": "note it in memory",
    "answer": "put the answer into JSON",
}


class _Stopwatch:
    """Time spent in the log's statements."""

    def __init__(self, engine: sa.Engine) -> None:
        self.spent = 0.0
        sa.event.listen(engine, "before_execute", self._begin)
        sa.event.listen(engine, "after_execute", self._end)

    def _begin(self, *_: object) -> None:
        self._since = time.perf_counter()

    def _end(self, *_: object) -> None:
        self.spent += time.perf_counter() - self._since


def phases(bandit: Pricebandit, body: bytes, inside: _Stopwatch) -> dict[str, float]:
    """Seconds of each phase for one request."""
    at = [time.perf_counter()]
    asked = reading.price_requests(body)
    at.append(time.perf_counter())
    market = pricing.embed_markets(bandit, asked.items)
    batch = pricing.PriceBatch(asked.items, *market, asked.explore, asked.record, None)
    inside.spent = 0.0
    with bandit.log.transaction() as conn:
        pending = pricing.price(bandit, conn, [batch])
        at.append(time.perf_counter())
    at.append(time.perf_counter())
    pending.apply()
    at.append(time.perf_counter())
    orjson.dumps(pending.answers[0])
    at.append(time.perf_counter())
    read, carried, commit, apply, answer = (b - a for a, b in pairwise(at))
    return {
        "read": read,
        "decide": carried - inside.spent,
        "write": inside.spent,
        "commit": commit,
        "apply": apply,
        "answer": answer,
    }


def report(state: Path, embeddings: Path, batch: int, rounds: int) -> None:
    """Time batches of the listings that the state has, and print the medians."""
    bandit = Pricebandit(Settings(home=state, embeddings=embeddings))
    try:
        inside = _Stopwatch(bandit.log.engine)
        names = bandit.catalogue.listing_id
        bodies = [_body(names[i : i + batch]) for i in range(0, len(names), batch)]
        phases(bandit, bodies[0], inside)
        taken = [phases(bandit, body, inside) for _ in range(rounds) for body in bodies]
    finally:
        bandit.close()
    median = {name: statistics.median(t[name] for t in taken) for name in PHASES}
    total = sum(median.values())
    print(f"\nphases of a request of {batch:,}, in one thread: {1e3 * total:.1f} ms")
    for name, meaning in PHASES.items():
        print(f"  {name:7} {1e3 * median[name]:7.2f} ms {median[name] / total:5.0%}  {meaning}")


def _body(names: Sequence[str]) -> bytes:
    market = {"competitor_price": 9.5, "traffic": 120}
    requests = [{"listing_id": name, "market": market, "unit": "day"} for name in names]
    return orjson.dumps({"requests": requests})
