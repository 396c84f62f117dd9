"""Is a trained trunk worth having? Held-out outcomes say, under the curve alone and both heads."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import xlogy

from bandits import Outcomes, Policy, Rules, Trunk, TrunkSettings
from bandits.telling import could_buy, told_of_all
from evaluation.intervals import Interval, Ratio, two_way
from service import log
from service.catalogue import Catalogue
from service.learning import outcomes_in, outcomes_of

Floats = NDArray[np.float64]
Watch = Callable[[str, int, float, float], None]
"""Called after each epoch: what is trained, the epoch, the loss learned from, the held-out one."""

LEVEL = 0.95
HELD_OUT = 5  # one listing in so many is held out, and one day in so many
HELD_DAYS = 3  # held out at least: of two, Student's t makes an interval of 13 standard errors
MODELS = ("own curve", "+ head, raw features", "+ head, trunk")
SETTINGS = TrunkSettings(out=16, epochs=60)

_DAY_US = 86_400_000_000


class NothingToTrainOn(ValueError):
    """What there is cannot be trained on or judged by; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Outcomes with what was believed when their prices were charged, one of each decision.

    Attributes:
        outcomes: m of them, all with impressions of those who could buy, and with features of this
            version.
        name: id of each one's listing, object (m,).
        family: what its variants share, or the id of a listing without any, object (m,). What is
            learned of one variant says too much of the next, as a new listing is not one.
        left_out: reason → outcomes left out.
    """

    outcomes: Outcomes
    name: NDArray[np.object_]
    family: NDArray[np.object_]
    left_out: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, outcomes: Outcomes, name: NDArray[np.object_], family: NDArray[np.object_]
    ) -> "Rows":
        """Those of all outcomes that tell how often was bought of how often shown."""
        shown, known = outcomes.impressions > 0, outcomes.features[:, 0] > 0
        could = could_buy(outcomes.impressions, outcomes.units + outcomes.returned, outcomes)
        left_out = {
            "without impressions": int((~shown).sum()),
            "of what was sold out": int((shown & (could == 0)).sum()),
            "with features of another version": int((shown & (could > 0) & ~known).sum()),
        }
        kept = shown & (could > 0) & known
        left_out = {reason: n for reason, n in left_out.items() if n}
        # who could not buy is left out here, once
        endless = np.full(len(could), np.nan)
        told = replace(outcomes, impressions=outcomes.impressions * could, stock=endless)
        return cls(_take(told, kept), name[kept], family[kept], left_out)

    def held_out(self) -> dict[str, NDArray[np.bool_]]:
        """What each comparison holds out, bool (m,): listings by their families' names; the last
        days.
        """
        names, of = np.unique(self.family, return_inverse=True)
        held = np.array([_number(name) % HELD_OUT == 0 for name in names], np.bool_)
        days, day = np.unique(self.day, return_inverse=True)
        last = max(len(days) // HELD_OUT, min(HELD_DAYS, len(days) - 1))
        return {"new listings": held[of], "last days": day >= len(days) - last}

    @property
    def day(self) -> NDArray[np.int64]:
        """Days since 1970 in UTC, int64 (m,)."""
        return self.outcomes.at // _DAY_US


@dataclass(frozen=True, slots=True)
class Comparison:
    """The models on held-out outcomes.

    Attributes:
        learned, held_out: outcomes. listings: held out. impressions: held out.
        deviance: model → mean Poisson deviance of units per impression, weighted by impressions.
        head_gain, trunk_gain: by how much the raw head's is lower than the curve's, and that of the
            head on a trunk lower than the raw head's; paired, clustered by families and by days.
    """

    learned: int
    held_out: int
    listings: int
    impressions: float
    deviance: dict[str, float]
    head_gain: Interval
    trunk_gain: Interval


def rows_of_log(source: log.Log, catalogue: Catalogue, features_of: str) -> Rows:
    """What came of each decision of a log, all its outcomes as one, with its features."""
    o = log.outcomes.c
    query = outcomes_in(features_of).add_columns(o.decision_id)
    parts: list[Outcomes] = []
    decision: list[str] = []
    for part in source.stream(query, o.seq):
        parts.append(outcomes_of(part, catalogue, features_of))
        decision += [row.decision_id for row in part]
    if not parts:
        imported = "; imported sales do not say what was believed when prices were set"
        raise NothingToTrainOn(
            f"the log holds no outcome{imported if source.ends().sales else ''}: price listings "
            "and report what was sold (POST /v1/outcomes), or give a table of sales with --data"
        )
    outcomes = _summed(concatenated(parts), np.array(decision))
    names = np.array(catalogue.listing_id, object)
    families = np.array([*catalogue.family_code, None], object)[catalogue.family[: len(names)]]
    families = np.where(families == None, names, families)  # noqa: E711  elementwise
    return Rows.of(outcomes, names[outcomes.listing], families[outcomes.listing])


def _summed(outcomes: Outcomes, decision: NDArray[np.str_]) -> Outcomes:
    """The outcomes of each decision as one of the earliest's time: units that came late or were
    returned are a matter of all the decision's impressions, not of those they were told with.
    """
    _, first, of = np.unique(decision, return_index=True, return_inverse=True)

    def total(told: Floats) -> Floats:
        return np.asarray(np.bincount(of, told), np.float64)

    at = outcomes.at[first]
    np.minimum.at(at, of, outcomes.at)
    summed = replace(
        _take(outcomes, first),
        impressions=total(outcomes.impressions),
        units=total(outcomes.units),
        profit=total(outcomes.profit),
        returned=total(outcomes.returned),
        at=at,
    )
    return _take(summed, np.argsort(first))


def concatenated(parts: list[Outcomes]) -> Outcomes:
    """All rows of the parts, in order."""
    return Outcomes(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Outcomes))
    )


def check(rows: Rows) -> None:
    """Raise `NothingToTrainOn` unless every comparison has something to learn from and to judge."""
    days = len(np.unique(rows.day))
    left_out = "".join(f"; {n} {reason} are left out" for reason, n in rows.left_out.items())
    total = (
        f"There are {len(rows.name)} outcomes of {len(set(rows.name))} listings on {days} days"
        f"{left_out}: report outcomes of more listings and days"
    )
    for name, held in rows.held_out().items():
        sides = {"to learn from": rows.family[~held], "held out": rows.family[held]}
        for side, families in sides.items():
            if (count := len(set(families))) < 2:
                raise NothingToTrainOn(
                    f"{name}: {count} listings {side} that are no variants of each other, "
                    f"at least 2 needed. {total}"
                )
        if (count := len(np.unique(rows.day[held]))) < HELD_DAYS:
            raise NothingToTrainOn(
                f"{name}: outcomes of {count} days held out, at least {HELD_DAYS} needed: sales of "
                f"one day rise and fall together, and fewer days do not tell how far. {total}"
            )
        for side, mine in (("to learn from", ~held), ("held out", held)):
            # of nothing whatever expects least is the best, and nothing is learned by that
            if not (rows.outcomes.units[mine] > 0).any():
                raise NothingToTrainOn(f"{name}: nothing was sold of what is {side}. {total}")


def compare(
    rows: Rows, rules: Rules, device: torch.device, seed: int, watch: Watch | None = None
) -> dict[str, Comparison]:
    """Hold the models against each other on held-out listings and on the last days.

    Each is fitted to what is not held out; the own curve is the one believed at the decision, and
    needs no fit. Nothing that is drawn depends on anything but the seed.
    """
    check(rows)
    return {
        name: _compared(rows, held, rules, device, seed, name, watch)
        for name, held in rows.held_out().items()
    }


def better(found: dict[str, Comparison]) -> bool:
    """Whether a trunk beats the raw features wherever it was asked."""
    return all(comparison.trunk_gain.low > 0 for comparison in found.values())


def trained_on(
    rows: Rows, device: torch.device, seed: int, name: str = "all", watch: Watch | None = None
) -> Trunk:
    """A trunk for the head's own criterion: weighted squared error of units over the own curve."""
    outcomes = rows.outcomes
    x = torch.as_tensor(outcomes.features)
    curve = x[:, :1]
    own = curve[:, 0].double()
    told_by = (outcomes.curve_sd, outcomes.impressions, outcomes.units)
    rate, variance = told_of_all(own, *(torch.as_tensor(column) for column in told_by))
    family = np.unique(rows.family, return_inverse=True)[1]

    def told(epoch: int, learned: float, held_out: float) -> None:
        if watch:
            watch(name, epoch, learned, held_out)

    trunk = Trunk.fit(
        (x / curve).to(device),
        (rate / own).to(device),
        (own**2 / variance).to(device),
        family=torch.as_tensor(family),
        settings=SETTINGS,
        seed=seed,
        watch=told,
    )
    return trunk.to("cpu")


