"""How prices go on while the service learns from what sold.

Run: python benchmarks/learning.py [--listings 10000] [--outcomes 30000]
One uvicorn process with default settings on SQLite, durable. One caller prices 100 listings at a
time without pause; after some seconds of that another reports outcomes of earlier decisions, a
thousand at a time, and the service learns from them: each into the statistics, and, once enough is
new, the catalogue as a whole. Latencies before, until all is learned, and later are of one run.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import orjson
from caller import Caller
from serving import batches, connect, free_port, fresh, listings, post, served, until_learned

BATCH, CALM = 1_000, 8.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listings", type=int, default=10_000)
    parser.add_argument("--outcomes", type=int, default=30_000)
    parser.add_argument("--home", type=Path, default=Path(".pricebandit-bench"),
                        help="its embeddings are kept for the next run")  # fmt: skip
    given = parser.parse_args()
    state, environment = fresh(given.home)
    port = free_port()
    command = ["-m", "service.cli", "serve", "--port", port, "--home", state]
    with served(command, port, environment):

        def told(path: str, bodies: list[bytes]) -> list[dict[str, list[dict[str, str]]]]:
            connection = connect(port)  # an idle one is closed after some seconds
            answers = [post(connection, path, body) for body in bodies]
            assert all(status == 200 for status, _ in answers), answers[0][1][:500]
            return [orjson.loads(answer) for _, answer in answers]

        goods = listings(given.listings)
        told("/v1/listings", batches("listings", goods, BATCH))
        names = [str(listing["listing_id"]) for listing in goods]
        decided: list[str] = []
        while len(decided) < given.outcomes:
            asked = [{"listing_id": name} for name in names[: given.outcomes - len(decided)]]
            for answer in told("/v1/prices", batches("requests", asked, BATCH)):
                decided += [decision["decision_id"] for decision in answer["decisions"]]
        chance = np.random.default_rng(3)
        outcomes = [
            {"decision_id": name, "outcome_id": "day", "impressions": 100, "units": units}
            for name, units in zip(decided, chance.binomial(100, 0.04, len(decided)).tolist(),
                                   strict=True)
        ]  # fmt: skip
        print(f"{len(names):,} listings, {len(outcomes):,} outcomes to learn from", file=sys.stderr)
        caller = Caller(f"http://127.0.0.1:{port}", names)
        begin = time.monotonic()
        caller.start()
        time.sleep(CALM)
        start = time.monotonic()
        told("/v1/outcomes", batches("outcomes", outcomes, BATCH))
        told_all = time.monotonic()
        until_learned(port)
        end = time.monotonic()
        time.sleep(CALM)
        caller.stopping.set()
        caller.join()
        print(
            f"{len(outcomes) / (told_all - start):,.0f} outcomes a second, learned from after "
            f"{end - start:.1f} s; {caller.failed} requests failed"
        )
        print("before:    ", caller.between(begin, start))
        print("learning:  ", caller.between(start, end))
        print("afterwards:", caller.between(end, end + CALM))


if __name__ == "__main__":
    main()
