"""Which texts an encoder was fitted to.

A fine-tuned encoder puts those texts nearer to what they cost than it puts any other. Whoever
learns from the neighbourhoods of a catalogue how far neighbours are to be trusted must leave them
out, or trusts too much. They are known by a hash of the title, the first field of a canonical
text, so that a listing counts as one of them whatever else is said of it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.errors import AdapterError

__all__ = ["FILE", "marks", "read", "write"]

FILE = "trained_texts.npy"

_BETWEEN = " | "


def marks(texts: Sequence[str]) -> NDArray[np.uint64]:
    """A hash of each canonical text's title, capitals aside, uint64 (n,)."""
    digests = b"".join(_digest(text) for text in texts)
    return np.frombuffer(digests, np.uint64).copy()


def write(folder: Path, known: Iterable[NDArray[np.uint64]]) -> None:
    """Keep marks beside an adapter or a model."""
    np.save(folder / FILE, np.unique(np.concatenate([np.empty(0, np.uint64), *known])))


def read(folder: Path) -> NDArray[np.uint64]:
    """The marks kept in a folder, sorted, uint64 (m,); none where there is no such file.

    Raises:
        AdapterError: the file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return np.empty(0, np.uint64)
    try:
        found = np.load(path, allow_pickle=False)
        sound = found.dtype == np.uint64 and found.ndim == 1
    except Exception as error:  # of many kinds, by what is wrong with the file
        raise AdapterError(f"{path} cannot be read ({error}): restore it, or delete it") from error
    if not sound:
        raise AdapterError(f"{path} holds no marks of texts: restore it, or delete it")
    return np.unique(found)


def _digest(text: str) -> bytes:
    title = text.partition(_BETWEEN)[0].casefold()
    return hashlib.blake2b(title.encode("utf-8", "replace"), digest_size=8).digest()
