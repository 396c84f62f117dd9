"""The time of a price request by phase, in this process: no HTTP, no other thread.

Run by `serving.py --phases`, on the state that it leaves.
"""

import gc
import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import orjson
import sqlalchemy as sa
import torch
from threadpoolctl import threadpool_limits

from service import pricing, reading
from service.pricebandit import Pricebandit
from service.settings import Settings

PHASES = {
    "read": "parse and validate the body",
    "markets": "spell out market texts, embed those that there are",
    "decide": "gather, guess, choose, spell out",
    "write": "insert into the log",
    "commit": "until it is on the disk",
    "apply": "note it in memory",
    "answer": "put the answer into JSON",
}


class _Timed:
    """A connection that adds up the time of its statements."""

    def __init__(self, conn: sa.Connection) -> None:
        self._conn, self.spent = conn, 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._conn, name)
        if name not in ("execute", "exec_driver_sql", "scalar"):
            return found

        def timed(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return found(*given, **named)
            finally:
                self.spent += time.perf_counter() - start

        return timed


def phases(bandit: Pricebandit, body: bytes) -> dict[str, float]:
    """Seconds of each phase for one request."""
    at = [time.perf_counter()]
    asked = reading.price_requests(body)
    at.append(time.perf_counter())
    market = pricing.embed_markets(bandit, asked.items)
    batch = pricing.PriceBatch(
        asked.items, *market, asked.explore, asked.record, None, bandit.space
    )
    at.append(time.perf_counter())
    with bandit.log.transaction() as conn:
        inside = _Timed(conn)
        pending = pricing.price(bandit, cast(sa.Connection, inside), [batch])
        at.append(time.perf_counter())
    at.append(time.perf_counter())
    pending.apply()
    at.append(time.perf_counter())
    orjson.dumps(pending.answers[0])
    at.append(time.perf_counter())
    read, markets, carried, commit, apply, answer = (b - a for a, b in pairwise(at))
    return {
        "read": read,
        "markets": markets,
        "decide": carried - inside.spent,
        "write": inside.spent,
        "commit": commit,
        "apply": apply,
        "answer": answer,
    }


def report(state: Path, embeddings: Path, batch: int, rounds: int) -> None:
    """Time batches of the listings that the state has, and print the medians."""
    gc.set_threshold(100_000, 50, 100)  # all three as `serve` does
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    bandit = Pricebandit(Settings(home=state, embeddings=embeddings))
    try:
        names = bandit.catalogue.listing_id
        bodies = [_body(names[i : i + batch]) for i in range(0, len(names), batch)]
        phases(bandit, bodies[0])
        taken = [phases(bandit, body) for _ in range(rounds) for body in bodies]
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
