"""A caller that prices listings without pause, and how long each of its requests took."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np

BATCH = 100


class Caller(threading.Thread):
    """Prices listings drawn at random until stopped.

    Attributes:
        took: when each request began (monotonic), and how long it took, seconds. failed: requests
            that were not answered with prices.
    """

    def __init__(self, url: str, listing_ids: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._api, self._names = httpx.Client(base_url=url, timeout=120), listing_ids
        self.took: list[tuple[float, float]] = []
        self.failed = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        stream = np.random.default_rng(1)
        while not self.stopping.is_set():
            start = time.monotonic()
            rows = stream.integers(0, len(self._names), BATCH).tolist()
            asked = requests([self._names[row] for row in rows])
            answer = self._api.post("/v1/prices", json=asked)
            self.took.append((start, time.monotonic() - start))
            self.failed += answer.status_code != 200

    def between(self, start: float, end: float) -> str:
        """Latencies of the requests that began in a time, in words."""
        took = np.array([t for at, t in self.took if start <= at < end])
        if not took.size:
            return "no request"
        p50, p99 = np.quantile(took, (0.5, 0.99))
        return (
            f"{len(took):5} requests, median {1e3 * p50:4.0f} ms, 99 % {1e3 * p99:4.0f} ms, "
            f"longest {1e3 * took.max():4.0f} ms"
        )


def requests(listing_ids: Sequence[str]) -> dict[str, Any]:
    """Price requests for listings."""
    return {"requests": [{"listing_id": name} for name in listing_ids]}
