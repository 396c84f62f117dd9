"""Tasks in worker processes: those of a group in the same one, and one that dies loses one task."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

# One thread a worker: sums over several threads depend on how many there are. Hashes alike.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


class CannotStart(RuntimeError):
    """A worker process ended before it could take a task."""


@dataclass(frozen=True, slots=True)
class Died:
    """A worker process ended in the middle of a task.

    Attributes:
        exitcode: its exit status, or minus the number of the signal that killed it.
    """

    exitcode: int | None


@dataclass(slots=True, eq=False)
class _Worker(Generic[Task]):
    process: BaseProcess
    pipe: Connection
    group: int = -1
    task: Task | None = None


@dataclass(slots=True)
class _Queue(Generic[Task]):
    """Groups of tasks; a worker stays with its own until nothing of it is left."""

    groups: list[list[Task]]
    weight: Callable[[Task], float]
    begun: set[int] = field(default_factory=set)

    def take(self, worker: _Worker[Task]) -> Task | None:
        """The task that a worker does next, or None where none is left."""
        left = [number for number, group in enumerate(self.groups) if group]
        if not left:
            return None
        if worker.group not in left:
            fresh = [number for number in left if number not in self.begun]
            longest = max(left, key=lambda number: sum(map(self.weight, self.groups[number])))
            worker.group = fresh[0] if fresh else longest
            self.begun.add(worker.group)
        group = self.groups[worker.group]
        return group.pop(max(range(len(group)), key=lambda place: self.weight(group[place])))


def carry_out(
    make: Callable[..., Callable[[Task], Answer]],
    arguments: tuple[Any, ...],
    groups: Sequence[Sequence[Task]],
    jobs: int,
    weight: Callable[[Task], float],
) -> Generator[tuple[Task, Answer | Died], None, None]:
    """Carry out tasks in `jobs` processes; answers come in the order in which they are ready.

    Processes are spawned, so that no thread of this one (torch's, say) is copied half-way, and
    compute with one thread each. Whoever closes the iterator ends them.

    Args:
        make: called once in each process with `arguments`; carries tasks out from then on. Both
            are pickled.
        groups: tasks; those of one group go to one process as far as that keeps none idle.
        weight: how long a task is expected to take, any unit; long ones go first.

    Raises:
        CannotStart: a process ended before its first task.
        pickle.PicklingError, AttributeError: `make` or `arguments` cannot be pickled.
    """
    queue = _Queue([list(group) for group in groups], weight)
    workers: list[_Worker[Task]] = []
    started: list[BaseProcess] = []
    try:
        count = min(jobs, sum(map(len, groups)))
        workers += [_start(make, arguments, started) for _ in range(count)]
        while workers:
            ready = wait([worker.pipe for worker in workers])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                task, worker.task = worker.task, None
                answer = _received(worker)
                if isinstance(answer, Died):
                    workers.remove(worker)
                    if task is None:
                        raise CannotStart(
                            f"a worker process ended at its start ({said(answer.exitcode)}); "
                            "what it wrote stands above"
                        )
                    if any(queue.groups):
                        workers.append(_start(make, arguments, started))
                else:
                    worker.task = queue.take(worker)
                    if worker.task is None:
                        workers.remove(worker)
                        worker.pipe.close()  # at which it ends
                    else:
                        _send(worker, worker.task)
                if task is not None:
                    yield task, answer
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def said(exitcode: int | None) -> str:
    """An exit status in words."""
    if exitcode is None or exitcode >= 0:
        return f"exit status {exitcode}"
    return f"killed by {signal.Signals(-exitcode).name}"


def _start(
    make: Callable[..., Any], arguments: tuple[Any, ...], started: list[BaseProcess]
) -> _Worker[Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, make, arguments), daemon=True)
    with _environment(), _deaf():
        process.start()
    started.append(process)
    theirs.close()  # so that its death is seen as the end of the pipe
    return _Worker(process, ours)


@contextmanager
def _environment() -> Iterator[None]:
    """This process's environment as the next one spawned should find it."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C is ignored here, and by processes started here from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's alone
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _received(worker: _Worker[Any]) -> Any:
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return Died(worker.process.exitcode)


def _send(worker: _Worker[Task], task: Task) -> None:
    try:
        worker.pipe.send(task)
    except OSError:  # it is dead, which the next look at the pipe tells
        return


def _work(pipe: Connection, make: Callable[..., Callable[[Any], Any]], arguments: Any) -> None:
    """What a worker process does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it
    answer = make(*arguments)
    pipe.send(None)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(answer(task))
