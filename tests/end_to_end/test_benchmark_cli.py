"""`pricebandit benchmark` from a shop's own table to its reports."""

import csv
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from processes import script
from typer.main import get_command
from typer.testing import CliRunner

from evaluation import sellers
from evaluation.sellers import peers
from evaluation.sellers.fixed import Fixed
from service.benchmark_plan import SCENARIOS, Asked, plan
from service.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text()
SMALL = ("--known", 20, "--new", 6, "--days", 3, "--warm-days", 1, "--seeds", 2, "--jobs", 1)


def asked(*words: object) -> Result:
    return CliRunner().invoke(app, ["benchmark", *map(str, words)])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop's record: sixty lamps in thirty families."""
    path = tmp_path_factory.mktemp("shop") / "lamps.csv"
    chance = np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("sku", "title", "family", "date", "price", "units", "currency"))
        for lamp in range(60):
            title = f"Lamp {lamp} <b>of</b> brass, {chance.integers(10, 90)} cm, $ {lamp}"
            for day in range(1, 6):
                cells = (f"2026-03-0{day}", 10 + lamp, int(chance.integers(1, 9)), "EUR")
                out.writerow((f"L{lamp}", title, lamp // 2, *cells))
    return path


def test_a_shops_table_is_benchmarked_and_reported_again(
    table: Path, embeddings: Path, tmp_path: Path
) -> None:
    reports = ("--json", "out/r.json", "--html", "out/r.html", "--tensorboard", "out/scalars")
    chosen = ("--policies", "fixed,cost-plus", "--regimes", "text", "--against", "fixed")
    done = script(
        "benchmark", "--data", table, *chosen, *SMALL, *reports, cwd=tmp_path, embeddings=embeddings
    )
    assert done.returncode == 0, done.stderr
    assert "lamps.csv, seeds 1, 2" in done.stdout
    for policy in ("fixed", "cost-plus"):
        assert re.search(rf"^\| {policy} +\|", done.stdout, re.M), done.stdout
    assert "written: out/r.json\nwritten: out/r.html\n" in done.stdout
    record = json.loads((tmp_path / "out/r.json").read_text())
    assert record["data"]["listings"] == 60
    assert record["data"]["currency"] == "EUR"
    assert "all-MiniLM-L6-v2" in record["data"]["vectors"]
    assert record["made"]["command"][:2] == ["pricebandit", "benchmark"]
    assert len(record["runs"]) == 2 * 2
    html = (tmp_path / "out/r.html").read_text()
    assert "http" not in html.replace("http-equiv", "")
    assert "<b>of" not in html
    assert {path.name for path in (tmp_path / "out/scalars").iterdir()} == {"fixed", "cost-plus"}
    rendered = CliRunner().invoke(
        app, ["benchmark", "--from", f"{tmp_path}/out/r.json", "--html", f"{tmp_path}/again.html"]
    )
    assert rendered.exit_code == 0, rendered.output
    # the policy compared with is the first where the default takes no part
    assert (tmp_path / "again.html").read_text() == html


def test_who_fails_is_named_and_the_rest_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sellers.SELLERS, "broken", functools.partial(Fixed, oops=1))
    few = ("--policies", "fixed,broken", "--regimes", "cost", "--no-embeddings")
    done = asked(*few, *SMALL, "--json", tmp_path / "r.json")
    assert done.exit_code == 1
    assert "2 trials failed" in done.output
    assert "broken in cost, seed 2: TypeError" in done.output
    assert "| fixed " in done.output
    record = json.loads((tmp_path / "r.json").read_text())
    assert (len(record["runs"]), len(record["failures"])) == (2, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--policies", "fixed,fxed"), "policies does not know 'fxed': choose among pricebandit"),
        (("--policies", ","), "policies is empty"),
        (("--regimes", "costs"), "choose among reference, cost, text, or all"),
        (("--families", "cubic"), "choose among logit, exponential, linear, constant"),
        (("--scenario", "war"), "choose among plain, changing"),
        (("--seeds", "0"), "seeds must be at least 1, not 0"),
        (("--days", "0"), "days must be at least 1"),
        (("--warm-days", "-1"), "warm days must be at least 0"),
        (("--jobs", "0"), "jobs"),
        (("--known", "1500"), "known must be at least 1 and at most 4"),
        (("--new", "0"), "new must be at least 1 and at most"),
        (("--against", "pricebandit", "--policies", "fixed"), "cannot compare with 'pricebandit'"),
        (("--data", "nothing.csv"), "no such file"),
        (("--from", "nothing.json"), "--from is nothing.json, which cannot be read (No such file"),
        (("--from", "nothing.json"), "give a file that --json wrote"),
        (("--from", "nothing.json", "--seeds", "3"), "leave out --seeds"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(wrong: tuple[str, ...], message: str) -> None:
    done = asked(*wrong)
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_places_that_cannot_be_written_are_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "events").touch()
    for option, place, message in (
        ("--json", tmp_path, "cannot be written: Is a directory"),
        ("--html", tmp_path / "file" / "r.html", "cannot be written"),
        ("--tensorboard", tmp_path / "file", "cannot be written"),
        ("--tensorboard", tmp_path / "full", "is not empty"),
    ):
        done = asked(option, place, "--policies", "nobody")
        assert done.exit_code == 1
        assert message in done.output, done.output
    done = asked("--json", tmp_path / "file", "--policies", "nobody")
    assert "does not know 'nobody'" in done.output
    assert (tmp_path / "file").read_text() == "kept"


def test_an_empty_or_foreign_table_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("sku,date,price,units,currency\n")
    (tmp_path / "one.csv").write_text("sku,date,price,units,currency\na,2026-01-01,3,1,EUR\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for name, message in (("empty", "empty"), ("one", "1 families"), ("other", "no column")):
        done = asked("--data", tmp_path / f"{name}.csv")
        assert done.exit_code == 1
        assert message in done.output, done.output


def test_markets_are_named_by_what_they_differ_in() -> None:
    usual = plan(Asked(seeds=1))
    assert list(usual.markets) == ["reference", "cost", "text"]
    assert set(usual.sellers) == sellers.SELLERS.keys() - peers.PEERS.keys()
    market = usual.markets["cost"]
    assert 300 < market.known < 519
    assert market.known + market.new <= 519
    many = plan(Asked(seeds=1, regimes="cost", each_family=True, scenarios="plain,late", days=9))
    assert len(many.markets) == 4 * 2
    late = many.markets["cost/constant/late"]
    assert late.families == ("constant",)
    assert late.conditions.prompt == 0.5
    assert late.conditions.days == 9
    assert "substitutes" not in SCENARIOS
    assert {"plain", "changing", "memory", "inventory", "late"} <= SCENARIOS.keys()


def test_every_option_and_scenario_is_in_the_documentation() -> None:
    command = get_command(app).commands["benchmark"]  # type: ignore[attr-defined]
    options = {name for option in command.params for name in option.opts} - {"--help"}
    assert len(options) > 20
    for name in (*options, *SCENARIOS):
        assert f"`{name}`" in PAGE, name
