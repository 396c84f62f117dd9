"""What commands print and refuse, called without a process of their own."""

import errno
import re
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest
import sqlalchemy as sa
import typer
from typer.testing import CliRunner

from service import cli
from service.home import held
from service.pricebandit import Pricebandit
from service.progress_bar import ProgressBar


@pytest.mark.parametrize("title", ["USB cable [pack of 2]", "[/] lid", "[red] :mug:"])
def test_titles_are_printed_as_they_are(open_bandit, drive, tmp_path, monkeypatch, capsys, title):
    monkeypatch.setenv("COLUMNS", "200")
    bandit = open_bandit()
    mug = {"listing_id": "m", "title": title, "currency": "GBP", "reference_price": 5}
    drive.listings(bandit, mug)
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(bandit.settings.embeddings))
    bandit.close()
    cli.price([title], home=tmp_path / "home")
    shown = capsys.readouterr().out
    assert f"{title} (5.00)" in shown
    assert shown.count(title) == 2


@pytest.mark.parametrize(
    ("currency", "cost", "written"), [("GBP", 12345.67, r"\d+\.\d\d"), ("VND", 23456789, r"\d+")]
)
def test_prices_are_printed_to_the_minor_unit(
    open_bandit, drive, tmp_path, monkeypatch, capsys, currency, cost, written
):
    monkeypatch.setenv("COLUMNS", "200")
    bandit = open_bandit()
    terms = {"currency": currency, "unit_cost": cost, "reference_price": cost}
    drive.listings(bandit, {"listing_id": "m", "title": "red ceramic mug", **terms})
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(bandit.settings.embeddings))
    bandit.close()
    cli.price(["blue ceramic mug"], currency=currency, cost=cost, home=tmp_path / "home")
    shown = capsys.readouterr().out
    # in the order of the columns: the price, the ladder, and what a similar listing costs
    assert re.search(rf" {written} {currency} .* {written} … {written} ", shown)
    assert f"red ceramic mug ({cost})" in shown


@pytest.mark.parametrize("step", ["_begin", "carry_out"])
def test_a_database_that_goes_away_meanwhile_is_named(tmp_path, monkeypatch, capsys, step):
    def away(*_):
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    monkeypatch.setattr(Pricebandit, step, away)
    table = tmp_path / "listings.csv"
    table.write_text("listing_id,title,currency\nmug,red ceramic mug,GBP\n")
    with pytest.raises(typer.Exit) as ended:
        cli.index(table, home=tmp_path / "home")
    assert ended.value.exit_code == 1
    said = capsys.readouterr().err
    assert "the log cannot be used (server closed the connection)" in said
    assert "run this again" in said
    assert "SELECT" not in said


def test_a_home_that_is_a_file_is_named_with_what_to_do(tmp_path, capsys):
    table = tmp_path / "listings.csv"
    table.write_text("listing_id,title,currency\nmug,red ceramic mug,GBP\n")
    with pytest.raises(typer.Exit):
        cli.index(table, home=table)
    said = capsys.readouterr().err
    assert f"{table} cannot be a folder (File exists): give another --home" in said


def test_a_home_that_cannot_be_written_is_named_with_what_to_do(tmp_path, capsys):
    (tmp_path / "home" / "lock").mkdir(parents=True)  # nobody can write it, root included
    table = tmp_path / "listings.csv"
    table.write_text("listing_id,title,currency\nmug,red ceramic mug,GBP\n")
    with pytest.raises(typer.Exit):
        cli.index(table, home=tmp_path / "home")
    said = capsys.readouterr().err
    assert f"{tmp_path / 'home'} cannot be written (Is a directory): give another --home" in said


