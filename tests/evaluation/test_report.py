import json
import math
import re
from dataclasses import fields
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from evaluation import scalars
from evaluation.benchmark import Failure, Outcome, Run, Trial
from evaluation.report import cumulative_regret, daily_share, over_seeds, rows
from evaluation.report_page import page
from evaluation.report_record import NotARecord, Record, read, write
from evaluation.report_terminal import show
from evaluation.stage import Market
from evaluation.trial import Result
from markets import Conditions

NASTY = "<script>alert('£5 & $10_{x}$')</script> --> ]]> \x07 \"é\" https://example.org/x"
SELLERS = ("pricebandit", "fixed", "a < b")
DAYS = 5


def result(seed: int, share: float, days: int = DAYS) -> Result:
    """A clairvoyant earns 10 a day, of which the seller gets a share; by rungs 8 can be had."""
    stream = np.random.default_rng(seed)
    return Result(
        gain=np.full(days, 10.0 * share),
        best=np.full(days, 10.0),
        best_rung=np.full(days, 8.0),
        first_gain=3.0 * share,
        first_best=4.0,
        arms=stream.integers(0, 9, 16),
        path=stream.random((days, 2)) + 1 / 3,
        best_path=np.ones((days, 2)),
        seconds=0.5,
        decisions=1000,
    )


def record(shares: dict[str, list[float]] | None = None, stopped: bool = False) -> Record:
    shares = shares or {"pricebandit": [0.9, 0.8], "fixed": [0.6, 0.7], "a < b": [0.5, 0.5]}
    market = Market("cost", conditions=Conditions(days=DAYS, stock=(1, 2)), known=9, new=2)
    runs = tuple(
        Run(Trial("cost/<b>", seller, seed), result(seed, share), (NASTY, "Mug"), 1.25)
        for seller, each in shares.items()
        for seed, share in enumerate(each, 1)
    )
    failure = Failure(Trial("cost/<b>", "fixed", 3), f"ValueError: {NASTY}", "line 1\nline 2")
    return Record(
        {"cost/<b>": market},
        SELLERS,
        (1, 2, 3),
        Outcome(runs, (failure,), stopped),
        {
            "name": f"{NASTY}.csv",
            "sha256": "ab" * 32,
            "listings": 11,
            "currency": "GBP",
            "vectors": "words",
        },
        {
            "command": ["pricebandit", "benchmark", "--data", NASTY],
            "at": "2026-01-02T03:04:05+00:00",
            "jobs": 2,
            "seconds": 12.5,
            "python": "3.11.7",
            "packages": {"numpy": "2.0"},
            "machine": "x",
        },
    )


def test_a_mean_over_seeds_has_students_interval():
    found = over_seeds([0.7, 0.8, 0.9, math.nan])
    reach = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert found.value == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx((0.8 - reach, 0.8 + reach))
    one = over_seeds([0.7])
    assert one.value == pytest.approx(0.7)
    assert math.isnan(one.low)
    assert math.isnan(over_seeds([]).value)


@pytest.mark.statistical
def test_intervals_hold_the_mean_as_often_as_they_say():
    # 2,000 intervals of level 0.95: outside 0.95 ± 0.02 with a probability below 1e-4
    draws = np.random.default_rng(1).normal(0.9, 0.02, (2000, 10))
    held = [(f := over_seeds(row)).low <= 0.9 <= f.high for row in draws]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_rows_have_shares_differences_and_pace():
    best, second, last = rows(record().outcome, "cost/<b>", SELLERS, "pricebandit")
    assert [row.seller for row in (best, second, last)] == list(SELLERS)
    assert best.share.value == pytest.approx(0.85)
    assert best.regret.value == pytest.approx(0.15)
    assert best.best_rung.value == pytest.approx(0.85 * 10 / 8)
    assert best.first_regret.value == pytest.approx(1 - 0.85 * 3 / 4)
    assert best.day_one.value == pytest.approx(0.85)
    assert best.pace == pytest.approx(2000)
    assert math.isnan(best.difference.value)
    # paired: -0.3 and -0.1
    assert second.difference.value == pytest.approx(-0.2)
    reach = stats.t.ppf(0.975, 1) * 0.1
    assert second.difference.high == pytest.approx(-0.2 + reach)


def test_differences_are_over_the_seeds_of_both():
    uneven = record({"pricebandit": [0.9], "fixed": [0.6, 0.2]})
    _, fixed = rows(uneven.outcome, "cost/<b>", SELLERS, "pricebandit")
    assert fixed.seeds == 2
    assert fixed.difference.value == pytest.approx(-0.3)


