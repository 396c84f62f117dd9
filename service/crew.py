"""Threads among which a batch is shared out."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")

MOST = 4
"""Threads that are of use: what is done in Python itself, one alone does at a time."""


class Crew:
    """The calling thread, and others beside it.

    Args:
        size: threads, the calling one included, of which `MOST` are taken.
    """

    def __init__(self, size: int) -> None:
        self.size = min(max(size, 1), MOST)
        # each computes with one thread: those of others are busy with their own share
        self._others = ThreadPoolExecutor(
            self.size, "pricebandit-crew", initializer=torch.set_num_threads, initargs=(1,)
        )

    def map(self, function: Callable[[A], B], parts: Sequence[A]) -> list[B]:
        """What a function makes of each part, in order; all are done when it returns or raises."""
        others = [self._others.submit(function, part) for part in parts[1:]]
        try:
            own = [function(part) for part in parts[:1]]
        finally:
            wait(others)
        return own + [other.result() for other in others]

    def close(self) -> None:
        """Let the threads go."""
        self._others.shutdown()
