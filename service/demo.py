"""The demo: real listings, the real service over HTTP, simulated buyers, and what it earned."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from markets import RECORD_DAYS, RECORD_SEED, Buyers, History, load_catalogue, read_online_retail
from service import registering
from service.demo_report import Season, report
from service.home import held
from service.items import read_items
from service.plain_console import plain_console
from service.pricebandit import Pricebandit
from service.sales import import_sales
from service.schemas import LISTINGS
from service.settings import Settings
from service.tables import sales

KNOWN_SHARE = 0.8
_BATCH = 1000
_STARTED_WITHIN_S = 120
_FIELDS = ("title", "description", "category", "brand")


class DemoError(RuntimeError):
    """The demo could not be carried through."""


def run(data: Path | None, home: Path, days: int, seeds: list[int]) -> None:
    """Run the demo and print what came of it.

    Args:
        data: recorded sales with Online Retail's columns; None takes the shipped catalogue.
        home: kept embeddings, one folder of state per seed, and the chart.

    Raises:
        DemoError: the service did not start or did not answer.
        HomeInUse: another demo is at it in `home`, whose state is not to be taken from it.
        EncoderError: texts cannot be embedded.
        ValueError, OSError: `data` cannot be read.
    """
    console = plain_console()
    history = read_online_retail(data) if data else load_catalogue()
    console.print(
        f"{history.listings.height} listings, {history.sales.height} recorded sales"
        + "".join(f"\n  dropped {n} rows: {reason}" for reason, n in history.dropped.items() if n)
    )
    with held(home):
        seasons = []
        for seed in seeds:
            season = _season(history, data is None, home, days, seed, console)
            console.print(
                f"seed {seed}: {season.new} new listings; texts: {season.encoded} encoded, "
                f"{season.cached} found in cache"
            )
            seasons.append(season)
        report(seasons, home / "profit.png", console)


def _season(
    history: History, shipped: bool, home: Path, days: int, seed: int, console: Console
) -> Season:
    # the shipped record was made by the buyers of one seed; others would contradict what it says
    buyers = Buyers.from_history(history, RECORD_SEED if shipped else seed)
    first_day = RECORD_DAYS if shipped else 0
    known, new = history.split(KNOWN_SHARE, seed)
    place = {name: i for i, name in enumerate(history.listings["listing_id"].to_list())}
    mine = np.array([place[name] for name in new.listings["listing_id"].to_list()])
    others = np.array([place[name] for name in known.listings["listing_id"].to_list()])
    folder = home / f"seed-{seed}"
    if (folder / "log.sqlite3").exists():  # state of an earlier run: the new must be new again
        shutil.rmtree(folder)
    settings = Settings(home=folder, embeddings=home / "embeddings", database_url=None)
    with Progress(console=console, transient=True) as progress:
        start = _register(known, buyers.unit_cost[others], settings, progress)
        markup = float(np.median((buyers.recorded_price / buyers.unit_cost)[others]))
        sellers = {
            "clairvoyant": buyers.clairvoyant()[mine],
            "cost-plus": buyers.unit_cost[mine] * markup,
            # what the shop itself charged, which the service is never told
            "fixed price": buyers.recorded_price[mine],
        }
        profit = {name: np.zeros(days) for name in ("clairvoyant", "bandit", *sellers)}
        requests = _requests(new, buyers.unit_cost[mine])
        task = progress.add_task(f"seed {seed}: days", total=days)
        with _serving(settings, folder / "server.log") as client:
            for day in range(days):
                visitors = buyers.impressions(first_day + day)
                decided = _decide(client, requests, f"day {day}")
                prices = buyers.recorded_price.copy()  # of listings that are not on sale
                prices[mine] = [decision["price"] for decision in decided]
                units = buyers.sell(first_day + day, prices, visitors)
                _tell(client, decided, visitors[mine], units[mine])
                for name, price in (*sellers.items(), ("bandit", prices[mine])):
                    everywhere = buyers.recorded_price.copy()
                    everywhere[mine] = price
                    gain = buyers.profit_per_impression(everywhere)[mine]
                    profit[name][day] = float((gain * visitors[mine]).sum())
                if day == 0:
                    requests = [{"listing_id": d["listing_id"]} for d in decided]
                progress.advance(task)
    with _opened(settings) as bandit:
        encoded = len(bandit.listing_texts) - start
    return Season(seed, len(mine), profit, encoded, history.listings.height - encoded)


def _register(
    known: History, unit_cost: NDArray[np.float64], settings: Settings, progress: Progress
) -> int:
    """Register known listings with their costs and recorded sales; texts embedded before that."""
    items = read_items(LISTINGS, _documents(known, unit_cost))
    task = progress.add_task("embedding", total=len(items.rows))
    with _opened(settings) as bandit:
        start = len(bandit.listing_texts)
        embedded = registering.embed_listings(
            bandit, items, lambda done, total: progress.update(task, completed=done, total=total)
        )
        bandit.carry_out(registering.register, [embedded])
        recorded = sales(known.sales, bandit.catalogue.minor_units())
        bandit.carry_out(import_sales, [recorded])
    progress.remove_task(task)
    return start


@contextmanager
def _opened(settings: Settings) -> Iterator[Pricebandit]:
    bandit = Pricebandit(settings)
    try:
        yield bandit
    finally:
        bandit.close()


def _documents(history: History, unit_cost: NDArray[np.float64]) -> list[dict[str, Any]]:
    table = history.listings.select(
        "listing_id", "currency", *_FIELDS, pl.Series("unit_cost", np.maximum(unit_cost, 0.01))
    )
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in table.iter_rows(named=True)
    ]


def _requests(new: History, unit_cost: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The first requests: listings inline, with their costs and no reference price."""
    return [{"listing": document} for document in _documents(new, unit_cost)]


