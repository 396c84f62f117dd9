"""Processes of the command line, with signals and exit statuses like any other.

They are forked from a process that has done nothing but import what the commands import: a start
takes a tenth of a second and not four, and a test can afford twenty of them. What runs from then
on is `service.cli.main`; `test_cli.py` also starts the installed script itself.
"""

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    ["service.app", "service.cli", "service.sales", "service.tables", "uvicorn", "uvloop"]
)

_RUN = """
import os, sys
for name in [name for name in os.environ if name.startswith("PRICEBANDIT_")]:
    del os.environ[name]
os.environ.update(environment)
out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.dup2(out, 1), os.dup2(out, 2)
sys.argv = argv
from service.cli import main
main()
"""


class Command:
    """A run of `pricebandit`; what it writes to either stream is in the file `output`."""

    def __init__(self, argv: Sequence[str], environment: dict[str, str], output: Path) -> None:
        self.output = output
        given = {"argv": argv, "environment": environment, "output": str(output)}
        self._process = _FORKED.Process(target=exec, args=(_RUN, given))
        self._process.start()

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    @property
    def text(self) -> str:
        """What it has written."""
        return self.output.read_text() if self.output.exists() else ""

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._process.join()

    def stop(self) -> int:
        """`kill`, and wait; the exit status."""
        self._process.terminate()
        return self.status()

    def status(self, within_s: float = 120) -> int:
        """Its exit status, once it has ended by itself."""
        self._process.join(within_s)
        assert not self._process.is_alive(), f"still running after {within_s} s: {self.text}"
        assert self._process.exitcode is not None
        return self._process.exitcode

    def wait_until_ready(self, port: int, within_s: float = 120) -> None:
        """Return when the service prices."""
        deadline = time.monotonic() + within_s
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            while time.monotonic() < deadline and self.running:
                try:
                    if client.get("/readyz").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.01)
        raise AssertionError(f"the service did not get ready: {self.text}")


def environment_of(settings: dict[str, Any]) -> dict[str, str]:
    """Settings as environment variables; those that are None are left out."""
    return {f"PRICEBANDIT_{k.upper()}": str(v) for k, v in settings.items() if v is not None}


def start(argv: Sequence[object], settings: dict[str, Any], output: Path) -> Command:
    return Command(["pricebandit", *map(str, argv)], environment_of(settings), output)


def script(*argv: object, cwd: Path, **settings: Any) -> "subprocess.CompletedProcess[str]":
    """Run the installed `pricebandit` script to its end."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PRICEBANDIT_")}
    return subprocess.run(
        [Path(sys.executable).with_name("pricebandit"), *map(str, argv)],
        env={**inherited, **environment_of(settings)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
