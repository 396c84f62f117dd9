"""Decisions per second over HTTP, durable, beside a bare FastAPI route in the same run.

Both are one uvicorn process. The service runs with its default settings on SQLite; the bare route
parses the same bodies and answers with as many constant decisions of the same size, and does
nothing else. Rounds of the two alternate, so that a noisy neighbour harms both; figures are medians
of the rounds, with their range, and ratios are medians of the rounds' ratios.

Run: python benchmarks/serving.py [--listings 10000] [--batch 1000] [--rounds 9] [--phases]
"""

import argparse
import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
from titles import titles

CONCURRENCY = (1, 4)


def bare(port: int, answer: Path) -> None:
    """Serve the bare route: the JSON is parsed, a constant is put into JSON."""
    import uvicorn
    from fastapi import FastAPI, Request, Response

    app = FastAPI()
    constant = orjson.loads(answer.read_bytes())

    @app.post("/v1/prices")
    async def prices(request: Request) -> Response:
        asked = orjson.loads(await request.body())
        decisions = constant["decisions"][: len(asked["requests"])]
        body = orjson.dumps({**constant, "decisions": decisions})
        return Response(body, media_type="application/json")

    uvicorn.run(app, port=port, access_log=False, log_level="warning")


@contextmanager
def served(command: Sequence[object], port: int, environment: dict[str, str]) -> Iterator[Any]:
    """A server as long as the block runs; gives its process."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                if post(connect(port), "/readyz", None)[0] != 503:
                    break  # ready, or the bare server, which has no such path
            except OSError:
                pass
            if process.poll() is not None:
                raise SystemExit(f"{command} ended: run it by hand to see why")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=600)


def post(
    connection: http.client.HTTPConnection, path: str, body: bytes | None
) -> tuple[int, bytes]:
    """Status and body of an answer; GET where there is no body."""
    headers = {"content-type": "application/json"}
    connection.request("GET" if body is None else "POST", path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def until_learned(port: int) -> None:
    """Wait until the service has learned from the catalogue as a whole."""
    while orjson.loads(post(connect(port), "/readyz", None)[1])["learning"]:
        time.sleep(0.1)


def fresh(home: Path) -> tuple[Path, dict[str, str]]:
    """An empty folder of state under `home`, and an environment whose embeddings are kept there."""
    state = home.absolute() / "state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    return state, {"PRICEBANDIT_EMBEDDINGS": str(home.absolute() / "embeddings")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listings(n: int) -> list[dict[str, Any]]:
    chance = np.random.default_rng(2)
    cost = chance.lognormal(1.5, 0.7, n).round(2)
    price = (cost * chance.uniform(1.3, 3.0, n)).round(2)
    return [
        {
            "listing_id": f"listing-{i}",
            "title": title,
            "currency": "GBP",
            "unit_cost": max(float(cost[i]), 0.01),
            "reference_price": max(float(price[i]), 0.02),
        }
        for i, title in enumerate(titles(n))
    ]


def batches(name: str, items: Sequence[dict[str, Any]], size: int) -> list[bytes]:
    return [orjson.dumps({name: items[i : i + size]}) for i in range(0, len(items), size)]


def prepare(port: int, given: argparse.Namespace) -> tuple[list[bytes], bytes]:
    """Register listings and report a day's sales: bodies that ask for prices, and an answer."""
    connection = connect(port)
    goods = listings(given.listings)
    start = time.perf_counter()
    for i, body in enumerate(batches("listings", goods, given.batch)):
        status, answer = post(connection, "/v1/listings", body)
        assert status == 200, answer
        print(f"\rregistered {(i + 1) * given.batch:,} of {len(goods):,}", end="", file=sys.stderr)
    print(f" in {time.perf_counter() - start:.1f} s", file=sys.stderr)
    chance = np.random.default_rng(3)
    requests = [
        {
            "listing_id": listing["listing_id"],
            "market": {
                "competitor_price": round(listing["reference_price"] * chance.uniform(0.8, 1.2), 2),
                "traffic": int(chance.integers(1, 500)),
            },
            "unit": "day",
        }
        for listing in goods
    ]
    bodies = batches("requests", requests, given.batch)
    answers = [post(connection, "/v1/prices", body)[1] for body in bodies]
    outcomes = [
        {
            "decision_id": decision["decision_id"],
            "outcome_id": "day",
            "impressions": 100,
            "units": int(chance.binomial(100, 0.04)),
        }
        for answer in answers
        for decision in orjson.loads(answer)["decisions"]
    ]
    start = time.perf_counter()
    for body in batches("outcomes", outcomes, given.batch):
        status, answer = post(connection, "/v1/outcomes", body)
        assert status == 200, answer
        assert not orjson.loads(answer)["errors"], answer[:500]
    print(f"outcomes: {len(outcomes) / (time.perf_counter() - start):,.0f}/s", file=sys.stderr)
    until_learned(port)
    return bodies, answers[0]


