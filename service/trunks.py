"""The trunks that a home has adopted: which one is in use, and how to go back."""

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from bandits import Trunk
from bandits.features import VERSION
from encoders.disk import sync

POINTER = "trunk.json"

_LOGGER = logging.getLogger("pricebandit")


class TrunkLost(OSError):
    """A trunk that a home has adopted cannot be read."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A trunk in a home.

    Attributes:
        version: of its weights. features_of: version of the logged features it was trained on.
    """

    version: str
    features_of: str

    def path(self, home: Path) -> Path:
        """Its file."""
        return home / f"trunk-{self.version}"


def adopted(home: Path) -> list[Adopted]:
    """Trunks adopted one after the other, for whatever features.

    Raises:
        TrunkLost: the file that names them cannot be read.
    """
    path = home / POINTER
    if not path.exists():
        return []
    try:
        return [Adopted(**entry) for entry in json.loads(path.read_text())["adopted"]]
    except (ValueError, KeyError, TypeError) as error:
        raise TrunkLost(
            f"{path} cannot be read ({error}): delete it, and raw features are used"
        ) from error


def features_in(space: str) -> str:
    """Version of the features that are logged in an embedding space."""
    return f"{VERSION}-{space}"


def newest(home: Path, features_of: str) -> Adopted | None:
    """The trunk adopted last for features, which is the one in use with them; None without one.

    Raises:
        TrunkLost: the file that names it cannot be read.
    """
    return _newest(adopted(home), features_of)


def _newest(entries: list[Adopted], features_of: str) -> Adopted | None:
    return next((entry for entry in entries[::-1] if entry.features_of == features_of), None)


def in_use(home: Path, features_of: str) -> Trunk | None:
    """The trunk in use; None where there is none that was trained on these features.

    Args:
        features_of: version of the features that are logged now.

    Raises:
        TrunkLost: it is named and cannot be read.
    """
    found = adopted(home)
    last = _newest(found, features_of)
    if last is None:
        if found:
            _LOGGER.warning(
                "trunk-%s was trained on features %s, and these are %s: raw features are used",
                found[-1].version, found[-1].features_of, features_of,
            )  # fmt: skip
        return None
    path = last.path(home)
    try:
        trunk = Trunk.load(path)
        if trunk.version == last.version:
            return trunk
        reason = f"it holds {trunk.version}"
    except Exception as error:  # of several kinds, by what is wrong with the file
        reason = str(error)
    raise TrunkLost(
        f"{path} cannot be used ({reason}): put it back, or take it out of {home / POINTER}, as "
        "`pricebandit train --rollback` does for the model in use"
    )


def adopt(home: Path, trunk: Trunk, features_of: str) -> None:
    """Put a trunk in use from the next start on; those before are kept to go back to."""
    new = Adopted(trunk.version, features_of)
    before = adopted(home)
    home.mkdir(parents=True, exist_ok=True)
    aside = new.path(home).with_suffix(f".{os.getpid()}.part")
    trunk.save(aside)
    sync(aside)
    os.replace(aside, new.path(home))
    _write(home, before if _newest(before, features_of) == new else [*before, new])


def roll_back(home: Path, features_of: str) -> tuple[str | None, str | None]:
    """Take the trunk in use with features out of it, from the next start on; (before, after).

    Those are versions; None stands for raw features. Trunks of other features stay.
    """
    entries = adopted(home)
    before = _newest(entries, features_of)
    if before is None:
        return None, None
    del entries[max(i for i, entry in enumerate(entries) if entry == before)]
    _write(home, entries)
    after = _newest(entries, features_of)
    return before.version, after.version if after else None


def _write(home: Path, entries: list[Adopted]) -> None:
    """Swap the pointer at once: a reader finds the old one or the new one."""
    path = home / POINTER
    aside = path.with_suffix(f".{os.getpid()}.part")
    with aside.open("w") as file:
        json.dump({"adopted": [asdict(entry) for entry in entries]}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    sync(home)
