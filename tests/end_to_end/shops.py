"""A shop whose service is killed, and what must hold of its log and its model afterwards."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from clients import Book, Outcome, Seller
from processes import Command, free_port

from service import learning, log
from service.pricebandit import Pricebandit
from service.settings import Settings


@dataclass
class Logged:
    """What a log says, read without the service.

    Attributes:
        prices: decision_id → price in minor units. requests: request_id → decisions on it.
        outcomes: (decision_id, outcome_id) → (impressions, units, returned_units).
        answers: key → answer kept for it.
    """

    prices: dict[str, int]
    requests: Counter[str]
    outcomes: dict[Outcome, tuple[int, int, int]]
    answers: dict[str, bytes]

    @classmethod
    def read(cls, settings: Settings) -> "Logged":
        engine = sa.create_engine(settings.url)
        d, o, a = log.decisions.c, log.outcomes.c, log.answers.c
        with engine.connect() as conn:
            decided = conn.execute(sa.select(d.id, d.price, d.request_id)).all()
            came = conn.execute(
                sa.select(o.decision_id, o.outcome_id, o.impressions, o.units, o.returned_units)
            ).all()
            answers = {row.key: row.body for row in conn.execute(sa.select(a.key, a.body))}
        engine.dispose()
        outcomes = {(row[0], row[1]): tuple(row[2:]) for row in came}
        assert len(outcomes) == len(came), "an outcome was counted twice"
        return cls(
            {row.id: row.price for row in decided},
            Counter(row.request_id for row in decided),
            outcomes,
            answers,
        )


class Shop:
    """One home, its service, and sellers who use it.

    Args:
        starts: starts a command on this shop's home. settings: those that the service has.
        scratch: folder for copies of the home.
    """

    def __init__(
        self, starts: Callable[..., Command], settings: Settings, scratch: Path, sellers: int
    ) -> None:
        self.settings, self.book = settings, Book()
        self._starts, self._scratch = starts, scratch
        self._port = free_port()
        self.service = self._start()
        self.sellers = [Seller(i, self._port, self.book) for i in range(sellers)]
        self.tails: list[int] = []  # outcomes that a start had to replay, snapshot aside

    def _start(self) -> Command:
        own = {name: getattr(self.settings, name) for name in ("database_url", "snapshot_every")}
        return self._starts("serve", "--port", self._port, **own)

    def kill(self) -> "Logged":
        """Kill the service; the log as it was left."""
        assert self.service.running, self.service.text
        self.service.kill()
        return self.look()

    def restart(self, wait: bool = True) -> None:
        self.service = self._start()
        if wait:
            self.service.wait_until_ready(self._port)

    def finish(self) -> "Logged":
        """Let the sellers finish, kill the service, and hold the log against all they know."""
        for seller in self.sellers:
            seller.stop()
        for seller in self.sellers:
            seller.join(60)
            assert not seller.is_alive()
        logged = self.kill()
        assert self.book.wrong == []
        assert logged.outcomes == self.book.sent == self.book.confirmed
        assert sums(logged.outcomes) == sums(self.book.sent)
        assert "Traceback" not in self.service.text
        return logged

    def look(self) -> "Logged":
        """Hold the log of a dead service against what the sellers were told."""
        with self.book.lock:
            told, confirmed = dict(self.book.prices), dict(self.book.confirmed)
            asked, answers = list(self.book.asked), dict(self.book.answers)
        logged = Logged.read(self._copy())
        with self.book.lock:
            sent = dict(self.book.sent)
        lost = told.keys() - logged.prices.keys()
        assert not lost, f"{len(lost)} decisions were answered and are not in the log"
        minor = {i: round(100 * price) for i, price in told.items()}
        other = {i: (logged.prices[i], minor[i]) for i in told if logged.prices[i] != minor[i]}
        assert not other, f"prices in the log and as answered differ: {other}"
        lost = confirmed.keys() - logged.outcomes.keys()
        assert not lost, f"{len(lost)} outcomes were answered and are not in the log"
        assert logged.outcomes.items() <= sent.items()
        assert sums({k: logged.outcomes[k] for k in confirmed}) == sums(confirmed)
        twice = [request for request in asked if logged.requests[request] != 1]
        assert not twice, f"requests with a key were not priced exactly once: {twice}"
        kept = {key: logged.answers.get(key) for key in answers}
        assert kept == {key: answer for key, (_, _, answer) in answers.items()}
        return logged

    def check_model(self, tear: bool = False) -> int:
        """Hold snapshot + tail against the log alone; how many outcomes are in the model.

        Args:
            tear: cut the newest snapshot in half first, as a disk without power might.
        """
        settings = self._copy()
        snapshots = sorted((settings.home / "snapshots").glob("*.snapshot"))
        if tear:
            snapshots[-1].write_bytes(snapshots[-1].read_bytes()[: -(10**4)])
            snapshots.pop()
        bandit = Pricebandit(settings)
        try:
            # outcomes are numbered from 1 without gaps, and a snapshot is named by its last
            count = len(Logged.read(settings).outcomes)
            self.tails.append(count - int(snapshots[-1].name[:16]) if snapshots else count)
            rebuilt, events = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
            assert events == count
            assert learning.difference(bandit.fold, rebuilt) <= 1e-9
            return count
        finally:
            bandit.close()

    def _copy(self) -> Settings:
        """Settings of a copy of the home: opening the log or the model would tidy it up."""
        home = self._scratch / "copy"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.settings.home, home, ignore=shutil.ignore_patterns("*-shm"))
        return self.settings.model_copy(update={"home": home})


def sums(outcomes: dict[Outcome, Any]) -> tuple[int, ...]:
    """Impressions, units and returned units of all outcomes."""
    return tuple(map(sum, zip((0, 0, 0), *outcomes.values(), strict=True)))
