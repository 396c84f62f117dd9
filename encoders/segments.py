"""One segment: an immutable, checksummed file of vectors under keys, and of deleted keys.

Layout, little-endian::

    offset  bytes            field
    0       8                magic "PBSEGM01"
    8       8                d, length of a vector
    16      8                r, rows
    24      8                t, deleted keys (tombstones)
    32      32               SHA-256 of the encoder's fingerprint
    64      16 r             keys of the rows
            16 t             deleted keys, which are applied before the rows
            4 r d            vectors, float32
            32               SHA-256 of everything above

A file whose length, header or checksum does not fit is *torn* and is not read at all: every field
is under the checksum, so what is read is what was written.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.disk import sync

__all__ = ["KEY_BYTES", "Segment", "counts_of", "read_segment", "segment_bytes", "write_whole"]

KEY_BYTES = 16
_HEADER = struct.Struct("<8sQQQ32s")
_MAGIC = b"PBSEGM01"
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Segment:
    """What one segment says: first ``dead`` keys go, then rows come.

    Attributes:
        keys: r keys of 16 bytes.
        vectors: float32 (r, d).
        dead: keys deleted.
        complete: the segment is all there is, and a key that it lacks is gone.
    """

    keys: list[bytes]
    vectors: NDArray[np.float32]
    dead: list[bytes]
    complete: bool = False


def segment_bytes(
    keys: list[bytes],
    dead: list[bytes],
    blocks: Iterable[NDArray[np.float32]],
    dim: int,
    fingerprint: str,
) -> Iterator[bytes | memoryview]:
    """The parts of a segment's file in order; ``blocks`` are (·, d) and sum to ``len(keys)``."""
    digest = hashlib.sha256()
    head = _HEADER.pack(_MAGIC, dim, len(keys), len(dead), _identity(fingerprint))
    for part in (head, b"".join(keys), b"".join(dead)):
        digest.update(part)
        yield part
    for block in blocks:
        raw = np.ascontiguousarray(block, "<f4").reshape(-1).view(np.uint8).data
        digest.update(raw)
        yield raw
    yield digest.digest()


def read_segment(path: Path, dim: int, fingerprint: str) -> Segment | None:
    """The segment in a file, or None where the file is torn or of another encoder.

    Raises:
        FileNotFoundError: there is no such file (any more).
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    counts = _counts(raw[: _HEADER.size].tobytes(), raw.size, dim, fingerprint)
    if counts is None:
        return None
    body, checksum = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:].tobytes()
    if hashlib.sha256(body.data).digest() != checksum:
        return None
    rows, deleted = counts
    first_dead = _HEADER.size + KEY_BYTES * rows
    first_vector = first_dead + KEY_BYTES * deleted
    return Segment(
        keys=_split(body[_HEADER.size : first_dead].tobytes()),
        vectors=body[first_vector:].view("<f4").reshape(rows, dim),
        dead=_split(body[first_dead:first_vector].tobytes()),
    )


def counts_of(path: Path, dim: int, fingerprint: str) -> tuple[int, int]:
    """Rows and deleted keys a file claims by header and length alone; (0, 0) where torn."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return 0, 0
    return _counts(head, size, dim, fingerprint) or (0, 0)


def write_whole(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file so that at every instant, power cuts included, it is absent or whole.

    Raises:
        OSError: nothing was written under ``path``.
    """
    aside = path.with_name(path.name + ".tmp")
    try:
        with aside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        sync(path.parent)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise


def _counts(head: bytes, size: int, dim: int, fingerprint: str) -> tuple[int, int] | None:
    if len(head) < _HEADER.size:
        return None
    magic, width, rows, deleted, identity = _HEADER.unpack(head)
    wanted = _HEADER.size + KEY_BYTES * (rows + deleted) + 4 * rows * dim + _DIGEST_BYTES
    ours = (magic, width, identity) == (_MAGIC, dim, _identity(fingerprint))
    return (rows, deleted) if ours and size == wanted else None


def _identity(fingerprint: str) -> bytes:
    return hashlib.sha256(fingerprint.encode()).digest()


def _split(raw: bytes) -> list[bytes]:
    return [raw[i : i + KEY_BYTES] for i in range(0, len(raw), KEY_BYTES)]
