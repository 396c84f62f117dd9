"""A progress bar on standard error, gone when done."""

from __future__ import annotations


class ProgressBar:
    """Shows what is being done, how much of it is done, and how long it may take.

    Args:
        what: is being done. total: how much there is of it, None for unknown.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        from service.plain_console import plain_console

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=plain_console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def to(
        self, done: int | None = None, total: int | None = None, what: str | None = None
    ) -> None:
        """Show how far it has come; what is None stays as it is."""
        self._progress.update(self._task, completed=done, total=total, description=what)

    def told(self, what: str, done: int, total: int) -> None:
        """As `to`, in the order in which progress is called."""
        self.to(done, total, what)
