import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from markets.open_bandit import read_open_bandit
from markets.tables import TableError

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROWS = 100


def small(rows=ROWS):
    """A file as published: positions from 1, a column of affinities that is ignored."""
    return pl.DataFrame(
        {
            "timestamp": [f"2019-11-24 {i // 60:02}:{i % 60:02}:00.4425Z" for i in range(rows)],
            "item_id": [i % 5 for i in range(rows)],
            "position": [1 + i % 3 for i in range(rows)],
            "click": [int(i % 10 == 0) for i in range(rows)],
            "propensity_score": [0.2] * rows,
            **{f"user_feature_{j}": [f"hash {j} {i % 2}" for i in range(rows)] for j in range(4)},
            "user-item_affinity_0": [0.0] * rows,
        }
    )  # fmt: skip


def put(table, at, /, **cells):
    """The table with cells of row `at` (from 1) replaced; their columns become text."""
    for name, cell in cells.items():
        values = [str(v) for v in table[name].to_list()]
        values[at - 1] = cell
        table = table.with_columns(pl.Series(name, values))
    return table


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_sound_file_is_read_whole(tmp_path, ending):
    path = tmp_path / f"men.{ending}"
    getattr(small(), f"write_{ending}")(path)
    log = read_open_bandit(path)
    assert len(log) == ROWS
    assert log.n_items == 5
    assert (log.item[:6] == [0, 1, 2, 3, 4, 0]).all()
    assert (log.position[:4] == [0, 1, 2, 0]).all()
    assert log.click.sum() == 10
    assert (log.propensity == 0.2).all()
    assert log.at[1] - log.at[0] == 60_000_000
    assert log.user.shape == (ROWS, 4)
    assert log.item.dtype == log.position.dtype == log.at.dtype == np.int64
    assert not any(log.dropped.values())
    assert log.notes == ()


@pytest.mark.parametrize(
    ("cells", "fix"),
    [
        ({"propensity_score": "0"}, "give the probability with which"),
        ({"propensity_score": "1.2"}, "give the probability with which"),
        ({"propensity_score": "NaN"}, "give a number"),
        ({"propensity_score": ""}, "fill the cell"),
        ({"position": "4"}, "1 left, 2 centre, 3 right"),
        ({"click": "2"}, "write 1 where"),
        ({"item_id": "-1"}, "number the items"),
        ({"item_id": "mug"}, "give a number"),
        ({"timestamp": "yesterday"}, "write all dates as 2026-01-31"),
    ],
)
def test_a_junk_row_is_dropped_and_reported_with_column_row_and_fix(tmp_path, cells, fix):
    put(small(), 7, **cells).write_csv(tmp_path / "men.csv")
    log = read_open_bandit(tmp_path / "men.csv")
    assert len(log) == ROWS - 1
    assert sum(log.dropped.values()) == 1
    (note,) = log.notes
    assert next(iter(cells)) in note
    assert "row 7" in note
    assert fix in note


def test_more_junk_than_tolerated_is_an_error(tmp_path):
    table = put(put(put(small(), 3, click="x"), 5, click="x"), 9, click="x")
    table.write_csv(tmp_path / "men.csv")
    with pytest.raises(TableError, match=r"men\.csv.*click.*row 3"):
        read_open_bandit(tmp_path / "men.csv")
    assert len(read_open_bandit(tmp_path / "men.csv", tolerance=0.03)) == ROWS - 3


@pytest.mark.parametrize("column", ["item_id", "propensity_score", "user_feature_2", "timestamp"])
def test_a_missing_column_is_named(tmp_path, column):
    small().drop(column).write_csv(tmp_path / "men.csv")
    with pytest.raises(TableError, match=f"no column {column}"):
        read_open_bandit(tmp_path / "men.csv")


@pytest.mark.parametrize("policy", ["random", "bts"])
def test_the_published_sample_is_sound(policy):
    path = SHARED / f"open_bandit_{policy}_men.parquet"
    if not path.is_file():
        absent = f"{path.name} is not in ../shared/data"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(absent)
    log = read_open_bandit(path)
    assert (len(log), log.n_items, set(log.position)) == (10_000, 34, {0, 1, 2})
    if policy == "random":
        assert log.propensity == pytest.approx(1 / 34)