@contextmanager
def _serving(settings: Settings, log: Path) -> Iterator[httpx.Client]:
    """The real service on a free port of loopback, as long as the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service.cli", "serve"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--home", str(settings.home)]
    environment = {
        **_environment(),
        "PRICEBANDIT_EMBEDDINGS": str(settings.embeddings),
    }
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        with httpx.Client(
            trust_env=False, base_url=f"http://127.0.0.1:{port}", timeout=120
        ) as client:
            _wait(client, process, log)
            yield client
    finally:
        process.terminate()
        process.wait(60)


def _environment() -> dict[str, str]:
    """This process's environment, less the settings that would lead the demo elsewhere."""
    ours = ("PRICEBANDIT_DATABASE_URL", "PRICEBANDIT_API_KEYS")
    return {name: value for name, value in os.environ.items() if name not in ours}


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise DemoError(f"the service did not get ready: {log} says why")


def _decide(client: httpx.Client, requests: list[dict[str, Any]], unit: str) -> list[Any]:
    decisions = []
    for start in range(0, len(requests), _BATCH):
        part = [{**request, "unit": unit} for request in requests[start : start + _BATCH]]
        answer = _post(client, "/v1/prices", {"requests": part})
        decisions += answer["decisions"]
    return decisions


def _tell(
    client: httpx.Client,
    decided: list[Any],
    visitors: NDArray[np.int64],
    units: NDArray[np.int64],
) -> None:
    """Report the day's sales; a listing that nobody saw has no outcome."""
    outcomes = [
        {"decision_id": d["decision_id"], "outcome_id": "day", "impressions": n, "units": u}
        for d, n, u in zip(decided, visitors.tolist(), units.tolist(), strict=True)
        if n > 0
    ]
    for start in range(0, len(outcomes), _BATCH):
        _post(client, "/v1/outcomes", {"outcomes": outcomes[start : start + _BATCH]})
    # a night is longer than what the service takes to learn from the day
    while client.get("/readyz").json()["learning"]:
        time.sleep(0.01)


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    response = client.post(path, json=body)
    answer = response.json()
    if response.status_code != 200 or answer["errors"]:
        raise DemoError(f"POST {path} answered {response.status_code}: {response.text:.500}")
    return answer
