"""The service as a process of its own: what it answered outlives a kill."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "reference_price": 5}

SERVE = """
import os, sys, uvicorn
from service.app import create_app
from service.settings import Settings
uvicorn.run(create_app(Settings()), port=int(sys.argv[1]), log_level="warning")
"""


class Server:
    def __init__(self, home, embeddings, port):
        self.environment = {
            **os.environ,
            "PRICEBANDIT_HOME": str(home),
            "PRICEBANDIT_EMBEDDINGS": str(embeddings),
        }
        self.home, self.port = home, port
        self.process = None
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.port)], env=self.environment
        )
        for _ in range(1200):
            assert self.process.poll() is None
            try:
                if self.client.get("/readyz").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError("not ready within a minute")

    def stop(self, how):
        self.process.send_signal(how)
        return self.process.wait(60)

    def post(self, path, body, **headers):
        response = self.client.post(path, json=body, headers=headers)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture
def server(tmp_path, embeddings):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path / "home", embeddings, port).start()
    yield server
    server.client.close()
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait()


def _many_callers(server):
    """Ids of decisions that many callers at once were answered."""
    seen, faults = [], []

    def ask():
        with httpx.Client(base_url=server.client.base_url, timeout=60) as client:
            for _ in range(5):
                response = client.post("/v1/prices", json={"requests": [{"listing_id": "mug"}]})
                if response.status_code != 200:
                    faults.append(response.text)
                    return
                seen.append(response.json()["decisions"][0]["decision_id"])

    callers = [threading.Thread(target=ask) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert faults == []
    return seen


def _status_for_host(server, host):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(f"GET /v1/listings/mug HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return int(raw.recv(200).split()[1])


def test_what_was_answered_outlives_a_kill(server):
    server.post("/v1/listings", {"listings": [MUG]})
    body = {"requests": [{"listing_id": "mug"}] * 3}
    first = server.post("/v1/prices", body, **{"Idempotency-Key": "k"})
    decisions = first["decisions"]
    outcome = {"outcome_id": "1", "impressions": 100, "units": 7}
    server.post(
        "/v1/outcomes",
        {"outcomes": [{**outcome, "decision_id": d["decision_id"]} for d in decisions]},
    )
    before = {
        path: server.client.get(path).json()
        for path in (
            "/v1/listings/mug",
            "/v1/listings/mug/demand",
            *(f"/v1/decisions/{d['decision_id']}" for d in decisions),
        )
    }
    assert _status_for_host(server, "localhost") == 200
    assert _status_for_host(server, "evil.example") == 403
    answered, stop = _many_callers(server), threading.Event()
    assert len(set(answered)) == 80

    def keep_asking():
        while not stop.is_set():
            try:
                response = server.client.post("/v1/prices", json=body)
            except httpx.TransportError:
                return
            answered.extend(d["decision_id"] for d in response.json()["decisions"])

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    while len(answered) < 110:
        time.sleep(0.01)
    server.stop(signal.SIGKILL)
    stop.set()
    for asker in askers:
        asker.join()
    server.start()
    for path, was in before.items():
        now = server.client.get(path).json()
        if path.endswith("/demand"):
            assert (now["impressions"], now["units"]) == (was["impressions"], was["units"])
            assert now["model_version"] == was["model_version"]
        else:
            assert now == was
    for decision_id in answered:
        assert server.client.get(f"/v1/decisions/{decision_id}").status_code == 200
    assert server.post("/v1/prices", body, **{"Idempotency-Key": "k"}) == first
    again = server.post(
        "/v1/outcomes",
        {"outcomes": [{**outcome, "decision_id": d["decision_id"]} for d in decisions]},
    )
    assert (again["accepted"], again["duplicates"]) == (0, 3)
    assert server.stop(signal.SIGTERM) == -signal.SIGTERM
    assert list((server.home / "snapshots").glob("*.snapshot"))