def _compared(
    rows: Rows,
    held: NDArray[np.bool_],
    rules: Rules,
    device: torch.device,
    seed: int,
    name: str,
    watch: Watch | None,
) -> Comparison:
    learn = Rows(_take(rows.outcomes, ~held), rows.name[~held], rows.family[~held])
    test = _take(rows.outcomes, held)
    trunk = trained_on(learn, device, seed, name, watch)
    found = [test.features[:, 0].astype(np.float64)]
    for under in (None, trunk):
        policy = Policy(rules, device, under)
        policy.learn_corrections(learn.outcomes)
        mean, _ = policy.corrected(torch.as_tensor(test.features))
        found.append(mean.double().cpu().numpy())
    deviances = [_deviance(test, rate) for rate in found]
    n = test.impressions
    family, day = (np.unique(of[held], return_inverse=True)[1] for of in (rows.family, rows.day))

    def gain(before: Floats, after: Floats) -> Interval:
        return two_way([Ratio(before - after, n)], family, day, LEVEL)

    return Comparison(
        len(learn.name),
        len(n),
        len(set(rows.name[held])),
        float(n.sum()),
        {k: float(d.sum() / n.sum()) for k, d in zip(MODELS, deviances, strict=True)},
        gain(deviances[0], deviances[1]),
        gain(deviances[1], deviances[2]),
    )


def _deviance(outcomes: Outcomes, rate: Floats) -> Floats:
    """Poisson deviance of each outcome's units, returns never taking them below none, (m,)."""
    units, expected = np.maximum(outcomes.units, 0.0), outcomes.impressions * rate
    return np.asarray(2 * (xlogy(units, units / expected) - units + expected))


def _take(outcomes: Outcomes, rows: NDArray[Any]) -> Outcomes:
    return Outcomes(*(getattr(outcomes, f.name)[rows] for f in fields(Outcomes)))


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
