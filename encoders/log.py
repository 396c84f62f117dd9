"""A folder of segments, read and written as one log that several processes share.

Every segment carries in its name the range of sequence numbers it stands for: ``first-last``. A
fresh one stands for one number; a merged one for the run that it replaces. A segment inside the
range of a whole wider one is superseded. So a merge takes effect by one rename, and it does not
matter when, or whether, the files it replaces are unlinked.

Numbers are given out and segments renamed under a file lock, so all processes see one order.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.errors import CacheWriteError
from encoders.segments import Segment, counts_of, read_segment, segment_bytes, write_whole

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["SegmentLog"]

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"(\d{12})-(\d{12})\.seg")
MERGE_AT = 16
MERGE_BELOW_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    first: int
    last: int


class SegmentLog:
    """The segments of one encoder in one folder.

    Not thread-safe: the owner lets one thread in at a time. Safe between processes.

    Raises:
        CacheWriteError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, dim: int, fingerprint: str) -> None:
        self._folder = folder
        self._dim = dim
        self._fingerprint = fingerprint
        self._seen = 0
        self._torn: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.locked():
                for aside in folder.glob("*.tmp"):
                    # Writers hold the lock while they write: whoever began this file is dead.
                    aside.unlink(missing_ok=True)
                self._merge_if_due()
        except OSError as error:
            raise CacheWriteError(
                f"cache directory {str(folder)!r} cannot be written ({error}); "
                "give a directory this user may write, on a disk with room"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other processes; a killed holder lets go by dying."""
        handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if sys.platform == "win32":
                msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
            else:
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def unread(self) -> Iterator[Segment]:
        """Segments not yet given to this object, in order; torn ones are passed over, logged."""
        while (file := self._next_unread()) is not None:
            try:
                segment = read_segment(file.path, self._dim, self._fingerprint)
            except FileNotFoundError:
                continue  # merged away by another process since it was listed
            if segment is None:
                self._torn.add(file.path.name)
                _LOG.warning("dropped torn segment %s; its texts are encoded again", file.path)
                continue
            # One that starts at 1 and reaches past what is known replaces all that is known.
            complete = file.first == 1 and self._seen > 0
            self._seen = file.last
            yield Segment(segment.keys, segment.vectors, segment.dead, complete)

    def append(self, keys: list[bytes], vectors: NDArray[np.float32], dead: list[bytes]) -> None:
        """Add a segment, durably; inside :meth:`locked`, with :meth:`unread` exhausted.

        Raises:
            OSError: nothing was added.
        """
        last = max([self._seen, *(file.last for file in self._files())])
        self._write(last + 1, last + 1, keys, dead, [vectors])
        self._seen = last + 1
        try:
            self._merge_if_due()
        except OSError as error:
            _LOG.warning("segments in %s not merged: %s", self._folder, error)

    def _next_unread(self) -> _File | None:
        ahead = (f for f in self._files() if f.last > self._seen and f.path.name not in self._torn)
        return next(ahead, None)

    def _files(self) -> list[_File]:
        """All segments by first number; of two that start together the wider comes first."""
        names = map(_NAME.fullmatch, os.listdir(self._folder))
        found = [_File(self._folder / m[0], int(m[1]), int(m[2])) for m in names if m]
        return sorted(found, key=lambda file: (file.first, -file.last))

    def _write(
        self,
        first: int,
        last: int,
        keys: list[bytes],
        dead: list[bytes],
        blocks: Iterator[NDArray[np.float32]] | list[NDArray[np.float32]],
    ) -> None:
        path = self._folder / f"{first:012d}-{last:012d}.seg"
        write_whole(path, segment_bytes(keys, dead, blocks, self._dim, self._fingerprint))

    def _merge_if_due(self) -> None:
        files = self._files()
        current, reach = [], 0
        for file in files:
            if file.first > reach:
                current.append(file)
                reach = file.last
        counts = [counts_of(file.path, self._dim, self._fingerprint) for file in current]
        mostly_dead = 2 * sum(dead for _, dead in counts) > sum(rows for rows, _ in counts)
        start = 0 if mostly_dead else _start_of_run([f.path.stat().st_size for f in current])
        if len(current) - start >= (2 if mostly_dead else MERGE_AT):
            # By range and not by `current`: a torn wide file must not hide the files beneath it.
            self._merge([file for file in files if file.first >= current[start].first])

    def _merge(self, run: list[_File]) -> None:
        """Replace the newest segments by one, which says what they say together."""
        first, last = run[0].first, max(file.last for file in run)
        owner: dict[bytes, tuple[int, int]] = {}
        dead: set[bytes] = set()
        whole: list[_File] = []
        reach = 0
        for file in run:
            segment = None
            if file.last > reach:
                segment = read_segment(file.path, self._dim, self._fingerprint)
            if segment is None:
                continue
            reach = file.last
            for key in segment.dead:
                owner.pop(key, None)
                dead.add(key)
            for row, key in enumerate(segment.keys):
                owner.setdefault(key, (len(whole), row))
                dead.discard(key)
            whole.append(file)
        if first == self._files()[0].first:
            # Nothing older is left that could hold a deleted key.
            first, dead = 1, set()
        kept: list[list[int]] = [[] for _ in whole]
        for place, row in owner.values():
            kept[place].append(row)
        # Grouped by segment, keys stand in the order in which their vectors are streamed.
        keys = sorted(owner, key=lambda key: owner[key])
        self._write(first, last, keys, sorted(dead), self._rows(whole, kept))
        for file in run:
            if (file.first, file.last) != (first, last):
                with suppress(OSError):
                    file.path.unlink()

    def _rows(self, files: list[_File], kept: list[list[int]]) -> Iterator[NDArray[np.float32]]:
        for file, rows in zip(files, kept, strict=True):
            segment = read_segment(file.path, self._dim, self._fingerprint)
            if segment is None:
                raise OSError(f"segment {file.path} became unreadable during a merge")
            yield segment.vectors[sorted(rows)]


def _start_of_run(sizes: list[int]) -> int:
    """Where the run worth merging starts: newest segments, none far larger than those after it.

    Each byte is so rewritten about log(bytes) times in all, not once per merge.
    """
    start, total = len(sizes), 0
    for i in range(len(sizes) - 1, -1, -1):
        enough = len(sizes) - i > MERGE_AT // 2
        if total + sizes[i] > MERGE_BELOW_BYTES or (enough and sizes[i] > 2 * total):
            break
        start, total = i, total + sizes[i]
    return start
