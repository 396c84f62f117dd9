"""Embeddings kept: each text is encoded once per model, and found again by key or by likeness.

The parts: :mod:`encoders.log` holds the truth on disk, :mod:`encoders.rows` the rows in memory,
:mod:`encoders.neighbours` searches them. This file joins the three.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.errors import CacheWriteError
from encoders.index import ListIndex
from encoders.log import SegmentLog
from encoders.neighbours import Neighbours
from encoders.rows import Rows
from encoders.segments import KEY_BYTES, Segment

__all__ = ["Embedded", "EmbeddingCache", "TextEncoder"]

_LOG = logging.getLogger(__name__)
_TEXTS_PER_SEGMENT = 4_096  # what a kill can cost: encodings since the last segment

Progress = Callable[[int, int], None]


class TextEncoder(Protocol):
    """What the cache needs of an encoder; :class:`encoders.Encoder` is one."""

    @property
    def dim(self) -> int:
        """Length d of a vector."""

    @property
    def fingerprint(self) -> str:
        """Letters and digits that change whenever a vector would."""

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Unit vectors, float32 (n, d)."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A batch of n texts, embedded.

    Attributes:
        ids: int64 (n,), slot ids, valid for the life of the cache object that gave them.
        vectors: float32 (n, d), unit rows.
        encoded: distinct texts that had to be encoded.
        cached: the other texts of the batch, ``n - encoded``.
    """

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    encoded: int
    cached: int


