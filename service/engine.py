"""The one thread that changes state: waiting work is gathered into batches, each committed once.

What is learned from the catalogue as a whole is worked out on another thread meanwhile, and put in
place between two batches.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa
import torch

from service import log
from service.lessons import Learned, Learner
from service.pricebandit import Execute, Pending, Pricebandit, now_us
from service.problems import Problem

ANSWERS_KEPT_US = 24 * 3600 * 1_000_000

_BATCH = 1 << 20  # bytes that some 800 decisions take in the log

_LOGGER = logging.getLogger("pricebandit")


@dataclass(frozen=True, slots=True)
class Once:
    """A request to be carried out once: who sent it, its key, and a hash of what it says."""

    caller: str
    key: str
    request_hash: str


@dataclass(slots=True)
class Work:
    """Something to be done in a transaction.

    Attributes:
        execute: does it, together with other work of the same function.
        payload: its share of the batch. rows: items in it.
        once: set where the caller sent an idempotency key.
        future: the answer's JSON.
    """

    execute: Execute
    payload: Any
    rows: int
    once: Once | None = None
    future: Future[bytes] = field(default_factory=Future)


@dataclass(slots=True)
class Switch:
    """Another state to take the place of the present one, between two batches.

    Attributes:
        make: gives it, from the present one, which nothing changes meanwhile.
    """

    make: Callable[[Pricebandit], Pricebandit]
    future: Future[None] = field(default_factory=Future)


class Engine:
    """Carries out work in the order it came, many at a time where they are of one kind.

    A batch is one transaction: it is durable before any of its answers is given.

    Args:
        bandit: whose state is changed; nothing else may change it while the engine runs.
        on_failure: called where memory may not be what the log says any more, and the engine stops.

    Attributes:
        unwritten: whether the last transaction failed as the log could not be used.
    """

    def __init__(
        self, bandit: Pricebandit, on_failure: Callable[[Exception], None] | None = None
    ) -> None:
        self.bandit = bandit
        self._on_failure = on_failure
        self._wait = bandit.settings.max_wait_ms / 1000
        self._queue: queue.SimpleQueue[Work | Switch | Learned | None] = queue.SimpleQueue()
        # taken from the queue, but of another kind than its batch
        self._held: Work | Switch | Learned | None = None
        self._learner = Learner(self._queue.put)
        self._waiting = 0
        self._stopped = False
        self.unwritten = False
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="pricebandit-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether work is being carried out."""
        return self._thread.is_alive()

    @property
    def learning(self) -> bool:
        """Whether the catalogue as a whole is being learned from, or about to be."""
        return self._learner.busy or self.bandit.due

    def submit(self, work: Work) -> Future[bytes]:
        """Queue work.

        Raises:
            Problem: 503, more rows are waiting than the settings allow, or the thread stopped.
        """
        with self._counting:
            self._count(work.rows)
            self._queue.put(work)
        return work.future

    @contextmanager
    def counted(self, rows: int) -> Iterator[None]:
        """Count rows among those that wait while something else is done for them.

        Raises:
            Problem: 503, as `submit`.
        """
        with self._counting:
            self._count(rows)
        try:
            yield
        finally:
            with self._counting:
                self._waiting -= rows

    def _count(self, rows: int) -> None:
        if self._stopped:
            raise _stopped()
        if self._waiting and self._waiting + rows > self.bandit.settings.queue_rows:
            raise Problem(
                503,
                f"{self._waiting} items are waiting already: send this again in a second",
                {"Retry-After": "1"},
            )
        self._waiting += rows

    def replace(self, make: Callable[[Pricebandit], Pricebandit]) -> Future[None]:
        """Queue a switch to another state; where `make` raises, the present one stays.

        Raises:
            Problem: 503, the thread stopped.
        """
        switch = Switch(make)
        with self._counting:
            if self._stopped:
                raise _stopped()
            self._queue.put(switch)
        return switch.future

    def given(self, once: Once) -> bytes | None:
        """The answer already given to a key, if any; for any thread.

        Raises:
            Problem: 409, the key was used before with another request.
        """
        with self.bandit.log.engine.connect() as conn:
            found = self._given_before(conn, [once])
        return found[0][1] if found else None

    def close(self) -> None:
        """Finish what is queued, then stop."""
        self._queue.put(None)
        self._thread.join()
        self._learner.close()

    def _run(self) -> None:
        # its products are small: sharing them between threads costs more than it gives, most of
        # all beside a busy encoder
        torch.set_num_threads(1)
        try:
            while (batch := self._next_batch()) is not None:
                if isinstance(batch, Learned):
                    self._learner.take(batch)
                elif isinstance(batch, Switch):
                    self._switch(batch)
                else:
                    self._start(batch)
                if self.bandit.due and not self._learner.busy:
                    self._learner.begin(self.bandit.lessons())
        except Exception as error:
            if self._on_failure:
                self._on_failure(error)
            raise
        finally:
            with self._counting:
                self._stopped = True
            left = [self._held] if self._held else []
            while not self._queue.empty():
                left += [waiting] if (waiting := self._queue.get()) else []
            for work in left:
                if not isinstance(work, Learned) and work.future.set_running_or_notify_cancel():
                    work.future.set_exception(_stopped())

    def _start(self, batch: list[Work]) -> None:
        with self._counting:
            self._waiting -= sum(work.rows for work in batch)
        # whoever waited may have gone, and taken the work back
        batch = [work for work in batch if work.future.set_running_or_notify_cancel()]
        try:
            if batch:
                self._carry_out(batch)
        finally:
            for work in batch:  # whatever stopped the thread, nobody waits for ever
                if not work.future.done():
                    work.future.set_exception(_stopped())

    def _next_batch(self) -> list[Work] | Switch | Learned | None:
        """The next works of one kind, waiting a little for more; None when it is time to stop."""
        first = self._held or self._queue.get()
        self._held = None
        if not isinstance(first, Work):
            return first
        batch, rows = [first], first.rows
        deadline = time.monotonic() + self._wait
        while rows < self.bandit.settings.max_batch:
            try:
                work = self._queue.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                break
            keys = {w.once.key for w in batch if w.once}
            fits = (
                isinstance(work, Work)
                and work.execute == first.execute
                and rows + work.rows <= self.bandit.settings.max_batch
                and not (work.once and work.once.key in keys)  # let the first be answered first
            )
            if not fits:
                self._held = work
                if work is None:
                    self._queue.put(None)
                break
            assert isinstance(work, Work)
            batch.append(work)
            rows += work.rows
        return batch

    def _switch(self, switch: Switch) -> None:
        self._learner.give_up()
        try:
            self.bandit = switch.make(self.bandit)
        except Exception as error:
            switch.future.set_exception(error)
            return
        switch.future.set_result(None)

    def _carry_out(self, batch: list[Work]) -> None:
        try:
            answers, pending = self._transact(batch)
        except log.Unsure as error:
            _LOGGER.exception("memory may be behind the log: restart the service")
            self.bandit.spoil()
            for work in batch:
                work.future.set_exception(Problem(503, f"{error}: ask for it, or send it again"))
            raise
        except Exception as error:
            # a database out of reach is nobody's fault, and to ask it again takes as long again
            if len(batch) > 1 and not isinstance(error, sa.exc.OperationalError):
                for work in batch:  # find the one at fault, and spare the others
                    self._carry_out([work])
                return
            if not isinstance(error, Problem):
                _LOGGER.exception("a batch failed; nothing of it was kept")
            problem = explained(error)
            self.unwritten = isinstance(error, sa.exc.SQLAlchemyError) and problem.status == 503
            for work in batch:
                work.future.set_exception(problem)
            return
        self.unwritten = False
        try:
            pending.apply()
        except Exception:
            # it is in the log, and only reading the log anew puts it into memory
            _LOGGER.exception("memory is behind the log: restart the service")
            self.bandit.spoil()
            raise
        finally:
            for work, answer in zip(batch, answers, strict=True):
                work.future.set_result(answer)

    def _transact(self, batch: list[Work]) -> tuple[list[bytes], Pending]:
        answers: list[bytes | None] = [None] * len(batch)
        keyed = [work.once for work in batch if work.once]
        with self.bandit.log.transaction() as conn:
            if keyed:
                for i, body in self._given_before(conn, [work.once for work in batch]):
                    answers[i] = body
            new = [i for i, answer in enumerate(answers) if answer is None]
            pending = Pending([])
            if new:
                pending = batch[0].execute(self.bandit, conn, [batch[i].payload for i in new])
                for i, answer in zip(new, pending.answers, strict=True):
                    answers[i] = orjson.dumps(answer)
            passing = {new[i] for i in pending.passing}
            kept = [(batch[i].once, answers[i]) for i in new if batch[i].once and i not in passing]
            if kept:
                self._keep(conn, kept)
        return [answer or b"" for answer in answers], pending

    def _given_before(
        self, conn: sa.Connection, asked: Sequence[Once | None]
    ) -> list[tuple[int, bytes]]:
        """Answers already given to keys: (place, body).

        Raises:
            Problem: 409, a key was used before with another request.
        """
        table = log.answers.c
        found = {}
        keys = [once.key for once in asked if once]
        query = sa.select(table.caller, table.key, table.request_hash, table.body).where(
            table.at > now_us() - ANSWERS_KEPT_US
        )
        for row in log.select_in(conn, query, table.key, keys):
            found[row.caller, row.key] = row
        out = []
        for i, once in enumerate(asked):
            if once is None or (once.caller, once.key) not in found:
                continue
            row = found[once.caller, once.key]
            if row.request_hash != once.request_hash:
                raise Problem(
                    409,
                    f"Idempotency-Key {once.key!r} was used with another request: "
                    "take a new key for a new request",
                )
            out.append((i, row.body))
        return out

    def _keep(self, conn: sa.Connection, answered: Sequence[tuple[Any, Any]]) -> None:
        at = now_us()
        table = log.answers
        # what nobody may ask for again makes room, for the same keys too
        conn.execute(table.delete().where(table.c.at <= at - ANSWERS_KEPT_US))
        conn.execute(
            table.insert(),
            [
                {
                    "caller": once.caller,
                    "key": once.key,
                    "request_hash": once.request_hash,
                    "body": body,
                    "at": at,
                }
                for once, body in answered
            ],
        )


