import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_open_bandit import put

from markets.price_experiment import COVARIATES, RISKS, read_price_experiment
from markets.tables import TableError

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROWS = 100


def small(rows=ROWS):
    """Offers as published; every tenth was taken, every third income is unknown."""
    taken = [int(i % 10 == 0) for i in range(rows)]
    return pl.DataFrame(
        {
            "row": list(range(rows)),
            "wave": [1 + i % 3 for i in range(rows)],
            "risk": [RISKS[i % 2] for i in range(rows)],
            "offered_monthly_rate": [3.25 + i % 8 for i in range(rows)],
            "took_loan": taken,
            "loan_size": [1000 * t for t in taken],
            "gross_interest": [212.5 * t for t in taken],
            "applied": taken,
            "grossincome": [None if i % 3 == 0 else 3.5 for i in range(rows)],
            "age": [40.0] * rows,
        }
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_sound_offers_are_read_whole(tmp_path, ending):
    path = tmp_path / f"offers.{ending}"
    getattr(small(), f"write_{ending}")(path)
    offers = read_price_experiment(path)
    assert len(offers) == ROWS
    assert (offers.risk[:3] == [0, 1, 0]).all()
    assert (offers.offer == np.arange(ROWS)).all()
    assert offers.took_loan.sum() == 10
    assert offers.gross_interest.sum() == 2125
    assert offers.covariates.shape == (ROWS, len(COVARIATES))
    income, age, female = (COVARIATES.index(c) for c in ("grossincome", "age", "female"))
    assert np.isnan(offers.covariates[:2, income]).tolist() == [True, False]
    assert (offers.covariates[:, age] == 40).all()
    assert np.isnan(offers.covariates[:, female]).all()
    assert not any(offers.dropped.values())


def test_a_stratum_is_a_risk_class_in_a_wave(tmp_path):
    small().write_csv(tmp_path / "offers.csv")
    offers = read_price_experiment(tmp_path / "offers.csv")
    assert set(offers.stratum) == set(range(6))
    for stratum in range(6):
        mine = offers.stratum == stratum
        assert len(set(zip(offers.risk[mine], offers.wave[mine], strict=True))) == 1


def test_offers_without_a_number_are_numbered(tmp_path):
    small().drop("row").write_csv(tmp_path / "offers.csv")
    assert (read_price_experiment(tmp_path / "offers.csv").offer == np.arange(ROWS) + 1).all()


@pytest.mark.parametrize(
    ("cells", "fix"),
    [
        ({"offered_monthly_rate": "-7.75"}, "give the rate per month"),
        ({"offered_monthly_rate": "nan"}, "give a number"),
        ({"offered_monthly_rate": "7,75"}, "write 7.75"),
        ({"risk": "NONE"}, "name the class"),
        ({"wave": "1.5"}, "give the wave"),
        ({"took_loan": "yes"}, "give a number"),
        ({"took_loan": "2"}, "write 0 or 1"),
        ({"gross_interest": "-5"}, "give what was"),
        ({"gross_interest": "5"}, "write 0, or took_loan 1"),
        ({"loan_size": "500"}, "write 0, or took_loan 1"),
        ({"row": "0"}, "leave the right one"),
    ],
)
def test_a_junk_row_is_dropped_and_reported_with_column_row_and_fix(tmp_path, cells, fix):
    put(small(), 7, **cells).write_csv(tmp_path / "offers.csv")
    offers = read_price_experiment(tmp_path / "offers.csv")
    assert len(offers) == ROWS - 1
    assert sum(offers.dropped.values()) == 1
    (note,) = offers.notes
    assert "row 7" in note
    assert fix in note
    assert next(iter(cells)).replace("row", "offer") in note


def test_more_junk_than_tolerated_is_an_error(tmp_path):
    pl.concat([small(), small()]).write_csv(tmp_path / "twice.csv")
    with pytest.raises(TableError, match=r"twice\.csv.*row 101"):
        read_price_experiment(tmp_path / "twice.csv")


@pytest.mark.parametrize("column", ["wave", "risk", "offered_monthly_rate", "gross_interest"])
def test_a_missing_column_is_named(tmp_path, column):
    small().drop(column).write_csv(tmp_path / "offers.csv")
    with pytest.raises(TableError, match=f"no column {column}"):
        read_price_experiment(tmp_path / "offers.csv")


def test_the_published_experiment_is_sound():
    path = SHARED / "price_experiment.parquet"
    if not path.is_file():
        absent = f"{path.name} is not in ../shared/data"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(absent)
    offers = read_price_experiment(path)
    assert sum(offers.dropped.values()) == 0
    assert len(set(offers.stratum)) == 9
    # interest per offer rises with the rate in the HIGH class, and falls nowhere to 0
    high = offers.risk == RISKS.index("HIGH")
    dear, cheap = offers.rate > 10, offers.rate < 6
    assert offers.gross_interest[high & dear].mean() > offers.gross_interest[high & cheap].mean()