def test_progress_is_told_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "1")  # a bar is shown on terminals alone
    with ProgressBar("model [/v1]") as bar:
        bar.told("importing [a]", 1, 2)
    assert "importing [a]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "trouble", "fix"),
    [
        ("postgresql://shop:secret@127.0.0.1:1/db", "onnection refused", "can be reached"),
        ("postgres://shop:secret@127.0.0.1:1/db", "postgresql+psycopg://shop:***@", "check"),
        ("mysql://shop:secret@host/db", "neither PostgreSQL nor SQLite", "leave it unset"),
        (
            "postgres://shop:secret@host:port/db",
            "'postgresql+psycopg://***@host:port/db'",
            "give one",
        ),
        ("postgresql+psycopg2://shop:secret@host/db", "names no database", "give one"),
        ("sqlite:////nowhere/at/all/secret", "unable to open database file", "check"),
        ("log.db", "'log.db', which names no database", "give one"),
    ],
)
@pytest.mark.parametrize("command", ["replay", "serve", "index", "train"])
def test_a_database_that_cannot_be_used_is_named(
    tmp_path, monkeypatch, capsys, command, url, trouble, fix
):
    monkeypatch.setenv("PRICEBANDIT_DATABASE_URL", url)
    table = tmp_path / "listings.csv"
    table.write_text("listing_id,title,currency\nmug,red ceramic mug,GBP\n")
    calls = {
        "replay": lambda: cli.replay(home=tmp_path),
        "serve": lambda: cli.serve(port=0, home=tmp_path),
        "index": lambda: cli.index(table, home=tmp_path),
        "train": lambda: cli.train(home=tmp_path),
    }
    with pytest.raises(typer.Exit):
        calls[command]()
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "PRICEBANDIT_DATABASE_URL" in told
    assert trouble in told
    assert fix in told
    assert "secret@" not in told


def test_empty_lines_of_a_catalogue_are_passed_over(tmp_path, embeddings, monkeypatch, capsys):
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))
    table = tmp_path / "listings.csv"
    table.write_text("listing_id,title,currency\n,,\nmug,red ceramic mug,GBP\n , ,\nx,,GBP\n,,\n")
    with pytest.raises(typer.Exit):
        cli.index(table, home=tmp_path / "home")
    told = capsys.readouterr()
    assert "1 listings registered" in told.out
    assert told.err.strip() == "row 4: title is missing: it is required"


def test_a_listing_that_a_catalogue_has_twice_is_named_and_counted_once(
    tmp_path, embeddings, monkeypatch, capsys
):
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))
    table = tmp_path / "listings.csv"
    table.write_text(
        "listing_id,title,currency,inventory\nmug,red ceramic mug,GBP,1\n,,,\n"
        "vase,glass flower vase,GBP,2.5\nmug,blue ceramic mug,GBP,2\n"
    )
    with pytest.raises(typer.Exit):
        cli.index(table, home=tmp_path / "home")
    told = capsys.readouterr()
    assert "1 listings registered" in told.out
    repeats, refused = told.err.strip().splitlines()
    assert repeats == (
        "1 row of a listing that an earlier row is of, first row 4 ('mug'): the last row counts"
    )
    assert refused == "row 3: inventory is 2.5: Input should be a valid integer"


def test_a_price_that_rests_on_nothing_says_why(open_bandit, tmp_path, monkeypatch, capsys):
    bandit = open_bandit()
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(bandit.settings.embeddings))
    bandit.close()
    cli.price(["red mug"], home=tmp_path / "home")
    assert "red mug: no price in GBP is known yet" in capsys.readouterr().out
    cli.price(["red mug"], cost=2, home=tmp_path / "home")
    assert "red mug: " not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a?b", "a%3Fb", "a b#c&d=é@:1"])
def test_a_log_lies_in_its_home_whatever_that_is_called(open_bandit, tmp_path, capsys, name):
    home = tmp_path / name
    open_bandit(home=home).close()
    assert (home / "log.sqlite3").exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    cli.replay(home=home)
    assert "0 events replayed" in capsys.readouterr().out


