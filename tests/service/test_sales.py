"""Recorded sales are logged once, however files are cut and whichever version logged them."""

from hashlib import sha256

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from service import cli, log
from service.anchors import PAID_WITHIN
from service.learning import difference, rebuild
from service.sales import import_sales, take_back
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


def test_the_import_command_says_that_prices_may_be_in_pence(
    open_bandit, drive, tmp_path, embeddings, monkeypatch
):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 12.5})
    bandit.close()
    sold(*[(1 + i // 2, 1250, 1, 40) for i in range(30)]).write_csv(tmp_path / "pence.csv")
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))
    words = ["import", str(tmp_path / "pence.csv"), "--home", str(tmp_path / "home")]
    done, undone = (CliRunner().invoke(cli.app, [*words, *more]) for more in ([], ["--undo"]))
    assert done.exit_code == undone.exit_code == 0
    assert "30 sales imported" in done.stdout
    assert "pence.csv: prices are 100 times the reference_price" in done.stderr
    assert "times" not in undone.stderr


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


def taken_back(bandit, table):
    """Sales taken back and sales that were not there."""
    recorded = sales(table, bandit.catalogue.minor_units())
    (answer,) = bandit.carry_out(take_back, [recorded])
    return answer["taken_back"], answer["not_there"]


def state(bandit):
    """What is known of the mug: anchor, since when, price sold at, impressions and units told."""
    catalogue, told = bandit.catalogue, bandit.policy.evidence.totals_of(np.array([0]))
    row = catalogue.anchor[0], catalogue.first_at[0], catalogue.charged(np.array([0]))[0]
    return np.array([*row, *told[0, :2].tolist()])


PENCE = sold((3, 500.0, 3, 40), (4, 550.0, 2, 40), (5, 500.0, 1, None), (5, 500.0, 1, None))
POUNDS = sold((3, 5.0, 3, 40), (4, 5.5, 2, 40), (5, 5.0, 1, None), (5, 5.0, 1, None))


@pytest.mark.parametrize("before", [None, (2, 4.5, 6, 70)])
def test_sales_taken_back_are_as_if_never_imported(bandit_on, drive, before):
    bandit = bandit_on()
    drive.listings(bandit, MUG)
    if before:
        brought_in(bandit, sold(before))
    bandit.snapshot()
    never = state(bandit)
    brought_in(bandit, PENCE)
    bandit.snapshot()
    assert taken_back(bandit, sold((9, 1.0, 1, 1))) == (0, 1)
    assert taken_back(bandit, PENCE) == (4, 0)
    assert taken_back(bandit, PENCE) == (0, 4)
    bandit.close()

    again = bandit_on()
    assert state(again) == pytest.approx(never, nan_ok=True)
    assert again.fold.read.sales == (1 if before else 0)
    assert brought_in(again, POUNDS) == (4, 0)
    told = state(again)
    assert np.exp(told[2]) == pytest.approx(5.0, rel=0.1)
    again.snapshot()
    again.close()

    third = bandit_on()  # from a snapshot of after
    assert third.fold.position == again.fold.position
    assert state(third) == pytest.approx(told)
    rebuilt, _ = rebuild(third.fold, third.log, third.catalogue)
    assert difference(third.fold, rebuilt) < 1e-9


def test_sales_of_a_listing_that_took_more_than_an_integer_holds_are_taken_back(bandit, drive):
    dear = {**MUG, "reference_price": 1e9, "min_price": 1e9}
    drive.listings(bandit, dear)
    (decision,) = drive.prices(bandit, {"listing_id": "mug"})
    outcome = {"outcome_id": "1", "impressions": 10**12, "units": 10**12}
    drive.outcomes(bandit, {**outcome, "decision_id": decision["decision_id"]})
    recorded = sales(sold((1, 5.0, 3, 40)), bandit.catalogue.minor_units())
    bandit.carry_out(import_sales, [recorded])
    assert bandit.carry_out(take_back, [recorded])[0]["taken_back"] == 1


def test_sales_taken_back_may_come_again_and_go_again(bandit, bandit_on):
    assert brought_in(bandit, PENCE) == (4, 0)
    whole = state(bandit)
    for _ in range(2):
        assert taken_back(bandit, PENCE) == (4, 0)
        bandit.close()
        bandit = bandit_on()
        assert brought_in(bandit, PENCE) == (4, 0)
        assert brought_in(bandit, PENCE) == (0, 4)
        assert state(bandit) == pytest.approx(whole)


@pytest.mark.parametrize(("left", "units", "anchor"), [
    ("reference", 0, np.log(5.0)),
    ("sale", 0, np.log(6.0)),
    ("sale", 4, None),  # what was sold dear must be told by curves that reach so far
    ("nothing", 0, np.log(500.0)),  # the price decided lies near
])  # fmt: skip
def test_an_anchor_that_pence_left_goes_with_them(bandit_on, drive, left, units, anchor):
    bandit = bandit_on()
    drive.listings(bandit, {**MUG, "reference_price": 500.0})
    brought_in(bandit, PENCE)
    (decision,) = drive.prices(bandit, {"listing_id": "mug"})
    assert bandit.catalogue.anchor[0] == pytest.approx(np.log(500.0))
    outcome = {"decision_id": decision["decision_id"], "outcome_id": "1"}
    drive.outcomes(bandit, {**outcome, "impressions": 100, "units": units})
    if left == "reference":
        drive.listings(bandit, {**MUG, "reference_price": 5.0})
    elif left == "sale":
        brought_in(bandit, sold((6, 6.0, 2, 30)))
    taken_back(bandit, PENCE)
    since = decision_time(bandit) if left != "sale" else 5 * 86_400_000_000
    bandit.close()

    again = bandit_on()
    mean = (units * decision["price"] + 2 * 6.0) / (units + 2)
    expected = np.log(mean) - PAID_WITHIN if anchor is None else anchor
    assert again.catalogue.anchor[0] == pytest.approx(expected)
    assert again.catalogue.first_at[0] == since
    rebuilt, _ = rebuild(again.fold, again.log, again.catalogue)
    assert difference(again.fold, rebuilt) < 1e-9
    drive.outcomes(again, {**outcome, "outcome_id": "2", "impressions": 100, "units": 0})
    brought_in(again, POUNDS)
    assert np.isfinite(drive.prices(again, {"listing_id": "mug"})[0]["price"])


def decision_time(bandit):
    with bandit.log.engine.connect() as conn:
        return conn.scalar(log.decisions.select().with_only_columns(log.decisions.c.at))


def test_the_import_command_takes_a_file_back(
    open_bandit, drive, tmp_path, embeddings, monkeypatch
):
    bandit = open_bandit()
    drive.listings(bandit, MUG)
    bandit.close()
    PENCE.write_csv(tmp_path / "pence.csv")
    POUNDS.write_csv(tmp_path / "pounds.csv")
    monkeypatch.setattr(cli, "_PART", 3)
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))

    def run(file, *words):
        line = ["import", str(tmp_path / file), "--home", str(tmp_path / "home"), *words]
        return CliRunner().invoke(cli.app, line).stdout

    assert "4 sales imported, 0 were there already" in run("pence.csv")
    assert "0 sales taken back, 4 were not there" in run("pounds.csv", "--undo")
    assert "4 sales taken back, 0 were not there" in run("pence.csv", "--undo")
    assert "4 sales imported, 0 were there already" in run("pounds.csv")
    assert np.exp(state(open_bandit())[2]) == pytest.approx(5.15, rel=0.02)