def test_curves_by_day_and_days_that_nobody_came():
    found = {1: result(1, 0.5), 2: result(2, 0.9)}
    found[1].best[0] = found[1].gain[0] = 0.0
    shares = daily_share(found)
    assert math.isnan(shares[0, 0])
    assert shares[1] == pytest.approx(np.full(DAYS, 0.9))
    assert cumulative_regret(found)[1] == pytest.approx(0.1 * np.arange(1, DAYS + 1) / DAYS)


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path: Path):
    written = record(stopped=True)
    written.outcome.runs[0].result.best[0] = math.nan
    write(written, tmp_path / "r.json")
    again = read(tmp_path / "r.json")
    for name in ("markets", "sellers", "seeds", "data", "made"):
        assert getattr(again, name) == getattr(written, name), name
    assert again.outcome.failures == written.outcome.failures
    assert again.outcome.stopped
    for a, b in zip(again.outcome.runs, written.outcome.runs, strict=True):
        assert (a.trial, a.shown, a.wall) == (b.trial, b.shown, b.wall)
        for field in fields(Result):
            values = getattr(a.result, field.name), getattr(b.result, field.name)
            np.testing.assert_array_equal(*values, err_msg=field.name)
    write(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "r.json").read_bytes()


def test_every_field_is_in_the_documentation(tmp_path: Path):
    pages = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text()
    write(record(), tmp_path / "r.json")
    raw = json.loads((tmp_path / "r.json").read_text())
    (market,) = raw["markets"].values()
    for part in (raw, raw["made"], raw["data"], market, raw["failures"][0], raw["runs"][0]):
        for name in part:
            assert f"`{name}`" in pages, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:50], "is not JSON"),
        (lambda text: "[]", "no record of a benchmark"),
        (lambda text: text.replace("benchmark/1", "benchmark/9"), "benchmark/9"),
        (lambda text: text.replace('"gain":[', '"gain":[1.0,'), "gain has shape"),
        (lambda text: text.replace('"seeds":[1,2,3]', '"seeds":[3]'), "not of this benchmark"),
        (lambda text: text.replace('"decisions"', '"decision"'), "KeyError"),
    ],
)
def test_another_file_is_no_record(tmp_path: Path, change, message):
    path = tmp_path / "r.json"
    write(record(), path)
    path.write_text(change(path.read_text()))
    with pytest.raises(NotARecord, match=message):
        read(path)


class Elements(HTMLParser):
    """Tags with their attributes, and the text between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def html() -> str:
    return page(record(), "pricebandit")


def test_the_page_loads_nothing_and_runs_nothing(html: str):
    found = Elements(html)
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "base", "form", "a"}
    for tag, attributes in found.tags:
        assert not {"src", "srcset", "onload"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith("#")
    # the one address there is stands in the data
    addresses = set(re.findall(r"https?:[^\s<&;,]*", html))
    assert {address.removesuffix(".csv") for address in addresses} == {"https://example.org/x"}
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_the_page_shows_everybody_and_says_how_it_was_made(html: str):
    text = Elements(html).text
    for seller in SELLERS:
        assert seller in text
    for part in (NASTY.replace("\x07", "")[:30], "ab" * 32, "numpy 2.0", "85.0%", "-20.00"):
        assert part in text, part
    for heading in ("Real", "Assumed", "Again", "Trials that failed", "cost/<b>"):
        assert heading in text
    for real_or_assumed in ("Titles", "elasticity", "measures them per product"):
        assert real_or_assumed in text
    assert "stock (1, 2)" in text
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", text.lower())


def test_figures_are_sound_and_named(html: str):
    figures = re.findall(r"<svg.*?</svg>", html, re.S)
    assert len(figures) == 4
    identities = []
    for figure in figures:
        root = ElementTree.fromstring(figure)
        assert root.attrib["role"] == "img"
        assert len(root.attrib["aria-label"]) > 40
        identities += re.findall(r' id="([^"]*)"', figure)
        assert "currentColor" in figure
    assert len(identities) == len(set(identities))
    tags = [tag for tag, _ in Elements(html).tags]
    assert tags.count("figcaption") == 4
    assert tags.count("caption") == 1
    assert "color-scheme: light dark" in html


def test_a_page_of_one_seed_has_no_intervals():
    one = record({"fixed": [0.5]}, stopped=True)
    html = page(one, "pricebandit")
    assert "Interrupted" in html
    assert "±</td>" not in html
    assert "<td>50.0%</td>" in html
    assert "<td>–</td>" in html


def test_the_terminal_has_tables_that_markdown_takes(capsys: pytest.CaptureFixture[str]):
    show(record(), "fixed")
    shown = capsys.readouterr().out
    header = next(line for line in shown.splitlines() if line.startswith("| policy"))
    assert "minus fixed" in header
    assert "| pricebandit |" in shown
    assert "1 trials failed" in shown
    assert NASTY.split()[0] in shown


def test_tensorboard_reads_what_was_written(tmp_path: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    scalars.to_tensorboard(record(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(SELLERS)
    events = accumulator.EventAccumulator(str(tmp_path / "pricebandit"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"cost/<b>/share", "cost/<b>/cumulative_regret"}
    shares = events.Scalars("cost/<b>/share")
    assert [event.step for event in shares] == list(range(1, DAYS + 1))
    assert [event.value for event in shares] == pytest.approx([0.85] * DAYS)
    regret = events.Scalars("cost/<b>/cumulative_regret")
    assert regret[-1].value == pytest.approx(0.15)


@pytest.mark.skipif(find_spec("wandb") is not None, reason="Weights & Biases is installed")
def test_a_missing_package_is_named():
    with pytest.raises(scalars.MissingPackage, match="pip install wandb"):
        scalars.to_wandb(record(), "project", "pricebandit")