def test_an_import_says_that_prices_are_rounded(tmp_path, open_bandit, drive, capsys):
    bandit = open_bandit(home=tmp_path)
    drive.listings(bandit, {"listing_id": "mug", "title": "Blue mug", "currency": "GBP"})
    bandit.close()
    sales = tmp_path / "sales.csv"
    sales.write_text("listing_id,at,price,units\nmug,2026-01-01,5,1\nmug,2026-01-02,1.999,1\n")
    cli.import_(sales, home=tmp_path)
    said = capsys.readouterr()
    assert "2 sales imported" in said.out
    assert "sales.csv: 1 row with a price that is no whole number of its currency's" in said.err


def test_prices_and_sales_of_a_mistyped_home_are_refused_and_it_is_not_made(tmp_path, capsys):
    with pytest.raises(typer.Exit):
        cli.price(["red mug"], home=tmp_path / "hmoe")
    assert f"{tmp_path / 'hmoe'} holds no log: give the --home of a" in capsys.readouterr().err
    sales = tmp_path / "sales.csv"
    sales.write_text("listing_id,at,price,units\nmug,2026-01-01,5,1\n")
    with pytest.raises(typer.Exit):
        cli.import_(sales, home=tmp_path / "hmoe")
    assert f"{tmp_path / 'hmoe'} holds no log: give the --home of a" in capsys.readouterr().err
    assert not (tmp_path / "hmoe").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["rollout"],
        ["benchmark"],
        ["finetune", "--data", "no.csv", "--output", "no"],
        ["train"],
        ["demo"],
        ["replay"],
    ],
)
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "abc", "a valid integer"),
        ("ARMS", "1", "greater than or equal to 2"),
        ("OPTIMISM", "nan", "a finite number"),
        ("FORESIGHT_DAYS", "inf", "a finite number"),
    ],
)
def test_a_bad_setting_is_one_line_in_every_command(
    tmp_path, monkeypatch, command, name, value, allowed
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"PRICEBANDIT_{name}", value)
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 1
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"PRICEBANDIT_{name} is '{value}': ")
    assert allowed in line
    assert not any(tmp_path.iterdir())


def test_a_snapshot_that_cannot_be_written_is_named(open_bandit, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "a.part")

    bandit = open_bandit()
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(bandit.settings.embeddings))
    bandit.close()
    monkeypatch.setattr("service.snapshots.write_snapshot", full)
    with pytest.raises(typer.Exit) as ended:
        cli.replay(home=tmp_path / "home")
    assert ended.value.exit_code == 1
    assert "No space left on device: 'a.part'" in capsys.readouterr().err


def test_a_demo_leaves_another_one_its_state(tmp_path):
    state = tmp_path / "demo" / "seed-1" / "log.sqlite3"
    with held(tmp_path / "demo"):
        state.parent.mkdir()
        state.touch()
        done = CliRunner().invoke(cli.app, ["demo", "--home", str(tmp_path / "demo")])
    assert done.exit_code == 1
    assert "is in use by another pricebandit: stop it, or give another --home" in done.stderr
    assert state.exists()


def test_a_demo_without_a_model_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PRICEBANDIT_ENCODER", str(tmp_path / "nowhere"))
    done = CliRunner().invoke(cli.app, ["demo", "--home", str(tmp_path / "demo")])
    assert done.exit_code == 1
    assert "nowhere' was not found" in done.stderr


_UNTIL_IT_IS_ENDED = """
import time
from service import cli

def wait():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("tidied up")

cli.app = wait
cli.main()
"""


def test_a_command_that_is_ended_tidies_up():
    command = [sys.executable, "-c", _UNTIL_IT_IS_ENDED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        assert process.stdout.read() == "tidied up\n"
    assert process.returncode == 128 + signal.SIGTERM


def test_the_version_is_said():
    done = CliRunner().invoke(cli.app, ["--version"])
    assert done.exit_code == 0
    assert done.stdout == f"pricebandit {version('pricebandit')}\n"
