"""Snapshots of the model: bookmarks in the fold over the log, and what they were trained on."""

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
import orjson
import sqlalchemy as sa
import torch
from numpy.typing import NDArray

from bandits import Alignment, Effect, Policy, Population
from encoders.disk import sync
from service import log
from service.catalogue import Catalogue
from service.family_prices import FamilyPrices
from service.learning import Fold, Position, Read, logged_version, space_of

KEPT_SNAPSHOTS = 2
_MAGIC = b"pricebandit snapshot 19\n"
_READ = 1 << 20  # bytes at a time
_PROCESS = uuid4().hex  # not its number, which is another's once it is gone


def _arrays(fold: Fold, catalogue: Catalogue) -> dict[str, NDArray[Any]]:
    policy, n = fold.policy, len(catalogue)
    evidence = policy.evidence
    m = len(evidence)
    return {
        "gram": policy.head.gram.cpu().numpy(),
        "moment": policy.head.moment.cpu().numpy(),
        "as_of": np.array([policy.head.as_of]),
        "dispersion": policy.dispersion.sums.numpy(),
        "first_day": np.array([policy.days.first]),
        "day_sums": policy.days.sums,
        "category_days": policy.category_days.day,
        "category_sums": policy.category_days.sums,
        "shift_days": policy.shift.day,
        "shift_sums": policy.shift.sums,
        "sums": evidence.sums[:m].numpy(),
        "totals": evidence.totals[:m].numpy(),
        "evidence_as_of": evidence.as_of,
        "evidence_listing": evidence.listing,
        "evidence_anchor": evidence.anchor,
        "sold": catalogue.sold[:n],
        "last_price": catalogue.last_price[:n],
        "learned_price": catalogue.learned_price[:n],
    }


def write_snapshot(
    fold: Fold,
    catalogue: Catalogue,
    source: log.Log,
    folder: Path,
    unlearned: int,
    taught: int,
) -> Callable[[], Path]:
    """Save the fold beside earlier snapshots: written aside, synced, renamed; old ones of its space
    go.

    The file says which log, features and position it belongs to, which events lie there and what
    it was trained on, and ends with its own SHA-256.

    Args:
        unlearned: outcomes in the fold that came since anything was learned from the catalogue as
            a whole. taught: events that told of demand when the population was learned last.

    Returns:
        What writes it, for any thread: all that it writes is taken now.
    """
    header = {
        "log": source.id,
        "listings": len(catalogue),
        "features_of": fold.features_of,
        "rules": _rules(fold.policy),
        "families": _families(catalogue),
        "decided_until": catalogue.decided_until,
        "trained_on": asdict(fold.read),
        "unlearned": unlearned,
        "taught": taught,
        "at": catalogue.changed_until,
        "versions": _versions(fold),
        "all_rules": asdict(fold.policy.rules),
        "population": _spelled(fold.policy.population),
        "doubt": _doubts(catalogue, fold.policy.alignment),
        "categories": list(catalogue.category_code)[: fold.policy.category_days.sums.shape[1]],
        **asdict(fold.position),
    }
    arrays = {name: array.copy() for name, array in _arrays(fold, catalogue).items()}
    position, space = fold.position, space_of(fold.features_of)
    name = f"{position.outcomes:016d}-{position.sales:016d}-{space}.snapshot"

    def written() -> Path:
        header["trained_on"]["decisions"] = _decisions(source, header["decided_until"])
        header["history"] = _history(source, header)
        folder.mkdir(parents=True, exist_ok=True)
        return _written(folder / name, header, arrays)

    return written


