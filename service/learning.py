"""The model as a fold over the log, and its snapshots: bookmarks in that fold."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import torch
from numpy.typing import NDArray

from bandits import DIM, Outcomes, Policy
from service import log
from service.catalogue import Catalogue

KEPT_SNAPSHOTS = 2
_MAGIC = b"pricebandit snapshot 3\n"

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Position:
    """How far the fold has come: the last row of each table that is in the model."""

    outcomes: int = 0
    sales: int = 0


class Fold:
    """A policy, and how far in the log it has read.

    Args:
        policy: statistics start empty and are changed by this fold alone.
        features_of: version of the features; statistics of the head take no others.
    """

    def __init__(self, policy: Policy, features_of: str) -> None:
        self.policy, self.features_of = policy, features_of
        self.position = Position()

    @property
    def version(self) -> str:
        """The model's version: features, and the last outcome and sale that it knows."""
        return f"{self.features_of}.{self.position.outcomes}.{self.position.sales}"

    def add_outcomes(self, outcomes: Outcomes, last: int) -> None:
        """Fold outcomes in; `last` is the log's number of the last of them."""
        self.policy.learn(outcomes)
        self.position.outcomes = max(self.position.outcomes, last)

    def add_sales(
        self,
        catalogue: Catalogue,
        rows: NDArray[np.int64],
        price: NDArray[np.float64],
        units: NDArray[np.float64],
        impressions: NDArray[np.float64],
        at: NDArray[np.int64],
        last: int,
    ) -> None:
        """Fold recorded sales in: price levels from all, demand from those with impressions.

        Args:
            rows: catalogue rows, anchors set. price: currency units. impressions: NaN if unknown.
            at: microseconds since 1970 UTC.
        """
        catalogue.record_sales(rows, np.log(price), units)
        shown = impressions > 0
        cost = np.nan_to_num(catalogue.number["unit_cost"][rows])
        self.policy.evidence.add(
            rows[shown],
            catalogue.anchor[rows[shown]],
            price[shown],
            impressions[shown],
            units[shown],
            (units * (price - cost))[shown],
            at[shown],
        )
        self.position.sales = max(self.position.sales, last)

    def replay(
        self, source: log.Log, catalogue: Catalogue, progress: Progress | None = None
    ) -> int:
        """Fold in everything after the position; the number of events read."""
        o, d, s = log.outcomes.c, log.decisions.c, log.sales.c
        with source.engine.connect() as conn:
            total = sum(
                conn.scalar(sa.select(sa.func.count()).where(column > after)) or 0
                for column, after in ((o.seq, self.position.outcomes), (s.seq, self.position.sales))
            )
        done = 0
        query = (
            sa.select(*OUTCOME_COLUMNS)
            .join(log.decisions, d.id == o.decision_id)
            .where(o.seq > self.position.outcomes)
            .order_by(o.seq)
        )
        for part in source.stream(query):
            self.add_outcomes(outcomes_of(part, catalogue, self.features_of), part[-1].seq)
            done += len(part)
            if progress:
                progress(done, total)
        sold = (
            sa.select(s.seq, s.listing, s.price, s.units, s.impressions, s.at)
            .where(s.seq > self.position.sales)
            .order_by(s.seq)
        )
        for part in source.stream(sold):
            last, listing, price, units, impressions, at = (
                np.array(column, np.float64) for column in zip(*part, strict=True)
            )
            rows = listing.astype(np.int64)
            money = price / catalogue.per_major[rows]
            days = at.astype(np.int64)
            self.add_sales(catalogue, rows, money, units, impressions, days, int(last[-1]))
            done += len(part)
            if progress:
                progress(done, total)
        return done


def rebuild(
    fold: Fold, source: log.Log, catalogue: Catalogue, progress: Progress | None = None
) -> tuple[Fold, int]:
    """A fold like `fold` of the whole log from nothing, and the number of events in it.

    Raises:
        ValueError: the catalogue's price levels are not those of the log.
    """
    anew = Fold(Policy(fold.policy.rules, fold.policy.device), fold.features_of)
    sold = catalogue.sold.copy()
    catalogue.sold[:] = 0.0
    events = anew.replay(source, catalogue, progress)
    if not np.allclose(sold, catalogue.sold, rtol=1e-9, atol=1e-9):
        raise ValueError("recorded price levels in memory are not those of the log")
    return anew, events


def difference(one: Fold, other: Fold) -> float:
    """Largest difference between the statistics of two folds, relative to the largest entry."""
    apart = 0.0
    mine, theirs = one.policy.evidence, other.policy.evidence
    rows = np.union1d(mine.listing, theirs.listing)
    pairs = [
        (one.policy.head.gram, other.policy.head.gram),
        (one.policy.head.moment, other.policy.head.moment),
        *zip(mine.gather(rows)[:2], theirs.gather(rows)[:2], strict=True),
    ]
    for a, b in pairs:
        if a.numel():
            scale = max(float(a.abs().max()), float(b.abs().max()), 1e-300)
            apart = max(apart, float((a - b).abs().max()) / scale)
    return apart


_o, _d = log.outcomes.c, log.decisions.c
OUTCOME_COLUMNS = (
    _o.seq,
    _o.impressions,
    _o.units,
    _o.returned_units,
    _o.occurred_at,
    _d.listing,
    _d.price,
    _d.unit_cost,
    _d.curve_sd,
    _d.features,
    _d.features_of,
)
"""What the fold reads of an outcome and its decision."""


