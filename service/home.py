"""The folder of all state, which one process has at a time."""

import fcntl
from pathlib import Path
from typing import IO


class HomeInUse(RuntimeError):
    """Another process has this home folder open."""


def held(home: Path) -> IO[str]:
    """Keep a folder of state, made where there is none, to this process until what is returned is
    closed.

    Raises:
        HomeInUse: another process has it.
        OSError: it cannot be a folder, or cannot be written.
    """
    trouble = "be a folder"
    try:
        home.mkdir(parents=True, exist_ok=True)
        trouble = "be written"
        lock = open(home / "lock", "w")  # noqa: SIM115  closed by whoever holds it
    except OSError as error:
        raise OSError(
            f"{home} cannot {trouble} ({error.strerror}): give another --home, or PRICEBANDIT_HOME"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise HomeInUse(
            f"{home} is in use by another pricebandit: stop it, or give another --home"
        ) from None
    return lock