def _written(path: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Path:
    # prices of families by unit may be millions, and whoever encodes them holds up all threads
    head = orjson.dumps(header, option=orjson.OPT_NON_STR_KEYS)
    # written twice at one position, perhaps at once
    aside = path.with_suffix(f".{_PROCESS}.{uuid4().hex}.part")
    try:
        with open(aside, "wb") as file:
            signed = _Signed(file)
            signed.write(_MAGIC + len(head).to_bytes(8, "big") + head)
            np.savez(signed, **arrays)  # type: ignore[arg-type]
            file.write(signed.digest.digest())
            file.flush()
            # later than all others, also where the clock was ahead when one of them was written
            latest = max(_written_at(path.parent).values(), default=0)
            at = max(time.time_ns(), latest + 1)
            os.utime(file.fileno(), ns=(at, at))
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)
    # by time of writing, not by position: of a log that was put back, later ones have lower numbers
    # Those of other spaces are left: a model on its way would leave the one in use without any.
    _, _, *space = path.stem.split("-")
    others = [
        other
        for other in _newest_first(path.parent)
        if other != path and other.stem.split("-")[2:] in (space, [])  # of earlier versions
    ]
    for old in others[KEPT_SNAPSHOTS - 1 :]:
        old.unlink(missing_ok=True)
    for left in path.parent.glob("*.part"):
        if _PROCESS not in left.name:  # of one that was killed: a home is open in one alone
            left.unlink(missing_ok=True)
    return path


class _Signed(io.RawIOBase):
    """A file written from end to end, with the SHA-256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self._file.write(data)


@dataclass(frozen=True, slots=True)
class Learned:
    """What the catalogue as a whole had taught when a snapshot was written.

    Attributes:
        population: see `Policy`. doubt: factor of `Alignment` by category.
        price: `Catalogue.learned_price`, (n,). unlearned, taught: as given to `write_snapshot`.
        at: `Catalogue.changed_until`.
    """

    population: Population
    doubt: dict[str, float]
    price: NDArray[np.float64]
    unlearned: int
    taught: int
    at: int

    def hand_over(self, policy: Policy, catalogue: Catalogue) -> None:
        """Let the model know it, in the place of learning it anew."""
        policy.population = self.population
        policy.alignment = _alignment(catalogue, self.doubt)
        catalogue.learned_price[: len(self.price)] = self.price


def read_snapshot(
    fold: Fold, catalogue: Catalogue, source: log.Log, folder: Path
) -> Learned | None:
    """Take over the newest sound snapshot of this log and these features, if there is one.

    What its writer had learned from the catalogue as a whole is returned.

    A torn or foreign file is passed over, and so is one of events that the log lost when it was put
    back to an earlier state, or of sales that were taken back since: the log has everything.
    """
    for header, file in _sound(folder):
        position = Position(header["outcomes"], header["sales"])
        mine = (source.id, fold.features_of, _rules(fold.policy))
        if (header["log"], header["features_of"], header["rules"]) != mine:
            continue
        if header["history"] != _history(source, header) or _taken_back(source, position):
            continue
        with np.load(file) as arrays:
            _restore(fold, catalogue, dict(arrays), header["categories"])
            price = arrays["learned_price"]
        fold.position = position
        told = {field.name: header["trained_on"][field.name] for field in fields(Read)}
        fold.read = Read(**told)
        catalogue.decided_until = header["decided_until"]
        catalogue.family_prices = _family_prices(catalogue, header["families"])
        population = _population(header["population"])
        counts = header["unlearned"], header["taught"], header["at"]
        return Learned(population, header["doubt"], price, *counts)
    return None


def described(folder: Path) -> dict[str, Any] | None:
    """What the newest sound snapshot in a folder was trained on; None where there is none.

    Keys: file, position, `trained_on` (counts, units, times in ISO 8601), `versions`, `rules`,
    `population`.
    """
    for header, _ in _sound(folder):
        told = header["trained_on"]
        return {
            "file": header["file"],
            "outcomes_until": header["outcomes"],
            "sales_until": header["sales"],
            "trained_on": {
                **told,
                "first": _iso(told["first"]),
                "last": _iso(told["last"]),
            },
            "versions": header["versions"],
            "rules": header["all_rules"],
            "population": summary(_population(header["population"])),
        }
    return None


def summary(population: Population) -> dict[str, Any]:
    """The catalogue's learned parameters; of the effects of traits, which are long, the names."""
    spelled = {**_spelled(population), "effects": sorted(population.effects)}
    del spelled["vocabulary"]
    return spelled


