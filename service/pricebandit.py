"""Pricebandit itself: the log, the catalogue and the model, changed one transaction at a time."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import Context, Policy
from encoders import EmbeddingCache, Encoder, listing_texts
from service import (
    experiments,
    expressions,
    learning,
    log,
    models,
    neighbourhoods,
    snapshots,
    trunks,
)
from service.catalogue import Catalogue
from service.crew import Crew
from service.home import held
from service.lessons import Lesson, Lessons, prices_go_on, study
from service.settings import Settings
from service.subjects import Guesses, Subjects, context_of, gather, nothing_asked
from service.suspicions import Suspicions

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_PART = 20_000
_LESSON_ROWS = 2_000  # listings in a lesson on what they are worth: making it holds up prices
_FEWEST_NEW = 256  # outcomes below which the catalogue as a whole is not learned anew

_NOT_WRITTEN = "snapshot not written; starting will replay more of the log"
_LOGGER = logging.getLogger("pricebandit")


def now_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


@dataclass(slots=True)
class Pending:
    """What a transaction answers, and what to do in memory once it is durable.

    Attributes:
        passing: places of answers that ask for the same body again: no idempotency key holds them.
    """

    answers: list[dict[str, Any]]
    apply: Callable[[], None] = field(default=lambda: None)
    passing: frozenset[int] = frozenset()


class Pricebandit:
    """All state of one seller, under one home folder.

    What changes it (`registering`, `pricing`, `outcomes`, `sales`) reads and writes the log in the
    caller's transaction and changes nothing in memory; the `Pending` it returns does that after
    the commit. One thread at a time may do so.

    Attributes:
        crew: threads that price large batches together; the calling one alone unless replaced.
        experiments: A/B tests by their first days. sides: taken in the one that runs.

    Raises:
        service.home.HomeInUse: another process has the home folder open.
        service.log.LogInUse: another process has the log open.
    """

    def __init__(self, settings: Settings, progress: Progress | None = None) -> None:
        self.settings = settings
        self.crew = Crew(1)
        self._suspicions = Suspicions()
        self.home = settings.home
        self._lock = held(self.home)
        try:
            self.log = log.Log(settings.url)
        except BaseException:
            self._lock.close()  # whoever asks again may find the log free
            raise
        named = settings.encoder, settings.adapter, settings.device
        self._begin(models.opened(self.log, self.home, *named, now_us()), progress)
        with prices_go_on():
            self._learn_at_first()

    @classmethod
    def beside(
        cls, other: "Pricebandit", encoder: Encoder, progress: Progress | None = None
    ) -> "Pricebandit":
        """The same seller in another encoder's space, read from the log while `other` goes on.

        The log and the home's lock are shared, and stay `other`'s to close until it is replaced.
        """
        bandit = cls.__new__(cls)
        bandit.settings, bandit.home = other.settings, other.home
        bandit._lock, bandit.log, bandit.crew = other._lock, other.log, other.crew
        bandit._suspicions = other._suspicions  # what was said is not said again
        bandit._begin(encoder, progress)
        bandit._learn_at_first(progress)  # where that fails, `other` goes on
        return bandit

    def _begin(self, encoder: Encoder, progress: Progress | None) -> None:
        """Read the log in an encoder's space."""
        settings = self.settings
        self.encoder, self.space = encoder, models.version_of(encoder)
        folder = settings.embeddings or self.home / "embeddings"
        self.listing_texts = EmbeddingCache(folder / "listings", self.encoder)
        self.other_texts = EmbeddingCache(folder / "markets", self.encoder)
        self.catalogue = Catalogue()
        features_of = trunks.features_in(self.space)
        trunk = trunks.in_use(self.home, features_of)
        self.fold = learning.Fold(
            Policy(settings.rules, settings.torch_device, trunk),
            learning.version_under(features_of, trunk),
        )
        self.guesses = Guesses()
        self._unguessed = 0  # listings registered or deleted since guesses were fitted last
        self._unlearned = 0  # outcomes since guesses and prices were learned last
        self._failed = 0  # outcomes that learning failed on
        self._taught = 0  # events that told of demand when the population was learned last
        self._since_snapshot = 0
        self._touched: list[NDArray[np.int64]] = []
        self._spoiled = False
        self._load(progress)

    @property
    def policy(self) -> Policy:
        """The demand model and choice rule."""
        return self.fold.policy

    @property
    def snapshots(self) -> Path:
        """Folder of the snapshots."""
        return self.home / "snapshots"

    def carry_out(self, execute: "Execute", payloads: Sequence[Any]) -> list[dict[str, Any]]:
        """Do something in a transaction of its own; its answers, once it is durable."""
        with self.log.transaction() as conn:
            pending = execute(self, conn, payloads)
        try:
            pending.apply()
        except BaseException:  # Ctrl-C too: what was changed in part is not to be kept
            self.spoil()
            raise
        self.settle()
        return pending.answers

    # -- starting and stopping --------------------------------------------------------------

    def _load(self, progress: Progress | None) -> None:
        ends = self._read_listings(progress)
        self._read_experiments()
        learned = snapshots.read_snapshot(self.fold, self.catalogue, self.log, self.snapshots)
        moved = self._restate()
        report = partial(progress, "replaying the log") if progress else None
        self._since_snapshot = self.fold.replay(self.log, self.catalogue, report, ends)
        self._load_prices(ends)
        self._unlearned = self._since_snapshot
        if learned:
            learned.hand_over(self.policy, self.catalogue)
            self._forget_prices(moved, learned.at)
            self._taught = learned.taught
            self._unlearned += learned.unlearned
        if self._unlearned or len(moved):
            self._touched = [self.policy.evidence.listing]

    def _learn_at_first(self, progress: Progress | None = None) -> None:
        # a restart learns no sooner than whoever goes on does: prices do not change by it
        if self._much_is_new:
            self.refresh(progress)
        else:
            self._guess()

    def catch_up(self, progress: Progress | None = None, switching: bool = False) -> int:
        """Take in what the log has gained since it was read; the outcomes and sales among it.

        Args:
            progress: may raise, after which this state is of no use any more.
            switching: this state is about to be the one in use, while requests wait: what takes
                long is left for the first `settle`.
        """
        before = self.catalogue.changed_until
        ends = self._read_listings(progress)
        self._read_experiments()
        self._read_anchors(ends)
        if len(moved := self._restate()):
            self._forget_prices(moved, before)
            self.learned(moved)
        events = self.fold.replay(self.log, self.catalogue, None, ends)
        self._load_prices(ends)
        if events:
            self._touched = [self.policy.evidence.listing]
            self._unlearned += events
            self._since_snapshot += events
        if switching:
            self._unguessed = len(self.catalogue)
            # a restart after a kill would know less than was learned while preparing
            self._since_snapshot = max(self._since_snapshot, self.settings.snapshot_every)
        elif self._unlearned:
            self.refresh(progress)
        else:
            self._guess()
        return events

    def _read_listings(self, progress: Progress | None) -> log.Ends:
        """Bring the catalogue, its neighbours and past features up to date; how far the log went
        before: all that came until then is about listings that are in the catalogue now.
        """
        ends = self.log.ends()
        rows, read_at = self._load_listings(self.catalogue.changed_until, progress)
        self.catalogue.changed_until = ends.changed

        def told(what: str) -> Callable[[int, int], None] | None:
            return partial(progress, what) if progress else None

        neighbourhoods.load(self, rows, read_at, told("finding similar listings"))
        expressions.complete(self, ends.decision, told("reading past decisions anew"))
        return ends

    def _load_listings(
        self, since: int, progress: Progress | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read listings that are new or were changed since a time, microseconds UTC; their rows,
        (n,), and when they were changed last, (n,).
        """
        table = log.listings.c
        new = table.updated_at > since
        with self.log.engine.connect() as conn:
            total = conn.scalar(sa.select(sa.func.count()).where(new)) or 0
        columns = table.row, table.document, table.anchor, table.first_at, table.deleted_at
        query = sa.select(*columns, table.updated_at).where(new)
        done, seen = 0, [np.empty((2, 0), np.int64)]

        def report(encoded: int, _: int) -> None:
            if progress:
                progress("loading listings", done + encoded, total)

        for part in self.log.stream(query, table.row, _PART):
            documents = [orjson.loads(row.document) for row in part]
            rows = np.array([row.row for row in part], np.int64)
            deleted = np.array([row.deleted_at is not None for row in part])
            text = np.full(len(part), -1, np.int64)
            alive = [d for d, gone in zip(documents, deleted, strict=True) if not gone]
            texts = listing_texts_of(alive)
            text[~deleted] = self.listing_texts.embed(texts, report).ids
            trained_on = np.zeros(len(part), np.bool_)
            trained_on[~deleted] = self.encoder.trained_on(texts)
            self.catalogue.put(rows, documents, text, trained_on)
            self.catalogue.remove(rows[deleted])
            seen.append(np.array([rows, [row.updated_at for row in part]], np.int64))
            self.catalogue.anchor[rows] = _anchors([row.anchor for row in part])
            self.catalogue.first_at[rows] = np.array([row.first_at for row in part], np.float64)
            done += len(part)
            report(0, 0)
        rows, read_at = np.concatenate(seen, axis=1)
        return rows, read_at

    def _read_experiments(self) -> None:
        """A/B tests, and the sides that listings have taken in the one that runs."""
        source = self.log.engine
        self.experiments = experiments.all_of(source)
        self.sides = experiments.sides_at(source, self.experiments, self.catalogue, now_us())

    def _read_anchors(self, ends: log.Ends) -> None:
        """Anchors that decisions and sales of after the last time have set, and since when listings
        are offered, which outcomes may tell, too.
        """
        d, o, s, table = log.decisions.c, log.outcomes.c, log.sales.c, log.listings.c
        decided = sa.select(d.listing).where(
            d.id > self.catalogue.decided_until, d.id <= ends.decision
        )
        sold = sa.select(s.listing).where(s.seq > self.fold.position.sales, s.seq <= ends.sales)
        told = sa.select(d.listing).join(log.outcomes, d.id == o.decision_id)
        told = told.where(o.seq > self.fold.position.outcomes, o.seq <= ends.outcomes)
        query = sa.select(table.row, table.anchor, table.first_at).where(
            table.anchor.is_not(None), table.row.in_(decided.union(sold, told))
        )
        for part in self.log.stream(query, table.row, _PART):
            rows, anchor, first_at = zip(*part, strict=True)
            self.catalogue.anchor[list(rows)] = _anchors(anchor)
            self.catalogue.first_at[list(rows)] = first_at

    def _restate(self) -> NDArray[np.int64]:
        """Tell own evidence anew where anchors were corrected since it was; of which listings."""
        rows = self.fold.astray(self.catalogue)
        with self.log.engine.connect() as conn:
            self.fold.restated(conn, self.catalogue, rows)()
        return rows

    def _forget_prices(self, moved: NDArray[np.int64], since: int) -> None:
        """Forget what own evidence pointed to of listings whose anchors have moved, (n,), where
        they were sent anew since a time, microseconds UTC: learned under other terms, it would move
        them back.
        """
        table, catalogue = log.listings.c, self.catalogue
        # those that were moved to what was learned have followed it, whatever was sent
        moved = moved[catalogue.learned_price[moved] != catalogue.anchor[moved]]
        query = sa.select(table.row).where(table.updated_at > since)
        with self.log.engine.connect() as conn:
            found = log.select_in(conn, query, table.row, moved.tolist())
        catalogue.learned_price[[row.row for row in found]] = np.nan

    def _load_prices(self, ends: log.Ends) -> None:
        """The last price of every listing and family, from the decisions since the snapshot."""
        d, catalogue = log.decisions.c, self.catalogue
        query = sa.select(d.id, d.listing, d.price, d.family, d.unit, d.at)
        query = query.where(d.id <= ends.decision)
        if catalogue.decided_until:
            query = query.where(d.id > catalogue.decided_until)
        for part in self.log.stream(query, d.id, _PART):
            keys, listing, price, family, unit, at = zip(*part, strict=True)
            rows = np.array(listing, np.int64)
            catalogue.note_prices(
                rows, np.array(price, np.int64), family, unit, np.array(at, np.int64), keys[-1]
            )

    def snapshot(self) -> Path:
        """Learn what is due, and write a snapshot, from which another start prices alike."""
        with prices_go_on():
            if self._much_is_new:
                self.refresh()
            self._guess()  # as a start does, from the prices learned last
        self._since_snapshot = 0
        return Path(self._snapshot_lesson()())

    def _snapshot_lesson(self) -> Lesson:
        there = self.fold, self.catalogue, self.log, self.snapshots
        # what failed here the next start may be able to learn
        unlearned = self._unlearned + self._failed
        return snapshots.write_snapshot(*there, unlearned, self._taught)

    def spoil(self) -> None:
        """Memory may lack part of what the log has: no snapshot of it is written any more."""
        self._spoiled = True

    def close(self) -> None:
        """Save a snapshot if the fold has moved, and let go of everything."""
        if self._since_snapshot and not self._spoiled:
            try:
                self.snapshot()
            except Exception:  # a disk that is full, a database that is away, too little memory
                _LOGGER.exception(_NOT_WRITTEN)
        self.log.close()
        self._lock.close()

    # -- learning ---------------------------------------------------------------------------

    def anchors(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log prices that own evidence of listings is relative to, (n,); NaN without evidence."""
        evidence = self.policy.evidence
        slot = evidence.rows_of(rows)
        own = np.flatnonzero(slot >= 0)
        units, impressions = evidence.totals[slot[own], :2].numpy().T
        own = own[(units != 0) | (impressions > 0)]  # a report of nothing is none
        anchors = np.full(len(rows), np.nan)
        anchors[own] = self.catalogue.anchor[rows[own]]
        return anchors

    def anchored(self, subjects: Subjects) -> Subjects:
        """Subjects with the anchors of their own evidence alone."""
        return replace(subjects, anchor=self.anchors(subjects.listing))

    def learned(self, rows: NDArray[np.int64]) -> None:
        """Note that listings have new evidence."""
        self._touched.append(rows)
        self._unlearned += len(rows)
        self._since_snapshot += len(rows)

    def registered(self, rows: NDArray[np.int64]) -> None:
        """Note that listings were registered, changed or deleted. Where they are many, or the first
        of their currency, guess anew at once: no price may rest on a catalogue without those that
        came, nor on one with those that went.
        """
        self._unguessed += len(rows)
        strange = set(self.catalogue.currency[rows]) - self.guesses.models.keys()
        if strange or 4 * self._unguessed > len(self.catalogue):
            with prices_go_on():
                self._guess()

    def settle(self) -> None:
        """Learn what is due, now."""
        if self.due:
            with prices_go_on():
                study(self.lessons())

    @property
    def due(self) -> bool:
        """Whether enough is new to learn from the catalogue as a whole, or to write a snapshot."""
        # one listing in a hundred changes guesses by next to nothing
        few = 100 * self._unguessed < max(len(self.catalogue), 1)
        return not few or self._much_is_new or self._snapshot_is_due

    @property
    def _much_is_new(self) -> bool:
        return self._unlearned >= max(_FEWEST_NEW, len(self.policy.evidence) // 4)

    @property
    def _snapshot_is_due(self) -> bool:
        return self._since_snapshot >= self.settings.snapshot_every and not self._spoiled

    def vectors(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Embeddings of listings, float32 (n, d), zeros where there is none; and where there is."""
        text = self.catalogue.text[rows]
        vectors = np.zeros((len(rows), self.encoder.dim), np.float32)
        vectors[text >= 0] = self.listing_texts.vectors(text[text >= 0])
        return vectors, text >= 0

    def refresh(self, progress: Progress | None = None) -> None:
        """Learn what the catalogue as a whole says, now: guesses from text, shapes of demand.

        What cannot be learned raises, and is left to be learned.
        """
        watch = partial(progress, "learning from the catalogue", 0, 0) if progress else None
        try:
            study(self.lessons(everything=True), watch)
        except Exception:
            self._unguessed = len(self.catalogue)
            raise

    def lessons(self, everything: bool = False) -> Lessons:
        """What is due, or everything there is to learn. Prices may be decided between two lessons,
        and outcomes come in: they are for the next time.

        The population takes seconds to learn and changes little: only once a quarter has been
        added to what taught it.
        """
        snapshot = self._snapshot_is_due
        everything = everything or snapshot or self._much_is_new
        # what comes in from now on is for the next time
        unguessed, self._unguessed = self._unguessed, 0
        unlearned, touched, since, taught = 0, [], 0, False
        if everything:
            unlearned, self._unlearned = self._unlearned, 0
            touched, self._touched = self._touched, []
        if snapshot:
            since, self._since_snapshot = self._since_snapshot, 0
        try:
            yield from self._guess_lessons()
            rows, events = self.policy.consulted(), self.fold.read.shown
            if touched and len(rows):
                if events > 1.25 * self._taught:
                    lesson = self.policy.population_lesson(rows, *self._standing(rows))
                    self.policy.population, self.policy.alignment = yield lesson
                    self.policy.expect(self.guesses.markup)  # of today
                    self._taught, taught = events, True
                yield from self._price_lessons(np.unique(np.concatenate(touched)))
                self._failed = 0
                yield from self._guess_lessons()  # as a start does, from the prices learned last
            # what was learned outlasts a kill: a restart that learned otherwise would reprice all
            if snapshot or (taught and not self._spoiled):
                yield from self._snapshot_lessons()
        except BaseException as error:
            if touched:
                self._touched.append(np.unique(np.concatenate(touched)))
            # what failed would fail again at once: it waits until as much again is new
            self._failed += unlearned if isinstance(error, Exception) else 0
            if not isinstance(error, Exception):
                self._unguessed += unguessed
                self._unlearned += unlearned
                self._since_snapshot += since
            raise

    def _guess_lessons(self) -> Lessons:
        before = self.guesses
        found = yield Guesses.lesson(self.catalogue)
        if self.guesses is before:  # else registering has fitted newer ones meanwhile
            self._take(found)

    def _price_lessons(self, rows: NDArray[np.int64]) -> Lessons:
        """What own evidence says listings are worth."""
        for start in range(0, len(rows), _LESSON_ROWS):
            part = rows[start : start + _LESSON_ROWS]
            part = part[~np.isnan(self.catalogue.anchor[part])]
            worth = yield self.policy.worth_lesson(part, *self._standing(part))
            self.catalogue.learned_price[part] = worth

    def _snapshot_lessons(self) -> Lessons:
        try:
            yield self._snapshot_lesson()
        except Exception:  # what was learned is in use all the same
            _LOGGER.exception(_NOT_WRITTEN)

    def _guess(self) -> None:
        """Fit guesses to the catalogue as it stands, now; where that fails, it is still due."""
        self._unguessed = len(self.catalogue)
        self._take(Guesses.lesson(self.catalogue)())
        self._unguessed = 0

    def _take(self, guesses: Guesses) -> None:
        self.guesses = guesses
        self.policy.expect(guesses.markup)
        self._suspicions.look(self)

    def _standing(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], Context]:
        """Anchors of listings, (n,), and their contexts as strangers."""
        subjects, guess, sd = self.strangers(rows)
        return subjects.anchor_or(guess), context_of(subjects, guess, sd, 0)

    def strangers(
        self, rows: NDArray[np.int64]
    ) -> tuple[Subjects, NDArray[np.float64], NDArray[np.float64]]:
        """Listings as they would be guessed without own sales: (subjects, guess, its error)."""
        vectors = self.vectors(rows)
        subjects = gather(self.catalogue, rows, rows, *vectors, nothing_asked(*vectors[0].shape))
        subjects = self.anchored(subjects)
        guess, sd = self.guesses.of(self.catalogue, subjects)
        return subjects, guess, sd


def _anchors(logged: Sequence[float | None]) -> NDArray[np.float64]:
    """Anchors as logged, (n,), NaN where none was set, or by a sale whose price rounded to 0."""
    anchors = np.array(logged, np.float64)
    return np.where(np.isfinite(anchors), anchors, np.nan)


def listing_texts_of(documents: Sequence[dict[str, Any]]) -> list[str]:
    """Canonical texts of listings."""
    names = ("title", "description", "category", "brand", "attributes")
    columns = ([document.get(name) for document in documents] for name in names)
    return list(listing_texts(*columns))


Execute = Callable[[Pricebandit, sa.Connection, Sequence[Any]], Pending]
"""Something that changes state, for several payloads in one transaction of the log."""
