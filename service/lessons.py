"""Learning from the catalogue as a whole, in lessons that hold nothing up."""

import logging
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

Lesson = Callable[[], Any]
"""Something to be worked out on any thread: all that it reads was taken when it was made."""

Lessons = Generator[Lesson, Any, None]
"""Lessons one after the other. What a lesson gives is sent in, and put in place before the next is
made; what it raises is thrown in. Closed before its end, it leaves what it had begun to be learned
another time."""

_LOGGER = logging.getLogger("pricebandit")


@contextmanager
def prices_go_on() -> Iterator[None]:
    """Log what cannot be learned, and go on with what was known."""
    try:
        yield
    except Exception:
        _LOGGER.exception("learning failed; prices go on with what was known before")


def study(lessons: Lessons, watch: Callable[[], None] | None = None) -> None:
    """Learn all of it now, on this thread.

    Args:
        watch: called before each lesson; may raise, which leaves the rest for another time.
    """
    done: Future[Any] | None = None
    try:
        while (lesson := _following(lessons, done)) is not None:
            if watch:
                watch()
            done = Future()
            try:
                done.set_result(lesson())
            except Exception as error:
                done.set_exception(error)
    finally:
        lessons.close()  # Ctrl-C leaves it to be learned


def _following(lessons: Lessons, done: Future[Any] | None) -> Lesson | None:
    """The lesson after one that is done, which is put in place; None: the first; none: the end."""
    try:
        if done is None:
            return next(lessons)
        error = done.exception()
        return lessons.send(done.result()) if error is None else lessons.throw(error)
    except StopIteration:
        return None


@dataclass(frozen=True, slots=True)
class Learned:
    """That a lesson is done. lessons: that it was one of. done: what it gave or raised."""

    lessons: Lessons
    done: Future[Any]


class Learner:
    """Has lessons worked out on a thread of its own; one thread alone may call its methods.

    Args:
        ready: called on the learner's thread when a lesson is done; its caller's thread is then to
            `take` it.
    """

    def __init__(self, ready: Callable[[Learned], None]) -> None:
        self._ready = ready
        # one core is enough: the others price and encode
        self._thread = ThreadPoolExecutor(
            1, "pricebandit-learner", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._lessons: Lessons | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being learned; for any thread."""
        return self._lessons is not None

    def begin(self, lessons: Lessons) -> None:
        """Learn, in the place of what is being learned."""
        self.give_up()
        self._lessons = lessons
        self._go_on(None)

    def take(self, learned: Learned) -> None:
        """Put in place what a lesson gave, unless it was given up, and go on with the next."""
        if learned.lessons is self._lessons:
            self._go_on(learned.done)

    def give_up(self) -> None:
        """Leave what is being learned for another time."""
        if self._lessons is not None:
            self._lessons.close()
        self._lessons = None

    def close(self) -> None:
        """Give up; a lesson that is being worked out is waited for."""
        self.give_up()
        self._thread.shutdown(cancel_futures=True)

    def _go_on(self, done: Future[Any] | None) -> None:
        lessons = self._lessons
        assert lessons is not None
        lesson = None
        with prices_go_on():
            lesson = _following(lessons, done)
        if lesson is None:
            self._lessons = None
            return
        self._thread.submit(lesson).add_done_callback(
            lambda done: self._ready(Learned(lessons, done))
        )