@dataclass
class Round:
    """Decisions per second and per CPU-second of the server, and the client's share of a core."""

    rate: float
    per_cpu: float
    client: float


def measure(port: int, process: Any, bodies: Sequence[bytes], workers: int) -> Round:
    """Price everything once, `workers` requests at a time."""
    connections = [connect(port) for _ in range(workers)]

    def send(number: int) -> list[tuple[int, bytes]]:
        return [post(connections[number], "/v1/prices", b) for b in bodies[number::workers]]

    with ThreadPoolExecutor(workers) as pool:
        used, start, own = process.cpu_times(), time.perf_counter(), time.process_time()
        answers = [answer for part in pool.map(send, range(workers)) for answer in part]
        wall, mine = time.perf_counter() - start, time.process_time() - own
        after = process.cpu_times()
    cpu = after.user + after.system - used.user - used.system
    assert all(status == 200 for status, _ in answers)
    decided = sum(body.count(b'"decision_id"') for _, body in answers)
    assert decided == sum(body.count(b'"listing_id"') for body in bodies), "some were not priced"
    return Round(decided / wall, decided / cpu, mine / wall)


def middle(values: Sequence[float], form: str = ",.0f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def compare(given: argparse.Namespace, state: Path, environment: dict[str, str]) -> None:
    """Measure the service and the bare route, round by round."""
    port, bare_port = free_port(), free_port()
    serve = ["-m", "service.cli", "serve", "--port", port, "--home", state]
    with served(serve, port, environment) as ours:
        bodies, answer = prepare(port, given)
        kept = state / "answer.json"
        kept.write_bytes(answer)
        with served([__file__, "--bare", bare_port, "--answer", kept], bare_port, {}) as theirs:
            print(
                f"{given.listings:,} listings, batches of {given.batch:,}, {given.rounds} rounds; "
                f"a request is {len(bodies[0]) / given.batch:.0f} bytes a decision, "
                f"an answer {len(answer) / given.batch:.0f}"
            )
            for workers in CONCURRENCY:
                pairs = []
                for i in range(given.rounds + 1):
                    pair = (
                        measure(port, ours, bodies, workers),
                        measure(bare_port, theirs, bodies, workers),
                    )
                    if i:  # the first one warms up
                        pairs.append(pair)
                print(f"\nconcurrency {workers}")
                for name, side in (("service", [p[0] for p in pairs]),
                                   ("bare", [p[1] for p in pairs])):  # fmt: skip
                    print(
                        f"  {name:8} {middle([r.rate for r in side])} decisions/s, "
                        f"{middle([r.per_cpu for r in side])} a CPU-second; client at "
                        f"{statistics.median(r.client for r in side):.0%} of a core"
                    )
                ratio = [mine.rate / other.rate for mine, other in pairs]
                cpu = [mine.per_cpu / other.per_cpu for mine, other in pairs]
                print(f"  ratio    {middle(ratio, '.3f')}; a CPU-second {middle(cpu, '.3f')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listings", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--home", type=Path, default=Path(".pricebandit-bench"),
                        help="its embeddings are kept for the next run")  # fmt: skip
    parser.add_argument("--phases", action="store_true", help="also time the parts of a request")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        bare(given.bare, given.answer)
        return
    state, environment = fresh(given.home)
    compare(given, state, environment)
    if given.phases:
        from phases import report

        report(state, given.home / "embeddings", given.batch, given.rounds)


if __name__ == "__main__":
    main()
