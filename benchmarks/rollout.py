"""How prices go on while another model is prepared and switched to.

Run: python benchmarks/rollout.py ADAPTER [--listings 20000]
The service runs over HTTP in this process, on SQLite, durable; one caller prices 100 listings at a
time without pause. Vectors are drawn from each text's hash, one after the other as an encoder
gives them: how fast an encoder encodes is not what is asked. Latencies before, while the model is
prepared, and around the switch are of one run.
"""

import argparse
import tempfile
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from caller import BATCH, Caller, requests
from numpy.typing import NDArray

from encoders import Encoder
from service.app import create_app
from service.settings import Settings

PART, PRICED = 5_000, 10_000


def drawn(self: Encoder, texts: Sequence[str], progress: object = None) -> NDArray[np.float32]:
    """Unit vectors of texts, (n, d), that differ from model to model."""
    salt = int(self.fingerprint[:8], 16)
    seeds = [(salt, zlib.crc32(text.encode())) for text in texts]
    rows = [np.random.default_rng(seed).standard_normal(self.dim) for seed in seeds]
    vectors = np.array(rows).reshape(len(texts), self.dim)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def names(rows: NDArray[np.int64]) -> list[str]:
    """Ids of listings by number."""
    return [f"L{row}" for row in rows.tolist()]


def fill(api: httpx.Client, listings: int) -> None:
    """Register listings, price some of them, and report what sold."""
    stream = np.random.default_rng(0)
    for start in range(0, listings, PART):
        part = [
            {"listing_id": f"L{i}", "title": f"thing {i}", "currency": "GBP", "unit_cost": 2,
             "reference_price": 5 + i % 20}
            for i in range(start, min(start + PART, listings))
        ]  # fmt: skip
        api.post("/v1/listings", json={"listings": part}).raise_for_status()
    for start in range(0, min(listings, PRICED), PART):
        rows = np.arange(start, min(start + PART, listings, PRICED))
        decisions = api.post("/v1/prices", json=requests(names(rows))).raise_for_status().json()
        outcomes = [
            {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 100,
             "units": int(stream.integers(0, 9))}
            for d in decisions["decisions"]
        ]  # fmt: skip
        api.post("/v1/outcomes", json={"outcomes": outcomes}).raise_for_status()


def until(api: httpx.Client, version: str, state: str) -> float:
    """Wait for a model; when it was there."""
    while True:
        models = api.get("/v1/models").json()["models"]
        model = next(model for model in models if model["version"] == version)
        if model["state"] == state:
            return time.monotonic()
        if model["state"] == "failed":
            raise SystemExit(model["reason"])
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--listings", type=int, default=20_000)
    given = parser.parse_args()
    Encoder.encode = drawn  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as home:
        application = create_app(Settings(home=Path(home)))
        server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning"))
        serving = threading.Thread(target=server.run)
        serving.start()
        while not server.started:
            time.sleep(0.05)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        api = httpx.Client(base_url=url, timeout=120)
        while api.get("/readyz").status_code != 200:
            time.sleep(0.05)
        fill(api, given.listings)
        # answered once the service has learned from what sold
        api.post("/v1/prices", json=requests(names(np.arange(BATCH)))).raise_for_status()
        caller = Caller(url, names(np.arange(given.listings)))
        begin = time.monotonic()
        caller.start()
        time.sleep(5)
        staged = time.monotonic()
        folder = str(given.adapter.resolve())
        version = api.post("/v1/models", json={"adapter": folder}).raise_for_status()
        name = version.json()["version"]
        ready = until(api, name, "ready")
        time.sleep(3)
        asked = time.monotonic()
        api.post(f"/v1/models/{name}/activate").raise_for_status()
        active = until(api, name, "active")
        time.sleep(3)
        caller.stopping.set()
        caller.join()
        print(f"{given.listings} listings; prepared in {ready - staged:.0f} s, then switched in "
              f"{active - asked:.1f} s; {caller.failed} requests failed")  # fmt: skip
        print("before:    ", caller.between(begin, staged))
        print("preparing: ", caller.between(staged, ready))
        print("the switch:", caller.between(asked, active + 1))
        server.should_exit = True
        serving.join()  # before its home is gone


if __name__ == "__main__":
    main()
