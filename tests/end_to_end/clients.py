"""Sellers that use the service all the time, and remember what it told them.

A seller whose connection breaks does what clients are told to do: outcomes and requests that carry
an `Idempotency-Key` are sent again until they are answered, other price requests are given up.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from catalogues import LISTINGS

Outcome = tuple[str, str]  # decision_id, outcome_id
Counts = tuple[int, int, int]  # impressions, units, returned_units


@dataclass
class Book:
    """What all sellers together know.

    Attributes:
        prices: decision_id → price, of answered decisions.
        sent: outcomes that may be in the log. confirmed: those that were answered.
        answers: key → (path, body, answer) of answered requests with an Idempotency-Key.
        asked: request_ids of answered requests with an Idempotency-Key.
        cut: requests whose answer was lost on the way. refused: those told to come again.
        wrong: answers that must not be.
    """

    prices: dict[str, float] = field(default_factory=dict)
    sent: dict[Outcome, Counts] = field(default_factory=dict)
    confirmed: dict[Outcome, Counts] = field(default_factory=dict)
    answers: dict[str, tuple[str, bytes, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Seller(threading.Thread):
    """Asks for prices and reports sales until told to stop, and then until all is answered."""

    def __init__(self, number: int, port: int, book: Book) -> None:
        super().__init__(name=f"seller {number}", daemon=True)
        self.number, self.port, self.book = number, port, book
        self._chance = np.random.default_rng(number)
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60
        )
        self._stopping = threading.Event()
        self._requests = 0
        self._cut = 0
        self._unsold: list[str] = []  # decisions whose outcomes come later
        self._told: list[list[dict[str, Any]]] = []

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._ask()
                self._tell()
        except Exception as error:
            with self.book.lock:
                self.book.wrong.append(f"{self.name}: {error!r}")

    def _ask(self) -> None:
        """Ask for some prices; most requests by id, some with their listing inline."""
        self._requests += 1
        name = f"{self.number}-{self._requests}"
        key = f"prices {name}" if self._chance.random() < 0.5 else None
        requests: list[dict[str, Any]] = []
        for i in self._chance.choice(len(LISTINGS), 8, replace=False).tolist():
            listing = {k: v for k, v in LISTINGS[i].items() if v is not None}
            inline = self._requests % 7 == 0 and "family" not in listing
            asked = {"listing": listing} if inline else {"listing_id": listing["listing_id"]}
            requests.append({**asked, "request_id": f"{name}/{i}", "unit": name})
        answer = self._post("/v1/prices", {"requests": requests}, key, retry=key is not None)
        if answer is None:
            return
        if answer["errors"] or len(answer["decisions"]) != len(requests):
            raise AssertionError(answer)
        with self.book.lock:
            self.book.prices |= {d["decision_id"]: d["price"] for d in answer["decisions"]}
            if key:
                self.book.asked += [request["request_id"] for request in requests]
        self._unsold += [d["decision_id"] for d in answer["decisions"]]

    def _tell(self) -> None:
        """Report sales in parts, some of them twice."""
        if self._told and self._chance.random() < 0.2:
            again = self._told[int(self._chance.integers(len(self._told)))]
            self._report(again, None, repeated=True)
        outcomes = []
        for decision_id in self._unsold[-16:]:  # each decision is reported about twice
            shown = int(self._chance.integers(1, 300))
            units = int(self._chance.binomial(shown, 0.1))
            outcome = {"decision_id": decision_id, "outcome_id": f"part {self._requests}"}
            outcome |= {"impressions": shown, "units": units, "returned_units": units // 10}
            outcomes.append(outcome)
        if outcomes:
            key = f"sales {self.number}-{self._requests}" if self._requests % 3 == 0 else None
            self._report(outcomes, key)
            self._told = [*self._told[-20:], outcomes]

    def _report(
        self, outcomes: list[dict[str, Any]], key: str | None, repeated: bool = False
    ) -> None:
        entries = {
            (o["decision_id"], o["outcome_id"]): (o["impressions"], o["units"], o["returned_units"])
            for o in outcomes
        }
        with self.book.lock:
            self.book.sent |= entries
        cut = self._cut
        answer = self._post("/v1/outcomes", {"outcomes": outcomes}, key)
        if answer is None:
            raise AssertionError("outcomes were given up")
        # a batch is one transaction: where its answer was lost, all of it was kept or nothing
        usual = {"corrected": 0, "without_impressions": 0, "errors": []}
        whole = {"accepted": len(outcomes), "duplicates": 0, **usual}
        nothing = {"accepted": 0, "duplicates": len(outcomes), **usual}
        with self.book.lock:
            right = [nothing] if repeated else [whole, nothing] if self._cut > cut else [whole]
            if answer not in ([whole] if key else right):
                self.book.wrong.append(f"{self.name}, {key}: {answer}")
            self.book.confirmed |= entries

    def _post(self, path: str, body: Any, key: str | None, retry: bool = True) -> Any:
        """The answer, or None where the request was given up."""
        content = json.dumps(body).encode()
        while True:
            status, answer = self.send(path, content, key)
            if status == 200:
                with self.book.lock:
                    if key:
                        self.book.answers[key] = (path, content, answer)
                return json.loads(answer)
            if status not in (0, 503):
                raise AssertionError(f"{path} answered {status}: {answer[:300]!r}")
            with self.book.lock:
                self.book.refused += status != 0
            if status == 0 and not retry:
                return None
            time.sleep(0.02)

    def send(self, path: str, content: bytes, key: str | None) -> tuple[int, bytes]:
        """Status and body; status 0 where the connection failed."""
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        try:
            response = self._client.post(path, content=content, headers=headers)
            return response.status_code, response.content
        except httpx.ConnectError:
            return 0, b""
        except httpx.TransportError:
            self._cut += 1
            with self.book.lock:
                self.book.cut += 1
            return 0, b""
