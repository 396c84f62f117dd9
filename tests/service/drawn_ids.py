"""Decision ids whose draws are the same in every run, whatever the clock says.

A draw is made from a decision's id, and an id holds its milliseconds. Tests of what is learned
from drawn prices would each fail once in so many runs; here they meet the same draws each time,
and others where pytest's `--draws` names some.
"""

from zlib import crc32

import numpy as np

from service.ids import decision_ids

_GOLDEN = 0x9E3779B97F4A7C15  # of `bandits.uniforms`, which mixes high · golden + low


class DrawnIds:
    """In place of `service.ids.decision_ids`; `start` begins the draws of a test."""

    def __init__(self, draws: str = "") -> None:
        self._draws = draws

    def start(self, name: str) -> None:
        self._rng = np.random.default_rng(crc32(f"{self._draws}{name}".encode()))

    def __call__(self, n: int, at_us: int, after: str = "") -> np.ndarray:
        high = int(decision_ids(1, at_us, after)[0, 0]) >> 12 << 12
        ids = []
        for mixed in self._rng.integers(1 << 64, size=n, dtype=np.uint64).tolist():
            while True:
                high += 1
                if high >> 12 & 0xF != 7:  # a millisecond is full
                    high = ((high >> 16) + 1) << 16 | 0x7000
                low = (mixed - high * _GOLDEN) % (1 << 64)
                if low >> 62 == 0b10:  # as an id's variant has to be
                    break
            ids.append((high, low))
        return np.array(ids, np.uint64).reshape(-1, 2)
