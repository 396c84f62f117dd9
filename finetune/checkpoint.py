"""A training run on disk: resumed after a kill, it goes on as if nothing had happened."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

NAME = "training.pt"


class AnotherRun(ValueError):
    """The folder holds another run's state."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Replace the state at once: a reader finds the old one or the new one, whole.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    aside, state_bytes = folder / f"{NAME}.part", BytesIO()
    torch.save(state, state_bytes)  # which, writing a file, hides that the disk is full
    with aside.open("wb") as file:
        file.write(state_bytes.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, folder / NAME)


def load(folder: Path, identity: str) -> dict[str, Any] | None:
    """The state of the run called `identity`, None where there is none yet.

    Raises:
        AnotherRun: the state is another run's, or cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    fix = "give another --output, or --restart to begin anew"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, by what is wrong with the file
        raise AnotherRun(f"{path} cannot be read ({error}): {fix}") from error
    if state.get("identity") != identity:
        raise AnotherRun(f"{path} is of a run with other data, base model or options: {fix}")
    return state


def forget(folder: Path) -> None:
    """Take the state away: the run is over."""
    (folder / NAME).unlink(missing_ok=True)