def outcomes_of(rows: Any, catalogue: Catalogue, features_of: str) -> Outcomes:
    """Rows of OUTCOME_COLUMNS, less `seq` where not yet numbered, as the policy takes them.

    Features of another version count for nothing in the head: their row is all zeros.
    """
    columns = list(zip(*rows, strict=True))
    impressions, units, returned, at, listing, price, cost, curve_sd, blobs, versions = columns[
        -10:
    ]
    where = np.array(listing, np.int64)
    other = np.array([version != features_of for version in versions])
    if other.any():
        blank = bytes(4 * DIM)
        blobs = tuple(blank if o else blob for o, blob in zip(other, blobs, strict=True))
    features = np.frombuffer(bytearray().join(blobs), np.float32).reshape(-1, DIM)
    money = np.array(price, np.float64) / catalogue.per_major[where]
    net = np.array(units, np.float64) - np.array(returned, np.float64)
    margin = money - np.nan_to_num(np.array(cost, np.float64))
    return Outcomes(
        where,
        catalogue.anchor[where],
        money,
        np.array(impressions, np.float64),
        net,
        net * margin,
        np.array(curve_sd, np.float64),
        features,
        np.array(at, np.int64),
    )


# -- snapshots ------------------------------------------------------------------------------


def _arrays(fold: Fold, catalogue: Catalogue) -> dict[str, NDArray[Any]]:
    policy, n = fold.policy, len(catalogue)
    evidence = policy.evidence
    m = len(evidence)
    return {
        "gram": policy.head.gram.cpu().numpy(),
        "moment": policy.head.moment.cpu().numpy(),
        "as_of": np.array([policy.head.as_of]),
        "sums": evidence.sums[:m].numpy(),
        "totals": evidence.totals[:m].numpy(),
        "evidence_as_of": evidence.as_of,
        "trust": evidence.trust,
        "evidence_listing": evidence.listing,
        "evidence_anchor": evidence.anchor,
        "sold": catalogue.sold[:n],
        "last_price": catalogue.last_price[:n],
    }


def write_snapshot(fold: Fold, catalogue: Catalogue, log_id: str, folder: Path) -> Path:
    """Save the fold beside earlier snapshots: written aside, synced, renamed; old ones go.

    The file says which log, features and position it belongs to, and ends with its own SHA-256.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "log": log_id,
        "features_of": fold.features_of,
        "rules": _rules(fold.policy),
        "families": _families(catalogue),
        "decided_until": catalogue.decided_until,
        **asdict(fold.position),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **_arrays(fold, catalogue))  # type: ignore[arg-type]
    head = json.dumps(header).encode()
    payload = _MAGIC + len(head).to_bytes(8, "big") + head + buffer.getvalue()
    payload += hashlib.sha256(payload).digest()
    path = folder / f"{fold.position.outcomes:016d}-{fold.position.sales:016d}.snapshot"
    aside = path.with_suffix(f".{os.getpid()}.part")
    with open(aside, "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    for old in sorted(folder.glob("*.snapshot"))[:-KEPT_SNAPSHOTS]:
        old.unlink(missing_ok=True)
    for left in folder.glob("*.part"):
        left.unlink(missing_ok=True)
    return path


def read_snapshot(fold: Fold, catalogue: Catalogue, source: log.Log, folder: Path) -> bool:
    """Take over the newest sound snapshot of this log and these features; False if there is none.

    A torn or foreign file is passed over: the log has everything.
    """
    with source.engine.connect() as conn:
        ends = [
            conn.scalar(sa.select(sa.func.max(t.c.seq))) or 0 for t in (log.outcomes, log.sales)
        ]
    for path in sorted(folder.glob("*.snapshot"), reverse=True):
        payload = path.read_bytes()
        body, digest = payload[:-32], payload[-32:]
        if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
            continue
        start = len(_MAGIC) + 8
        size = int.from_bytes(body[len(_MAGIC) : start], "big")
        header = json.loads(body[start : start + size])
        position = Position(header["outcomes"], header["sales"])
        mine = (source.id, fold.features_of, _rules(fold.policy))
        if (header["log"], header["features_of"], header["rules"]) != mine:
            continue
        if position.outcomes > ends[0] or position.sales > ends[1]:
            continue  # the log was put back to an earlier state
        with np.load(io.BytesIO(body[start + size :])) as arrays:
            _restore(fold, catalogue, dict(arrays))
        fold.position = position
        catalogue.decided_until = header["decided_until"]
        catalogue.family_prices = {
            catalogue.family_code[name]: (unit, price, currency)
            for name, (unit, price, currency) in header["families"].items()
            if name in catalogue.family_code
        }
        return True
    return False


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


def _families(catalogue: Catalogue) -> dict[str, tuple[str, int, str]]:
    names = list(catalogue.family_code)
    return {names[code]: held for code, held in catalogue.family_prices.items()}


def _restore(fold: Fold, catalogue: Catalogue, arrays: dict[str, NDArray[Any]]) -> None:
    head, evidence = fold.policy.head, fold.policy.evidence
    head.restore(
        torch.as_tensor(arrays["gram"]), torch.as_tensor(arrays["moment"]), arrays["as_of"].item()
    )
    evidence.restore(
        arrays["evidence_listing"],
        arrays["evidence_anchor"],
        torch.as_tensor(arrays["sums"]),
        torch.as_tensor(arrays["totals"]),
        arrays["evidence_as_of"],
        arrays["trust"],
    )
    catalogue.sold[: len(arrays["sold"])] = arrays["sold"]
    catalogue.last_price[: len(arrays["last_price"])] = arrays["last_price"]
