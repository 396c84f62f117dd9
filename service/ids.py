"""Decision ids: UUIDv7 (RFC 9562), made and written a batch at a time."""

import os
import uuid
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def decision_ids(n: int, at_us: int, after: str = "") -> NDArray[np.uint64]:
    """`n` new ids in rising order as two words each, uint64 (n, 2).

    Args:
        at_us: time of the decisions, microseconds since 1970 UTC; its milliseconds lead the id.
        after: an id that all new ones are above, though the clock stood still or went back.
    """
    random = np.frombuffer(os.urandom(16 * n), np.uint64).reshape(n, 2).copy()
    millisecond = at_us // 1000
    if after:
        millisecond = max(millisecond, (int(as_words([after])[0, 0]) >> 16) + 1)
    stamp = np.uint64(millisecond << 16 | 0x7000)
    random[:, 0] = stamp | (random[:, 0] & np.uint64(0x0FFF))
    random[:, 1] = (random[:, 1] & np.uint64(0x3FFF_FFFF_FFFF_FFFF)) | np.uint64(1 << 63)
    return random[np.lexsort((random[:, 1], random[:, 0]))]


def lowest(at_us: int) -> str:
    """The lowest id of decisions made at a time, microseconds since 1970 UTC, or later."""
    return as_text(np.array([[(at_us // 1000) << 16, 0]], np.uint64))[0]


def as_text(ids: NDArray[np.uint64]) -> list[str]:
    """Canonical text of each id, e.g. 018f3c9e-….-7….-….-…."""
    digits = ids.astype(">u8").tobytes().hex()
    whole = (digits[i : i + 32] for i in range(0, len(digits), 32))
    return [f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}" for d in whole]


def as_words(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Words of ids given as text, uint64 (n, 2)."""
    joined = b"".join(uuid.UUID(t).bytes for t in texts)
    return np.frombuffer(joined, ">u8").reshape(-1, 2).astype(np.uint64)


def canonical(text: str) -> str | None:
    """The id in canonical text, or None where `text` is no UUID."""
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError):
        return None
