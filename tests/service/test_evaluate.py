import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from evaluation.estimators import ESTIMATORS
from evaluation.logged import Unanswerable
from evaluation.targets import TARGETS
from service import log
from service.app import create_app
from service.cli import app
from service.evaluate import (
    NO_CHOICE,
    NO_EXPECTED,
    NO_OUTCOME,
    LogUnreadable,
    read_draws,
    reader,
    report,
)
from service.log import Log
from service.settings import Settings

REFERENCES = {"item 0": 6.0, "item 1": 300.0, "item 2": 20.0}
TITLES = ("red ceramic mug", "oak dining table", "wool winter scarf")
LISTINGS = [
    {
        "listing_id": listing_id,
        "title": title,
        "currency": "GBP",
        "reference_price": reference,
        "unit_cost": reference / 2,
    }
    for (listing_id, reference), title in zip(REFERENCES.items(), TITLES, strict=True)
]


@dataclass
class Traded:
    """A service that drew 600 prices almost evenly and knows what 540 of them sold."""

    settings: Settings
    decisions: list[dict[str, Any]]
    client: TestClient


def post(client: TestClient, path: str, **body: Any) -> Any:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def outcome(decision: dict[str, Any]) -> dict[str, Any]:
    """A thousand impressions; demand falls by a factor e with each reference price paid."""
    share = 0.5 * np.exp(-decision["price"] / REFERENCES[decision["listing_id"]])
    return {
        "decision_id": decision["decision_id"],
        "outcome_id": "1",
        "impressions": 1000,
        "units": int(1000 * share),
    }


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory, embeddings: Path) -> Iterator[Traded]:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        embeddings=embeddings,
        temperature=10.0,
        budget=1.0,
        arms=6,
    )
    here = "http://127.0.0.1"
    with TestClient(create_app(settings), here, client=("127.0.0.1", 1)) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        post(client, "/v1/listings", listings=LISTINGS)
        requests = [{"listing_id": name} for name in REFERENCES] * 200
        decisions = post(client, "/v1/prices", requests=requests)["decisions"]
        post(client, "/v1/outcomes", outcomes=[outcome(d) for d in decisions[:540]])
        yield Traded(settings, decisions, client)


@pytest.fixture
def empty(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'log.sqlite3'}"
    Log(url).close()
    return url


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["evaluate", *words])


def test_the_logged_policy_is_worth_what_it_earned(traded):
    found = report(traded.settings.url, "logged")
    known = traded.decisions[:540]
    profit = sum(
        outcome(d)["units"] * (d["price"] - REFERENCES[d["listing_id"]] / 2) for d in known
    )
    assert found["decisions"] == 540
    assert found["impressions"] == 540_000
    assert found["left_out"][NO_OUTCOME] == 60
    assert found["logged"]["value"] == pytest.approx(profit / 540_000)
    for name in ("ips", "snips"):
        assert found["estimates"][name]["value"]["value"] == pytest.approx(profit / 540_000)
        assert found["estimates"][name]["gain"]["se"] < 1e-9
    for name in ("dr", "sndr"):
        gain = found["estimates"][name]["gain"]
        # the model's share of the estimate depends on the draws; off by 4 once in 16,000 runs
        assert abs(gain["value"]) < 4 * gain["se"]
    assert found["weights"]["effective"] == pytest.approx(540)