class EmbeddingCache:
    """Persistent embeddings of one encoder, with their nearest neighbours.

    Files lie under ``directory/<first 32 characters of the fingerprint>/``: another model or
    adapter is another folder, so a stale vector cannot be served. Threads may share one object and
    processes one directory; a process sees what others added when it next has a text to encode.

    Where the disk fails after construction (full, gone), :meth:`embed` still answers: it keeps
    the vectors in memory, logs a warning, counts them in :attr:`unsaved`, and writes them with the
    next ones that can be written. :meth:`delete` raises instead, since it promises to last.

    Raises:
        CacheWriteError: the directory cannot be made or written.
        ValueError: the encoder's fingerprint would not make a folder name.
    """

    def __init__(self, directory: Path, encoder: TextEncoder) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", encoder.fingerprint):
            raise ValueError(
                f"fingerprint {encoder.fingerprint!r} must be letters, digits, '-' or '_'"
            )
        self._encoder = encoder
        self._folder = Path(directory) / encoder.fingerprint[:32]
        self._hash_key = hashlib.sha256(encoder.fingerprint.encode()).digest()
        self._log = SegmentLog(self._folder, encoder.dim, encoder.fingerprint)
        self._rows = Rows(encoder.dim)
        self._unsaved: list[int] = []
        # _writing orders changes, on disk as in memory; _lock guards memory and is never held
        # while encoding or touching the disk. Taken in this order.
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._neighbours = Neighbours(self._rows, self._lock, None)
        self._catch_up()
        lists = ListIndex.load(self._lists_path, self._rows.keys)
        self._neighbours = Neighbours(self._rows, self._lock, lists)

    def __len__(self) -> int:
        """Texts cached, the deleted ones not counted."""
        with self._lock:
            return self._rows.alive_count

    @property
    def unsaved(self) -> int:
        """Vectors that are in memory but, the disk having failed, not in a segment."""
        with self._lock:
            return len(self._unsaved)

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> Embedded:
        """Vectors of n texts, from the cache where it has them, encoded and kept where not.

        ``progress(done, total)`` counts the distinct texts that had to be encoded. What is encoded
        becomes durable every few thousand texts, so that a kill costs only the last of them.

        Raises:
            EncoderError: from the encoder; texts encoded before stay cached.
        """
        keys = self._keys(texts)
        ids, vectors = self._look_up(keys)
        if (ids >= 0).all():
            return Embedded(ids, vectors, 0, len(texts))
        with self._writing:
            self._catch_up(quietly=True)
        known, _ = self._look_up(keys)
        missing = {keys[i]: texts[i] for i in np.flatnonzero(known < 0).tolist()}
        # Filled here and not looked up again: another thread may delete a text meanwhile.
        slot_of = dict(zip(keys, known.tolist(), strict=True))
        total = len(missing)
        todo = list(missing.items())
        for start in range(0, total, _TEXTS_PER_SEGMENT):
            part = todo[start : start + _TEXTS_PER_SEGMENT]
            shown = None if progress is None else _shifted(progress, start, total)
            fresh = self._encoder.encode([text for _, text in part], shown)
            part_keys = [key for key, _ in part]
            slots = self._keep(part_keys, np.ascontiguousarray(fresh, np.float32))
            slot_of.update(zip(part_keys, slots.tolist(), strict=True))
        ids = np.fromiter((slot_of[key] for key in keys), np.int64, len(keys))
        return Embedded(ids, self.vectors(ids), total, len(texts) - total)

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Texts that would have to be encoded, each once; never waits for the encoder."""
        keys = self._keys(texts)
        ids, _ = self._look_up(keys)
        return list({keys[i]: texts[i] for i in np.flatnonzero(ids < 0).tolist()}.values())

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by slot id: float32 (n, d), a copy. A slot deleted since still has its row.

        Raises:
            IndexError: an id that this object never gave.
        """
        wanted = np.asarray(ids, np.int64)
        with self._lock:
            outside = (wanted < 0) | (wanted >= len(self._rows))
            if outside.any():
                raise IndexError(
                    f"slot id {wanted[outside][0]} was not given by this cache, "
                    f"which has {len(self._rows)} slots"
                )
            return self._rows.vectors(wanted)

    def neighbours(
        self, vectors: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k cached texts most like each of q vectors, best first.

        Exact where at most ``EXACT_ROWS`` rows are searched; above, inverted lists propose rows
        and the scores of those are exact (recall: ``docs/encoders.md``). The first search above
        the limit, and one after each doubling, builds the lists; others meanwhile do without.

        Args:
            vectors: (q, d), of any length but zero: the score is the cosine.
            k: how many; at least 1.
            among: search these slot ids only; unknown, deleted and repeated ones are ignored.

        Returns:
            Scores float32 (q, k) and slot ids int64 (q, k), padded with -inf and -1.

        Raises:
            ValueError: ``k`` below 1, a shape that is not (q, d), or a value that is not finite.
        """
        if self._neighbours.build_if_due():
            self._save_lists()
        return self._neighbours.search(vectors, k, among)

    def delete(self, texts: Sequence[str]) -> int:
        """Forget texts, for good; how many of them were cached.

        On return no search finds them, here or after a restart; other processes forget them when
        they next have a text to encode. Their bytes leave the disk when segments are merged.

        Raises:
            CacheWriteError: the deletion could not be made to last; nothing was deleted.
        """
        keys = list(dict.fromkeys(self._keys(texts)))
        with self._writing:
            try:
                with self._log.locked():
                    self._catch_up()
                    with self._lock:
                        slots = self._rows.find(keys, len(keys)).tolist()
                    dead = [key for key, slot in zip(keys, slots, strict=True) if slot >= 0]
                    if dead:
                        none = np.empty((0, self._encoder.dim), np.float32)
                        self._log.append([], none, dead)
            except OSError as error:
                raise CacheWriteError(
                    f"deletion not written to {str(self._folder)!r} ({error}); nothing was deleted"
                ) from error
            with self._lock:
                killed = self._rows.kill(dead)
                self._unsaved = [slot for slot in self._unsaved if self._rows.alive[slot]]
                return killed

    @property
    def _lists_path(self) -> Path:
        return self._folder / "neighbours.lists"

    def _keys(self, texts: Iterable[str]) -> list[bytes]:
        """128 bits per text, keyed by the encoder's fingerprint."""
        keyed = hashlib.blake2b(digest_size=KEY_BYTES, key=self._hash_key)
        if isinstance(texts, str):
            raise TypeError("texts is one string; give a sequence of strings")
        keys = []
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"texts[{len(keys)}] is {type(text).__name__}, not str")
            one = keyed.copy()
            one.update(text.encode("utf-8", "surrogatepass"))
            keys.append(one.digest())
        return keys

    def _look_up(self, keys: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Slots (n,) with -1 where absent, and, where none is absent, the vectors (n, d)."""
        with self._lock:
            ids = self._rows.find(keys, len(keys))
            whole = bool((ids >= 0).all())
            return ids, self._rows.vectors(ids if whole else ids[:0])

    def _keep(self, keys: list[bytes], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Add rows to disk and memory; the slots of all keys, int64 (n,)."""
        with self._writing:
            try:
                with self._log.locked():
                    self._catch_up()
                    with self._lock:
                        new = np.flatnonzero(self._rows.find(keys, len(keys)) < 0)
                        held = np.array(self._unsaved, np.int64)
                        held_keys = [self._rows.keys[slot] for slot in self._unsaved]
                        held_rows = self._rows.vectors(held)
                    new_keys = [keys[i] for i in new]
                    if held_keys or new_keys:
                        rows = np.concatenate([held_rows, vectors[new]])
                        self._log.append(held_keys + new_keys, rows, [])
                saved = True
            except OSError as error:
                _LOG.warning("embeddings not saved to %s, kept in memory: %s", self._folder, error)
                saved = False
            with self._lock:
                slots = self._add(keys, vectors)
                self._unsaved = [] if saved else self._unsaved + slots.tolist()
                return self._rows.find(keys, len(keys))

    def _catch_up(self, *, quietly: bool = False) -> None:
        """Apply what other processes appended; the caller holds ``_writing``."""
        try:
            for segment in self._log.unread():
                with self._lock:
                    self._apply(segment)
        except OSError as error:
            if not quietly:
                raise
            _LOG.warning("segments in %s not read: %s", self._folder, error)

    def _apply(self, segment: Segment) -> None:
        if segment.complete:
            # what no segment has yet, no merge can have left out
            unsaved = [self._rows.keys[slot] for slot in self._unsaved]
            self._rows.keep_only([*segment.keys, *unsaved])
        self._rows.kill(segment.dead)
        self._add(segment.keys, segment.vectors)
        alive = self._rows.alive
        self._unsaved = [slot for slot in self._unsaved if alive[slot]]

    def _add(self, keys: list[bytes], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        slots = self._rows.add(keys, vectors)
        self._neighbours.extend()
        return slots

    def _save_lists(self) -> None:
        """Keep the lists beside the segments; a disk that refuses costs a rebuild, no more."""
        lists = self._neighbours.lists
        try:
            with self._writing, self._log.locked():
                if lists is not None:
                    lists.save(self._lists_path, self._rows.keys)
        except OSError as error:
            _LOG.warning("lists not saved to %s: %s", self._folder, error)


def _shifted(progress: Progress, start: int, total: int) -> Progress:
    return lambda done, _: progress(start + done, total)
