"""A console for text that others wrote: titles, paths and errors have brackets and colons."""

from typing import Any

from rich.console import Console


def plain_console(**given: Any) -> Console:
    """A console that prints text as it is, without markup or emoji codes."""
    return Console(markup=False, emoji=False, **given)
