"""A benchmark on disk: everything its report needs, per seed, in one JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from evaluation.benchmark import Failure, Outcome, Run, Trial
from evaluation.stage import Market
from evaluation.trial import Result
from markets import Conditions

SCHEMA = "pricebandit-benchmark/1"


class NotARecord(ValueError):
    """A file that no benchmark wrote, or another version of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A benchmark and how it came about.

    Attributes:
        markets: by name. sellers, seeds: in the order given.
        data: `name` and `sha256` of the file, `listings`, `currency`, `vectors` (what embedded the
            texts).
        made: `command`, `at` (UTC), `jobs`, `seconds`, `python`, `packages`, `machine`.
    """

    markets: Mapping[str, Market]
    sellers: tuple[str, ...]
    seeds: tuple[int, ...]
    outcome: Outcome
    data: Mapping[str, Any]
    made: Mapping[str, Any]


def write(record: Record, path: Path) -> None:
    """Write a record; numbers are read back to the last bit. Each run has a line."""
    head = {
        "schema": SCHEMA,
        "made": dict(record.made),
        "data": dict(record.data),
        "markets": {name: asdict(market) for name, market in record.markets.items()},
        "sellers": record.sellers,
        "seeds": record.seeds,
        "complete": not record.outcome.stopped,
        "failures": [
            {**asdict(failure.trial), "error": failure.error, "trace": failure.trace}
            for failure in record.outcome.failures
        ],
    }
    lines = [orjson.dumps(name) + b":" + _dumped(value) for name, value in head.items()]
    runs = b",\n".join(_dumped(_of_run(run)) for run in record.outcome.runs)
    path.write_bytes(b"{" + b",\n".join([*lines, b'"runs":[\n' + runs + b"\n]"]) + b"}\n")


def read(path: Path) -> Record:
    """Read what `write` wrote.

    Raises:
        NotARecord: anything else.
        OSError: the file cannot be read.
    """
    try:
        raw = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise NotARecord(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema", "nothing") if isinstance(raw, dict) else "no object"
        raise NotARecord(f"{path} is no record of a benchmark: expected {SCHEMA!r}, found {found}")
    try:
        return _record(raw)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        what = f"{type(error).__name__}: {error}"
        raise NotARecord(f"{path} is damaged, or of another version ({what})") from error


def _dumped(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _of_run(run: Run) -> dict[str, Any]:
    values = {field.name: getattr(run.result, field.name) for field in fields(Result)}
    contiguous = {
        name: np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }
    return {**asdict(run.trial), "shown": run.shown, "wall": run.wall, **contiguous}


def _record(raw: Mapping[str, Any]) -> Record:
    markets = {str(name): _market(value) for name, value in raw["markets"].items()}
    sellers = tuple(str(name) for name in raw["sellers"])
    seeds = tuple(int(seed) for seed in raw["seeds"])
    runs = tuple(_run(value, markets) for value in raw["runs"])
    failures = tuple(
        Failure(_trial(value), str(value["error"]), str(value["trace"]))
        for value in raw["failures"]
    )
    for trial in [run.trial for run in runs] + [failure.trial for failure in failures]:
        if trial.market not in markets or trial.seller not in sellers or trial.seed not in seeds:
            raise ValueError(f"{trial} is not of this benchmark")
    outcome = Outcome(runs, failures, stopped=not raw["complete"])
    return Record(markets, sellers, seeds, outcome, dict(raw["data"]), dict(raw["made"]))


def _market(raw: Mapping[str, Any]) -> Market:
    conditions = dict(raw["conditions"])
    if conditions.get("stock") is not None:
        conditions["stock"] = tuple(conditions["stock"])
    families = tuple(str(family) for family in raw["families"])
    return Market(**{**raw, "families": families, "conditions": Conditions(**conditions)})


def _trial(raw: Mapping[str, Any]) -> Trial:
    return Trial(str(raw["market"]), str(raw["seller"]), int(raw["seed"]))


def _run(raw: Mapping[str, Any], markets: Mapping[str, Market]) -> Run:
    trial, shown = _trial(raw), tuple(str(title) for title in raw["shown"])
    days = markets[trial.market].conditions.days
    series, paths = (days,), (days, len(shown))
    result = Result(
        gain=_array(raw, "gain", series),
        best=_array(raw, "best", series),
        best_rung=_array(raw, "best_rung", series),
        first_gain=_number(raw["first_gain"]),
        first_best=_number(raw["first_best"]),
        arms=np.array(raw["arms"], np.int64),
        path=_array(raw, "path", paths),
        best_path=_array(raw, "best_path", paths),
        seconds=_number(raw["seconds"]),
        decisions=int(raw["decisions"]),
    )
    return Run(trial, result, shown, _number(raw["wall"]))


def _array(raw: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    array = np.array(raw[name], np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")
    return array


def _number(value: Any) -> float:
    """JSON knows no NaN: what was none is null."""
    return float("nan") if value is None else float(value)