def rewrite(bandit: Pricebandit, conn: sa.Connection, payloads: Sequence[Any]) -> Pending:
    """Write as much as a batch of decisions to the log, and the time in its place, to see that it
    can be written: a few bytes find room on a disk that is full, where no decision does.
    """
    table, name = log.meta, "written_at"
    conn.execute(table.delete().where(table.c.name == name))
    # by chance: what repeats itself would be made smaller
    conn.execute(table.insert(), {"name": name, "value": os.urandom(_BATCH // 2).hex()})
    conn.execute(table.update().where(table.c.name == name), {"value": str(now_us())})
    return Pending([{} for _ in payloads])


def explained(error: Exception) -> Problem:
    """What a caller is told of an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, log.LogInUse):
        return Problem(503, str(error))
    faults = (sa.exc.IntegrityError, sa.exc.DataError)  # of this program, not of the database
    if isinstance(error, sa.exc.SQLAlchemyError) and not isinstance(error, faults):
        return Problem(
            503,
            f"the log cannot be used ({getattr(error, 'orig', error)}): nothing of this request "
            "was kept, send it again",
            {"Retry-After": "5"},
        )
    return Problem(500, f"{type(error).__name__}: nothing of this request was kept")


def _stopped() -> Problem:
    return Problem(503, "the model is out of use: restart the service", {"Retry-After": "30"})
