"""What routes share: the state, the engine that changes it, and threads for the rest."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import sqlalchemy as sa
import torch
from fastapi import Response

from encoders import EmbeddingCache, EncoderError
from service.crew import Crew
from service.engine import Engine, Once, Work
from service.gate import Gate
from service.items import Items
from service.log import LogUnusable
from service.pricebandit import Execute, Pending, Pricebandit
from service.problems import Problem
from service.rollout import Rollout

T = TypeVar("T")

JSON = "application/json"

_TURN = 256  # texts after which others that wait for the encoder get between

_REPORTS = 4  # under way at most, those that nobody waits for any more among them


class Service:
    """The opened service.

    Args:
        bandit: opened state; closed with the service.
        gate: who may come in, and how much each may ask. on_failure: as `Engine` has it.
    """

    def __init__(
        self,
        bandit: Pricebandit,
        gate: Gate,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self.gate = gate
        cores = torch.get_num_threads()  # before the engine asks for one alone
        bandit.crew = Crew(cores)
        self.engine = Engine(bandit, on_failure)
        # the encoder keeps a thread of its own: a long text must not hold up parsing or reading
        self._encoding = ThreadPoolExecutor(
            1, "pricebandit-encoder", initializer=torch.set_num_threads, initargs=(cores,)
        )
        self._reading = ThreadPoolExecutor(4, "pricebandit-reader")
        # a report reads days of the log: one at a time, and none in the way of bodies
        self._reporting = ThreadPoolExecutor(1, "pricebandit-reporter")
        self._reports: dict[tuple[Any, ...], asyncio.Future[Any]] = {}  # by what was asked
        # staging reads an adapter's files, and waits until the preparation before it has ended
        self._staging = ThreadPoolExecutor(1, "pricebandit-stager")
        self.rollout = Rollout(self.engine)
        self.rollout.resume()

    @property
    def bandit(self) -> Pricebandit:
        """The state in use; another one after a switch of models."""
        return self.engine.bandit

    def close(self) -> None:
        """Finish what was taken in, and save."""
        self.rollout.close()
        self._encoding.shutdown()
        self._reading.shutdown()
        self._reporting.shutdown(cancel_futures=True)  # nobody waits any more
        self._staging.shutdown()
        self.engine.close()
        self.bandit.crew.close()
        self.bandit.close()

    def check(self) -> None:
        """See that prices can be decided and kept.

        Raises:
            Problem: 503, naming what cannot be used.
        """
        if not self.engine.alive:
            raise Problem(503, "model: its thread has stopped, restart the service")
        try:
            self.bandit.log.check()
        except (sa.exc.SQLAlchemyError, LogUnusable) as error:
            raise Problem(503, f"log: {error}", {"Retry-After": "5"}) from None

    async def embed(
        self,
        function: Callable[[Pricebandit, Items], T],
        missing_of: Callable[[Pricebandit, Items], tuple[EmbeddingCache, list[str]]],
        items: Items,
    ) -> tuple[T, int]:
        """Run an embedding function; how many texts had to be encoded for it.

        Args:
            missing_of: the cache that the function embeds with, and the texts that it lacks.

        Raises:
            Problem: 503, more is waiting than the settings allow.
        """
        bandit = self.bandit  # another one, after a switch, refuses what this one has embedded

        def at_once() -> tuple[EmbeddingCache, list[str], T | None]:
            cache, missing = missing_of(bandit, items)
            return cache, missing, None if missing else function(bandit, items)

        cache, missing, found = await self.read(at_once)
        if found is not None:
            return found, 0
        run = asyncio.get_running_loop().run_in_executor
        with self.engine.counted(len(missing)):
            with suppress(EncoderError):  # met again by the function, which may do without
                for start in range(0, len(missing), _TURN):
                    await run(self._encoding, cache.embed, missing[start : start + _TURN])
            return await run(self._encoding, function, bandit, items), len(missing)

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """Run a parsing or reading function off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, function, *args)

    async def report(self, function: Callable[..., T], *args: Any) -> T:
        """As `read`, for what takes seconds: whoever asks the same meanwhile is given the same.

        Raises:
            Problem: 503, too many others wait.
        """
        if (found := self._reports.get(args)) is None:
            if len(self._reports) >= _REPORTS:
                raise Problem(
                    503,
                    f"{len(self._reports)} reports are under way already: send this again in 10 s",
                    {"Retry-After": "10"},
                )
            run = asyncio.get_running_loop().run_in_executor
            found = self._reports[args] = run(self._reporting, function, *args)
            found.add_done_callback(lambda _: self._reports.pop(args))
        answer: T = await asyncio.shield(found)  # others may wait for it, too
        return answer

    async def stage(self, function: Callable[..., T], *args: Any) -> T:
        """As `read`, for what changes which model is prepared."""
        return await asyncio.get_running_loop().run_in_executor(self._staging, function, *args)

    async def work(
        self, execute: Execute, payload: Any, rows: int, once: Once | None = None
    ) -> Response:
        """Have the engine do something in a transaction; the answer once it is durable."""
        future = self.engine.submit(Work(execute, payload, rows, once))
        return Response(await asyncio.wrap_future(future), media_type=JSON)

    async def look(self, function: Callable[..., dict[str, Any]], *args: Any) -> Response:
        """Have the engine look at the state between two changes of it."""

        def execute(bandit: Pricebandit, *_: object) -> Pending:
            return Pending([function(bandit, *args)])

        return await self.work(execute, None, 0)