@pytest.mark.statistical
def test_estimates_agree_with_what_a_policy_would_have_earned(traded):
    """Demand is as in `outcome`, so the truth is known. Wrong once in 5,000 runs."""
    for name, arm in (("middle", lambda d: (len(d["ladder"]) - 1) // 2), ("dearest", lambda d: -1)):
        found = report(traded.settings.url, name)
        earned = []
        for d in traded.decisions[:540]:
            price = d["ladder"][arm(d)]
            units = outcome({**d, "price": price})["units"]
            earned.append(units * (price - REFERENCES[d["listing_id"]] / 2) / 1000)
        for estimator in ("snips", "dr"):
            value = found["estimates"][estimator]["value"]
            assert abs(value["value"] - np.mean(earned)) < 4.5 * value["se"]


@pytest.mark.parametrize("policy", TARGETS)
def test_every_policy_prices_the_logged_ladders(traded, policy):
    draws = read_draws(traded.settings.url)
    target = TARGETS[policy](draws.menus, 1.6)
    draws.logged.check_target(target)
    assert (target[~draws.menus.there] == 0).all()


def test_a_family_is_one_draw_and_what_tells_nothing_is_left_out(traded):
    client = traded.client
    family = [{**LISTINGS[0], "listing_id": f"twin {i}", "family": "twins"} for i in range(3)]
    post(client, "/v1/listings", listings=family)
    before = read_draws(traded.settings.url)
    requests = [{"listing_id": f"twin {i}", "unit": "a"} for i in range(3)]
    twins = post(client, "/v1/prices", requests=requests)["decisions"]
    still = post(client, "/v1/prices", requests=[{"listing_id": "item 0"}], explore=False)
    told = [
        {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 10, "units": 0}
        for d in [*twins, *still["decisions"]]
    ]
    post(client, "/v1/outcomes", outcomes=told)
    after = read_draws(traded.settings.url)
    assert len(after.logged) - len(before.logged) == 3
    assert after.logged.groups.max() - before.logged.groups.max() == 1
    # one gain for all members: a family's price is chosen by what all of them expect
    assert (np.diff(after.menus.expected[-3:], axis=0) == 0).all()
    assert after.left_out[NO_CHOICE] - before.left_out[NO_CHOICE] == 1


@pytest.mark.parametrize("how", [{}, {"optimism": 1.0}, {"rule": "thompson"}])
def test_greedy_charges_what_is_charged_without_exploring(open_bandit, drive, how):
    busy = [{"listing_id": name, "market": {"traffic": 5000}} for name in REFERENCES]
    bandit = open_bandit(temperature=0.1, budget=1.0, **how)
    drive.listings(bandit, *LISTINGS)
    best = []
    for _ in range(8):
        best += [d["price"] for d in drive.prices(bandit, *busy, explore=False, record=False)]
        drive.outcomes(bandit, *(outcome(d) for d in drive.prices(bandit, *busy)))
    menus = read_draws(bandit.settings.url).menus
    greedy = TARGETS["greedy"](menus, 2.0)
    assert np.nansum(greedy * menus.price, 1) == pytest.approx(best)


def test_what_was_expected_is_not_guessed_where_an_earlier_version_did_not_keep_it(shop):
    shop.register(*LISTINGS)
    decided = shop.decide(*({"listing_id": name} for name in list(REFERENCES) * 2))
    shop.report(*(outcome(d) for d in decided))
    with shop.bandit.log.engine.begin() as conn:
        first = log.decisions.c.id == decided[0]["decision_id"]
        conn.execute(log.decisions.update().where(first).values(expected_gains=None))
    draws = read_draws(shop.settings.url, expecting=True)
    assert draws.left_out[NO_EXPECTED] == 1
    assert len(draws.logged) == len(draws.expected) == 5
    others = read_draws(shop.settings.url)
    assert len(others.logged) == 6
    assert others.expected is None
    detail = shop.client.get(f"/v1/decisions/{decided[0]['decision_id']}").json()
    assert "expected_gains" not in detail
    assert len(detail["scores"]) == len(decided[0]["ladder"])


@pytest.mark.parametrize("terms", [{"objective": "revenue"}, {"inventory": 3}])
def test_a_gain_that_is_not_todays_profit_is_no_prediction_of_it(shop, terms):
    shop.register(*LISTINGS[:2], {**LISTINGS[2], **terms})
    decided = shop.decide(*({"listing_id": name} for name in REFERENCES))
    shop.report(*(outcome(d) for d in decided[:2]))
    assert read_draws(shop.settings.url).expected is not None
    shop.report(outcome(decided[2]))
    draws = read_draws(shop.settings.url, expecting=True)
    assert len(draws.logged) == 3  # what it would have charged is known all the same
    assert draws.expected is None
    assert draws.unpredicted == 1
    with pytest.raises(Unanswerable, match="no predictions to go by: 1 decisions do not say"):
        report(shop.settings.url, "uniform")


@pytest.mark.parametrize("objective", ["profit", {"profit": 1}])
def test_who_says_that_profit_is_the_objective_has_predictions(shop, objective):
    costless = {k: v for k, v in LISTINGS[2].items() if k != "unit_cost"}
    said = [{**listing, "objective": objective} for listing in (*LISTINGS[:2], costless)]
    shop.register(*said)
    decided = shop.decide(*({"listing_id": name} for name in REFERENCES))
    assert {d["objective"] for d in decided} == {"profit"}
    shop.report(*(outcome(d) for d in decided))
    draws = read_draws(shop.settings.url)
    assert draws.unpredicted == 0
    for d, gains, action in zip(decided, draws.expected, draws.logged.action, strict=True):
        assert gains[action] == pytest.approx(d["expected"]["profit_per_impression"])


def test_what_estimates_lack_predictions_for_is_said(open_bandit, drive):
    bandit = open_bandit(temperature=10.0, budget=1.0, arms=6)
    drive.listings(bandit, {**LISTINGS[0], "inventory": 9}, *LISTINGS[1:])
    asked = [{"listing_id": name} for name in REFERENCES] * 60
    drive.outcomes(bandit, *(outcome(d) for d in drive.prices(bandit, *asked)))
    assert report(bandit.settings.url, "logged")["estimates"].keys() == {"ips", "snips"}
    result = run("--policy", "logged", "--log", bandit.settings.url)
    said = " ".join(result.output.split())
    assert "60 decisions do not say what profit was expected of the day" in said


def looked_at(open_bandit, drive, shown):
    """A shop whose 180 prices were seen by as many as `shown` says of price over reference."""
    bandit = open_bandit(temperature=10.0, budget=1.0, arms=6)
    drive.listings(bandit, *LISTINGS)
    told = []
    for decision in drive.prices(bandit, *[{"listing_id": name} for name in REFERENCES] * 60):
        dear = decision["price"] / REFERENCES[decision["listing_id"]]
        told.append(outcome(decision) | {"impressions": shown(dear)})
    drive.outcomes(bandit, *told)
    return bandit


@pytest.mark.parametrize("elasticity", [0.0, -1.0])
def test_who_is_put_off_before_he_looked_is_missed(open_bandit, drive, elasticity):
    bandit = looked_at(open_bandit, drive, lambda dear: int(1000 * dear**elasticity))
    found = report(bandit.settings.url, "logged")["impressions_elasticity"]
    assert found["value"] == pytest.approx(elasticity, abs=0.3)
    result = run("--policy", "logged", "--log", bandit.settings.url)
    said = " ".join(result.output.split())
    assert ("impressions answer to the price" in said) == (elasticity < 0)


def test_prices_that_ended_sooner_are_not_taken_for_those_that_put_off(open_bandit, drive):
    """Pages of what is sold out are taken off: the cheap are seen by fewer."""
    bandit = looked_at(open_bandit, drive, lambda dear: min(int(500 * dear**2), 1000))
    said = " ".join(run("--policy", "logged", "--log", bandit.settings.url).output.split())
    assert "Low prices were seen by fewer" in said
    assert "in lists, too" not in said


def test_the_command_prints_every_estimator_while_the_service_runs(traded):
    result = run("--policy", "uniform", "--home", str(traded.settings.home))
    assert result.exit_code == 0, result.output
    for name in ESTIMATORS:
        assert name in result.output
    assert "effective sample size" in result.output
    assert f"{NO_OUTCOME}" in result.output


def test_the_command_prints_json(traded):
    result = run("--policy", "uniform", "--bca", "--json", "--log", traded.settings.url)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["estimates"].keys() == ESTIMATORS.keys()
    assert found["currency"] == "GBP"


def test_the_log_is_only_read(traded):
    path = Path(traded.settings.home / "log.sqlite3")
    with sqlite3.connect(path) as conn:
        before = conn.execute("PRAGMA data_version").fetchone()
        report(traded.settings.url, "uniform")
        assert conn.execute("PRAGMA data_version").fetchone() == before


def test_an_unknown_policy_is_refused_with_those_known(traded):
    result = run("--policy", "optimal", "--log", traded.settings.url)
    assert result.exit_code == 1
    assert "policy is 'optimal': give one of logged, greedy" in result.stderr


@pytest.mark.parametrize("markup", [-1, float("inf"), float("nan")])
def test_a_markup_that_is_none_is_refused(traded, markup):
    with pytest.raises(ValueError, match=f"markup is {markup}: give price over unit cost"):
        report(traded.settings.url, "cost-plus", markup=markup)


def test_a_missing_log_is_named(tmp_path):
    result = run("--policy", "greedy", "--home", str(tmp_path / "nowhere"))
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert "no log there" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_another_database_is_no_log(tmp_path):
    sqlite3.connect(tmp_path / "other.db").close()
    (tmp_path / "other.db").write_bytes(b"not a database, but long enough to look like a file" * 9)
    with pytest.raises(LogUnreadable, match="cannot be read as this service's log"):
        report(f"sqlite:///{tmp_path / 'other.db'}", "greedy")


@pytest.mark.parametrize("url", ["log.sqlite3", "nosuch://host/db", "postgresql://me@host:no/db"])
def test_what_is_no_url_is_refused_with_examples(url):
    with pytest.raises(LogUnreadable, match=r"--log is no URL .* give one such as sqlite:////"):
        report(url, "greedy")


def test_an_empty_log_is_refused(empty):
    with pytest.raises(Unanswerable, match="holds no decision"):
        report(empty, "greedy")


def test_few_decisions_without_outcomes_are_refused_in_words_and_json(shop):
    shop.register(*LISTINGS)
    decided = shop.decide(*({"listing_id": name} for name in REFERENCES))
    with pytest.raises(Unanswerable, match="none of 3 decisions has an outcome"):
        report(shop.settings.url, "greedy")
    shop.report(*(outcome(d) for d in decided))
    result = run("--policy", "uniform", "--json", "--log", shop.settings.url)
    assert result.exit_code == 1
    assert "of 3 draws, below 30" in json.loads(result.stdout)["refused"][0]
    assert "cannot be answered: the effective sample size" in result.stderr


def test_a_log_is_read_in_parts_of_any_size(shop, monkeypatch):
    narrow = {**LISTINGS[0], "listing_id": "narrow", "min_price": 5.98, "max_price": 6.0}
    shop.register(*LISTINGS, narrow)
    decided = shop.decide(*({"listing_id": name} for name in (*REFERENCES, "narrow")))
    decided += shop.decide({"listing_id": "narrow"}, {"listing_id": "narrow"})
    told = [{"decision_id": d["decision_id"], "outcome_id": "1"} for d in decided]
    shop.report(*({**one, "impressions": 9 + i, "units": i} for i, one in enumerate(told)))
    whole = read_draws(shop.settings.url)
    assert np.isnan(whole.menus.price).any()
    for size in (1, 4):
        monkeypatch.setattr("service.evaluate._PART", size)
        parts = read_draws(shop.settings.url)
        np.testing.assert_array_equal(whole.expected, parts.expected)
        for name in ("action", "reward", "propensity", "propensities", "mass", "group"):
            of_all, of_parts = getattr(whole.logged, name), getattr(parts.logged, name)
            np.testing.assert_array_equal(of_all, of_parts)
        for name in ("price", "propensity", "expected", "unit_cost"):
            of_all, of_parts = getattr(whole.menus, name), getattr(parts.menus, name)
            np.testing.assert_array_equal(of_all, of_parts)


def test_several_currencies_are_not_summed(shop):
    yen = {**LISTINGS[1], "listing_id": "yen", "currency": "JPY"}
    costless = {k: v for k, v in LISTINGS[2].items() if k != "unit_cost"}
    shop.register(LISTINGS[0], yen, costless)
    decided = shop.decide({"listing_id": "item 0"}, {"listing_id": "yen"}, {"listing_id": "item 2"})
    shop.report(
        *(
            {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 9, "units": 3}
            for d in decided
        )
    )
    with pytest.raises(Unanswerable, match=r"GBP \(2 decisions\), JPY \(1 decisions\)"):
        read_draws(shop.settings.url)
    with pytest.raises(Unanswerable, match="no decision in 'EUR' has an outcome"):
        read_draws(shop.settings.url, "EUR")
    draws = read_draws(shop.settings.url, "JPY")
    # minor units of the yen are yen; 3 of 9 bought at price less cost
    assert draws.logged.reward[0] == pytest.approx((decided[1]["price"] - 150) / 3)
    revenue = read_draws(shop.settings.url, "GBP")
    assert np.isclose(revenue.logged.reward, decided[2]["price"] / 3, rtol=1e-12, atol=0).any()
    with pytest.raises(Unanswerable, match="1 of 2 decisions have no unit cost"):
        report(shop.settings.url, "cost-plus", "GBP")


def test_a_log_in_postgresql_is_read(shop_at, postgresql):
    with shop_at(database_url=postgresql(), temperature=10.0, budget=1.0) as shop:
        shop.register(*LISTINGS)
        decided = shop.decide(*({"listing_id": name} for name in list(REFERENCES) * 20))
        shop.report(*(outcome(d) for d in decided))
        found = report(shop.settings.url, "logged")
    assert found["decisions"] == 60
    assert found["estimates"]["ips"]["value"]["value"] == pytest.approx(found["logged"]["value"])


def test_days_may_be_asked_about(traded):
    today = datetime.now(UTC).date()
    whole = report(traded.settings.url, "greedy")
    around = {"since": today - timedelta(1), "until": today + timedelta(1)}
    assert report(traded.settings.url, "greedy", **around)["decisions"] == whole["decisions"]
    before = {"since": None, "until": today - timedelta(2)}
    with pytest.raises(Unanswerable, match="no decision from the start to"):
        report(traded.settings.url, "greedy", **before)
    log_of = ("--log", traded.settings.url, "--policy", "greedy")
    told = run(*log_of, "--since", f"{today + timedelta(2)}")
    assert told.exit_code == 1
    assert f"no decision from {today + timedelta(2)} to the end" in told.output
    assert run(*log_of, "--since", f"{today - timedelta(1)}", "--currency", "gbp").exit_code == 0
    assert run(*log_of, "--until", "9999-12-31").exit_code == 0
    backwards = run(*log_of, "--since", f"{today}", "--until", f"{today - timedelta(1)}")
    assert f"since is {today}, after until" in backwards.output


def test_a_log_in_a_folder_to_read_only_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "log.sqlite3"
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE told (units INTEGER)")
    writer.commit()
    # whoever runs tests may be allowed everything: what SQLite is asked for tells
    monkeypatch.setattr("os.access", lambda *_: False)
    asked = []
    connect = sqlite3.connect
    monkeypatch.setattr(
        "sqlite3.connect", lambda file, **more: asked.append(file) or connect(file, **more)
    )
    for beside in (True, False):  # a writer, whose log is not to be passed over, and none
        engine = reader(f"sqlite:///{path}")
        with engine.connect() as conn:
            assert conn.execute(sa.text("SELECT count(*) FROM told")).scalar() == 0
        engine.dispose()
        assert ("immutable" in asked.pop()) != beside
        writer.close()
