"""Recorded sales are logged once, however files are cut and whichever version logged them."""

from hashlib import sha256

import polars as pl
import pytest
from typer.testing import CliRunner

from service import cli, log
from service.learning import difference, rebuild
from service.sales import import_sales
from service.tables import sales

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP"}


def sold(*rows):
    """A table of (day of 1970, price, units, impressions) of the mug."""
    day, price, units, impressions = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "listing_id": "mug",
            "at": [f"1970-01-{d:02d}" for d in day],
            "price": price,
            "units": units,
            "impressions": pl.Series(impressions, dtype=pl.Float64),
        }
    )


def brought_in(bandit, table, part=10_000):
    """Sales taken and sales that were there already."""
    recorded = sales(table, bandit.catalogue.minor_units())
    assert recorded.errors == []
    answers = [
        bandit.carry_out(import_sales, [recorded.part(start, start + part)])[0]
        for start in range(0, table.height, part)
    ]
    return sum(a["accepted"] for a in answers), sum(a["duplicates"] for a in answers)


@pytest.fixture
def bandit(bandit_on, drive):
    opened = bandit_on()
    drive.listings(opened, MUG)
    return opened


TWINS = sold(*[(1, 5.0, 3, None)] * 2, (2, 5.0, 3, 40), *[(1, 5.0, 3, None)] * 3, (2, 5.0, 3, 40))


@pytest.mark.parametrize("part", [1, 2, 3, 10])
def test_equal_sales_of_a_file_count_each_wherever_it_is_cut(bandit, part):
    assert brought_in(bandit, TWINS, part) == (7, 0)
    assert brought_in(bandit, TWINS.reverse(), 3) == (0, 7)
    rebuilt, events = rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert events == 7
    assert difference(bandit.fold, rebuilt) < 1e-9


def test_prices_that_are_one_in_the_log_are_equal(bandit):
    table = sold((1, 5.001, 3, 40), (1, 5.0, 3, 40), (1, 5.01, 3, 40))
    assert brought_in(bandit, table, 1) == (3, 0)
    assert brought_in(bandit, table) == (0, 3)


def test_the_import_command_loses_no_equal_sales_between_its_parts(
    open_bandit, drive, tmp_path, embeddings, monkeypatch
):
    bandit = open_bandit()
    drive.listings(bandit, MUG)
    bandit.close()
    TWINS.write_csv(tmp_path / "sales.csv")
    monkeypatch.setattr(cli, "_PART", 2)
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))
    words = ["import", str(tmp_path / "sales.csv"), "--home", str(tmp_path / "home")]
    first, second = (CliRunner().invoke(cli.app, words) for _ in range(2))
    assert "7 sales imported, 0 were there already" in first.stdout
    assert "0 sales imported, 7 were there already" in second.stdout


def test_sales_that_earlier_versions_logged_are_recognised(bandit):
    content = sha256(repr(("mug", 0, 500, 3, 40.0)).encode()).hexdigest()
    ids = [content, sha256(f"{content} 2".encode()).hexdigest()]
    row = {"listing": 0, "at": 0, "price": 500, "units": 3, "impressions": 40}
    with bandit.log.transaction() as conn:
        log.insert(conn, log.sales, [{"sale_id": key, **row} for key in ids])
    assert brought_in(bandit, sold(*[(1, 5.0, 3, 40)] * 3, (2, 5.0, 3, 40))) == (2, 2)


def test_a_listing_registered_anew_has_sales_of_its_own(bandit, drive):
    assert brought_in(bandit, TWINS) == (7, 0)
    drive.delete(bandit, "mug")
    drive.listings(bandit, {**MUG, "currency": "EUR"})
    assert brought_in(bandit, TWINS) == (7, 0)
    assert brought_in(bandit, TWINS) == (0, 7)
    with bandit.log.engine.connect() as conn:
        rows = conn.execute(log.sales.select()).all()
    assert sorted(row.listing for row in rows) == [0] * 7 + [1] * 7


def test_what_is_learned_does_not_depend_on_the_cost_of_today(bandit, drive):
    drive.listings(bandit, {**MUG, "unit_cost": 4.0})
    brought_in(bandit, sold((1, 6.0, 3, 50)))
    drive.listings(bandit, {**MUG, "unit_cost": 5.0})
    brought_in(bandit, sold((2, 7.0, 2, 50)))
    rebuilt, _ = rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert difference(bandit.fold, rebuilt) < 1e-9
    revenue, profit = bandit.policy.evidence.totals[0, 2:].tolist()
    assert revenue == profit == pytest.approx(3 * 6.0 + 2 * 7.0)