def _sound(folder: Path) -> Iterator[tuple[dict[str, Any], BinaryIO]]:
    """Headers of the snapshots that are whole and of this format, newest first, each with its file,
    which is at its arrays and open until the next.
    """
    for path in _newest_first(folder):
        with suppress(FileNotFoundError), open(path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                continue
            digest = hashlib.sha256(_MAGIC)
            left = os.fstat(file.fileno()).st_size - len(_MAGIC) - digest.digest_size
            while left > 0 and (part := file.read(min(_READ, left))):
                digest.update(part)
                left -= len(part)
            if file.read() != digest.digest():
                continue
            file.seek(len(_MAGIC))
            header = orjson.loads(file.read(int.from_bytes(file.read(8), "big")))
            yield {**header, "file": path.name}, file


def _newest_first(folder: Path) -> list[Path]:
    """Snapshots in a folder, those written last first, without any that is deleted meanwhile."""
    written = _written_at(folder)
    return sorted(written, key=lambda path: (written[path], path.name), reverse=True)


def _written_at(folder: Path) -> dict[Path, int]:
    """When the snapshots in a folder were written, nanoseconds since 1970 UTC."""
    written: dict[Path, int] = {}
    for path in folder.glob("*.snapshot"):
        with suppress(FileNotFoundError):
            written[path] = path.stat().st_mtime_ns
    return written


def _history(source: log.Log, header: dict[str, Any]) -> dict[str, list[Any] | None]:
    """The events and the last listing that a log has at a snapshot's position, as JSON has them;
    None where it has none.

    A log that was put back gets others under the numbers of those that it lost.
    """
    o, s, d, li = log.outcomes.c, log.sales.c, log.decisions.c, log.listings.c
    outcome = sa.select(o.decision_id, o.outcome_id, o.received_at)
    sale = sa.select(s.sale_id, s.listing, s.at, s.price, s.units)
    queries = {
        "outcome": outcome.where(o.seq == header["outcomes"]),
        "sale": sale.where(s.seq == header["sales"]),
        "decision": sa.select(d.id).where(d.id == header["decided_until"]),
        "listing": sa.select(li.listing_id, li.registered_at).where(
            li.row == header["listings"] - 1
        ),
    }
    with source.engine.connect() as conn:
        rows = {name: conn.execute(query).first() for name, query in queries.items()}
    return {name: None if row is None else list(row) for name, row in rows.items()}


def _taken_back(source: log.Log, position: Position) -> bool:
    """Whether sales were taken back after a position in the log."""
    s = log.sales.c
    query = sa.select(s.seq).where(s.takes_back.is_not(None), s.seq > position.sales).limit(1)
    with source.engine.connect() as conn:
        return conn.scalar(query) is not None


def _decisions(source: log.Log, until: str) -> int:
    d = log.decisions.c
    query = sa.select(sa.func.count()).where(d.id <= until)
    with source.engine.connect() as conn:
        return conn.scalar(query) or 0


def _versions(fold: Fold) -> dict[str, str | None]:
    features, _, encoder = logged_version(fold.features_of).partition("-")
    trunk = fold.policy.trunk
    return {
        "pricebandit": metadata.version("pricebandit"),
        "features": features,
        "encoder": encoder,
        "trunk": trunk.version if trunk else None,
    }


def _iso(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at / 1e6, UTC).isoformat()


def _spelled(population: Population) -> dict[str, Any]:
    """A population as JSON has it; floats come back from it to the last digit."""
    found: dict[str, Any] = {}
    for field in fields(Population):
        value = getattr(population, field.name)
        if field.name == "effects":
            found["effects"] = {
                name: {part.name: getattr(effect, part.name).tolist() for part in fields(Effect)}
                for name, effect in value.items()
            }
        elif field.name == "vocabulary":
            found["vocabulary"] = value.tolist()
        else:
            found[field.name] = torch.as_tensor(value, dtype=torch.float64).tolist()
    return found


def _population(spelled: dict[str, Any]) -> Population:
    columns = {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in spelled.items()
        if name not in ("effects", "vocabulary")
    }
    effects = {
        name: Effect(**{k: torch.tensor(v, dtype=torch.float64) for k, v in parts.items()})
        for name, parts in spelled["effects"].items()
    }
    vocabulary = np.array(spelled["vocabulary"], np.int64)
    return Population(**columns, effects=effects, vocabulary=vocabulary)


def _rules(policy: Policy) -> dict[str, Any]:
    """What statistics depend on besides the log."""
    bank = policy.evidence.bank
    return {
        "half_life_days": policy.rules.half_life_days,
        "shapes": list(bank.shapes),
        "reach": bank.reach,
        "locations": bank.locations,
        "elasticity": bank.elasticity,
    }


def _doubts(catalogue: Catalogue, alignment: Alignment) -> dict[str, float]:
    # by name: a start gives codes in another order than categories came in
    return dict(zip(catalogue.category_code, alignment.doubt.tolist(), strict=False))


def _alignment(catalogue: Catalogue, doubts: dict[str, float]) -> Alignment:
    """What `_doubts` told; the catalogue gets to know categories that all listings have left."""
    code = catalogue.category_code
    for name in doubts:
        code.setdefault(name, len(code))
    doubt = np.ones(len(code))
    doubt[[code[name] for name in doubts]] = list(doubts.values())
    return Alignment(doubt)


def _families(catalogue: Catalogue) -> dict[str, Any]:
    names, prices = list(catalogue.family_code), catalogue.family_prices
    return {
        "units": {names[code]: units.copy() for code, units in prices.units.items()},
        "days": {names[code]: days.copy() for code, days in prices.days.items()},
    }


def _family_prices(catalogue: Catalogue, families: dict[str, Any]) -> FamilyPrices:
    """What `_families` told; the catalogue gets to know families that all members have left."""
    code = catalogue.family_code
    for name in [*families["units"], *families["days"]]:
        code.setdefault(name, len(code))
    kept = (
        {
            code[name]: {unit: (price, currency) for unit, (price, currency) in units.items()}
            for name, units in families[kind].items()
        }
        for kind in ("units", "days")
    )
    return FamilyPrices(*kept)


def _restore(
    fold: Fold, catalogue: Catalogue, arrays: dict[str, NDArray[Any]], categories: list[str]
) -> None:
    """Take over arrays; `categories` names those that days were told of."""
    head, evidence = fold.policy.head, fold.policy.evidence
    head.restore(
        torch.as_tensor(arrays["gram"]), torch.as_tensor(arrays["moment"]), arrays["as_of"].item()
    )
    fold.policy.dispersion.sums = torch.as_tensor(arrays["dispersion"])
    fold.policy.days.restore(arrays["first_day"].item(), arrays["day_sums"])
    of_category = arrays["category_sums"]
    code = catalogue.categories(categories)
    sums = np.zeros((2, int(code.max(initial=-1)) + 1, *of_category.shape[2:]))
    sums[:, code] = of_category
    fold.policy.category_days.restore(arrays["category_days"], sums)
    fold.policy.shift.restore(arrays["shift_days"], arrays["shift_sums"])
    evidence.restore(
        arrays["evidence_listing"],
        arrays["evidence_anchor"],
        torch.as_tensor(arrays["sums"]),
        torch.as_tensor(arrays["totals"]),
        arrays["evidence_as_of"],
    )
    catalogue.sold[: len(arrays["sold"])] = arrays["sold"]
    catalogue.last_price[: len(arrays["last_price"])] = arrays["last_price"]
