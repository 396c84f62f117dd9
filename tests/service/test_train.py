"""Training: judged on held-out sales, adopted only where better, rolled out and back at starts."""

import json
import math
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from bandits import DIM, Context, Effect, Outcomes, Policy, Population, Rules
from bandits.features import SCALE, features
from bandits.words import WORDS
from markets import read_sales_table
from service import learning, log, snapshots, train, trunks
from service.cli import app
from service.learning import Fold
from service.pricebandit import Pricebandit, now_us
from service.rehearsal import rehearse
from service.sales import import_sales
from service.settings import Settings
from service.tables import SalesTable

DAYS = 25
NAMES = [f"l{i}" for i in range(120)]
COUNT = DAYS * len(NAMES)
START = datetime(2026, 3, 2, tzinfo=UTC)


def made_up(seed, strength, listings=200, days=30, shock=0.0):
    """Outcomes whose demand is the believed curve's, but for what a rival's price does to it: on
    promotion the opposite of what it does at other times; and for a shock common to each day.
    """
    rng = np.random.default_rng(seed)
    m = listings * days
    listing, day = np.repeat(np.arange(listings), days), np.tile(np.arange(days), listings)
    text = rng.normal(size=(listings, 384)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    guess = rng.normal(2, 1, listings)[listing]
    price, rival = guess + rng.normal(0, 0.25, (2, m))
    promotion = (rng.random(m) < 0.5).astype(np.float64)
    at = (20_000 + day) * 86_400_000_000
    context = Context(
        text[listing], np.zeros((m, 384), np.float32), np.full(m, 0.7), guess, np.zeros(m),
        np.exp(guess - 0.7), np.exp(rival), np.full(m, np.nan), promotion, at,
        np.full(m, -1), np.full((m, WORDS), -1, np.int32),
    )  # fmt: skip
    raw = features(context, price[:, None])[:, 0].numpy() * SCALE
    curve = np.exp(rng.normal(-3.5, 0.5, listings)[listing] - 1.5 * (price - guess))
    bent = strength * np.tanh(4 * (price - rival)) * np.where(promotion > 0, -1, 1)
    shocks = shock * rng.spawn(1)[0].normal(size=days)[day]
    units = rng.poisson(200 * curve * np.exp(bent + shocks)).astype(np.float64)
    x = (raw * curve[:, None]).astype(np.float32)
    shown = np.full(m, 200.0)
    told = np.exp(price), shown, units, units, 0.1 * curve, x, at, *np.ones((3, m))
    outcomes = Outcomes(
        listing,
        guess,
        *told,
        np.full(m, -1),
        np.full(m, np.nan),
        *np.zeros((2, m)),
        np.full(m, np.nan),
        curve,
        np.zeros(m),
    )
    names = np.array([f"l{i}" for i in listing], object)
    return train.Rows.of(outcomes, names, names)


def test_who_could_not_buy_is_no_example():
    rows = made_up(0, 0.0, listings=2, days=2)
    outcomes = replace(
        rows.outcomes,
        units=np.concatenate([[0.0, 3.0, 3.0], rows.outcomes.units[3:]]),
        stock=np.concatenate([[0.0, 3.0, 9.0], np.full(len(rows.name) - 3, np.nan)]),
    )
    kept = train.Rows.of(outcomes, rows.name, rows.family)
    assert kept.left_out == {"of what was sold out": 1}
    shown = rows.outcomes.impressions
    assert 0 < kept.outcomes.impressions[0] < shown[1]  # until the last one was sold
    np.testing.assert_array_equal(kept.outcomes.impressions[1:], shown[2:])
    assert np.isnan(kept.outcomes.stock).all()  # nothing is left out twice


def compared(rows):
    return train.compare(rows, Rules(), torch.device("cpu"), seed=1)


@pytest.fixture(scope="module")
def lived(tmp_path_factory, embeddings, drive, titles):
    """A home whose buyers look at rivals, and on promotion the other way round; always the same."""
    home = tmp_path_factory.mktemp("lived")
    rng = np.random.default_rng(1)
    with pytest.MonkeyPatch.context() as patch:
        bandit = Pricebandit(Settings(home=home, embeddings=embeddings, temperature=0.3))
        listings = (
            {"listing_id": n, "title": titles[i % 8], "currency": "GBP"}
            | {"reference_price": 10 + i % 40, "unit_cost": 4 + 0.4 * (i % 40)}
            for i, n in enumerate(NAMES)
        )
        drive.listings(bandit, *listings)
        for day in range(DAYS):
            now = START + timedelta(days=day)
            patch.setattr("service.pricing.now_us", lambda now=now: int(now.timestamp() * 1e6))
            _live_a_day(bandit, drive, rng, now.isoformat())
        bandit.close()
    return home


def _live_a_day(bandit, drive, rng, when):
    reference = 10.0 + np.arange(len(NAMES)) % 40
    rival = reference * np.exp(rng.normal(0, 0.4, len(NAMES)))
    promoted = rng.random(len(NAMES)) < 0.5
    requests = (
        {"listing_id": n, "market": {"competitor_price": float(r), "promotion": bool(p)}}
        for n, r, p in zip(NAMES, rival, promoted, strict=True)
    )
    decisions = drive.prices(bandit, *requests)
    price = np.array([d["price"] for d in decisions])
    bent = np.tanh(4 * np.log(price / rival)) * np.where(promoted, -1, 1)
    units = rng.poisson(1000 * 0.05 * (price / reference) ** -1.5 * np.exp(bent))
    outcomes = (
        {"decision_id": d["decision_id"], "outcome_id": "1", "occurred_at": when}
        | {"impressions": 1000, "units": int(u)}
        for d, u in zip(decisions, units, strict=True)
    )
    drive.outcomes(bandit, *outcomes)


@pytest.fixture
def home(lived, tmp_path, embeddings, monkeypatch):
    """A copy of that home, which the command finds with the embeddings."""
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))
    return shutil.copytree(lived, tmp_path / "home")


@pytest.fixture
def adopted(home):
    """The same after `train --adopt`."""
    done = run(home, "--adopt")
    assert done.exit_code == 0, done.output
    assert "in use from the next start on" in told(done)
    return home


def run(home, *words):
    return CliRunner().invoke(app, ["train", "--home", str(home), *words])


def told(done):
    """Output with its lines joined: the terminal breaks them anywhere."""
    return " ".join(done.output.split())


def head_of(bandit):
    head = bandit.policy.head
    return head.gram.numpy().copy(), head.moment.numpy().copy()


# -- judging --------------------------------------------------------------------------------


def test_a_planted_interaction_makes_the_trunk_win_and_none_keeps_it_out():
    planted = compared(made_up(1, strength=0.6))
    assert train.better(planted)
    for one in planted.values():
        curve, raw, trunk = one.deviance.values()
        assert trunk < 0.75 * raw < 0.75 * curve
        assert one.trunk_gain.value == pytest.approx(raw - trunk)
    for seed in (1, 2, 3):
        plain = compared(made_up(seed, strength=0.0))
        assert not train.better(plain)
        # what was not there to learn may cost next to nothing
        assert all(
            one.deviance["+ head, trunk"] < 1.1 * one.deviance["own curve"]
            for one in plain.values()
        )


def test_shocks_that_a_days_sales_share_do_not_make_a_trunk_win():
    # the unluckiest of 124 such shops: with days taken for independent a trunk won in each
    for seed in (15, 18, 54):
        plain = compared(made_up(seed, strength=0.0, listings=60, days=15, shock=0.4))
        assert not train.better(plain)
        assert plain["last days"].trunk_gain.value > 0
    # and as few days do for one that helps
    assert train.better(compared(made_up(2, strength=0.6, days=15)))


def test_the_seed_decides_everything():
    rows = made_up(1, strength=0.3, listings=40)
    assert compared(rows) == compared(rows)
    again, other = (train.trained_on(rows, torch.device("cpu"), seed) for seed in (1, 2))
    assert train.trained_on(rows, torch.device("cpu"), 1).version == again.version
    assert other.version != again.version


def test_a_trunk_learns_with_the_weights_and_bounds_of_the_head(monkeypatch):
    rows = made_up(1, strength=0.3, listings=6, days=5)
    rows.outcomes.features[:10] *= 1e-4  # next to nothing expected, and more than that sold
    rows.outcomes.units[:4] = [0, 3, 100, -100]
    fit = Mock()
    monkeypatch.setattr(train.Trunk, "fit", fit)
    train.trained_on(rows, torch.device("cpu"), 1)
    _, y, weight = fit.call_args.args
    policy = Policy(Rules())
    policy.learn_corrections(rows.outcomes)
    # the head's first feature is the curve: its sums are those of a mean of units over the curve
    assert float(weight.sum()) == pytest.approx(float(policy.head.gram[0, 0, 0]), rel=1e-6)
    assert float(weight @ y) == pytest.approx(float(policy.head.moment[0, 0]), rel=1e-6)


def test_whole_listings_and_the_last_days_are_held_out():
    rows = made_up(1, strength=0.0, listings=50, days=10)
    held = rows.held_out()
    new = held["new listings"]
    assert not set(rows.name[new]) & set(rows.name[~new])
    assert 3 <= len(set(rows.name[new])) <= 20
    day = rows.outcomes.at // 86_400_000_000
    assert set(day[held["last days"]]) == {20_007, 20_008, 20_009}
    # who is held out is a matter of the id alone
    turned = rows.name[::-1]
    few = train.Rows(rows.outcomes, turned, turned).held_out()["new listings"]
    assert set(rows.name[::-1][few]) == set(rows.name[new])


def test_variants_of_one_product_are_on_one_side():
    rows = made_up(1, strength=0.0, listings=100, days=5)
    family = np.array([f"f{int(name[1:]) // 10}" for name in rows.name], object)
    rows = train.Rows(rows.outcomes, rows.name, family)
    new = rows.held_out()["new listings"]
    assert not set(family[new]) & set(family[~new])
    assert len(set(rows.name[new])) == 10 * len(set(family[new]))
    found = compared(rows)["new listings"]
    assert found.listings == len(set(rows.name[new]))
    alike = train.Rows(rows.outcomes, rows.name, np.full(len(family), "one", object))
    with pytest.raises(train.NothingToTrainOn, match="no variants of each other, at least 2"):
        compared(alike)


def test_what_tells_nothing_is_left_out_and_counted():
    outcomes = made_up(1, strength=0.0, listings=4, days=3).outcomes
    outcomes.impressions[0] = 0
    outcomes.features[1] = 0
    one = np.full(12, "one", object)
    rows = train.Rows.of(outcomes, one, one)
    assert len(rows.name) == 10
    assert rows.left_out == {"without impressions": 1, "with features of another version": 1}
    with pytest.raises(train.NothingToTrainOn, match=r"10 outcomes of 1 listings on 3 days; 1"):
        compared(rows)


def test_a_trunk_is_not_held_to_be_better_where_nothing_was_sold():
    rows = made_up(1, strength=0.0, listings=30, days=20)
    rows.outcomes.units[:] = 0
    with pytest.raises(train.NothingToTrainOn, match="new listings: nothing was sold of what is"):
        compared(rows)


def test_days_too_few_to_tell_a_gain_from_chance_are_refused():
    for days, told in ((1, "new listings: outcomes of 1"), (3, "last days: outcomes of 2")):
        rows = made_up(1, strength=0.0, listings=40, days=days)
        with pytest.raises(train.NothingToTrainOn, match=f"{told} days held out, at least 3"):
            compared(rows)
    train.check(made_up(1, strength=0.0, listings=40, days=4))


# -- the command ----------------------------------------------------------------------------


def test_training_on_a_log_reports_and_changes_nothing(home, tmp_path):
    kept = {path.name for path in home.iterdir()}
    places = tmp_path / "found.json", tmp_path / "curves"
    done = run(home, "--json", str(places[0]), "--tensorboard", str(places[1]))
    assert done.exit_code == 0, done.output
    assert "--adopt puts it in use" in told(done)
    assert {path.name for path in home.iterdir()} == kept
    found = json.loads(places[0].read_text())
    assert found["better"] is True
    assert found["adopted"] is None
    assert (found["outcomes"], found["listings"], found["days"]) == (COUNT, len(NAMES), DAYS)
    assert found["comparisons"]["last days"]["held_out"] == COUNT // 5
    assert found["snapshot"]["trained_on"]["outcomes"] == COUNT
    assert len(list(places[1].iterdir())) == 1
    again = run(home, "--json", str(tmp_path / "again.json"))
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "again.json").read_text()) == found


def test_an_empty_log_says_what_is_missing(tmp_path, embeddings, monkeypatch):
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))
    Pricebandit(Settings(home=tmp_path / "new", embeddings=embeddings)).close()
    done = run(tmp_path / "new")
    assert done.exit_code == 1
    assert "the log holds no outcome" in told(done)
    assert "--data" in told(done)
    assert run(tmp_path / "new", "--rollback").exit_code == 1
    shown = run(tmp_path / "new", "--show")
    assert shown.exit_code == 1
    assert "no snapshot" in told(shown)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--show --data sales.csv --currency GBP", "--show trains nothing: leave --data and --cur"),
        ("--show --tensorboard runs", "--show trains nothing: leave --tensorboard out"),
        ("--rollback --json found.json", "--rollback trains nothing: leave --json out"),
        ("--currency GBP", "--currency is of a table: give --data, too"),
    ],
)
def test_options_that_would_be_passed_over_are_refused(tmp_path, options, said):
    done = run(tmp_path, *options.split())
    assert done.exit_code == 1
    assert said in told(done)


def test_imported_sales_alone_are_told_from_an_empty_log(tmp_path, embeddings, monkeypatch, drive):
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))
    bandit = Pricebandit(Settings(home=tmp_path / "home", embeddings=embeddings))
    drive.listings(bandit, {"listing_id": "mug", "title": "Blue mug", "currency": "GBP"})
    one = SalesTable(["mug"], np.array([0]), np.array([4.0]), np.array([2]), np.array([9.0]), [])
    bandit.carry_out(import_sales, [one])
    bandit.close()
    done = run(tmp_path / "home")
    assert done.exit_code == 1
    assert "no outcome; imported sales do not say what was believed" in told(done)
    assert "--data" in told(done)


def test_what_a_table_has_that_is_not_read_is_told(tmp_path):
    rows = [f"l{i},Mug {i},2026-03-02,4.5,1" for i in range(200)] + ["x,Cup,2026-03-02,cheap,1"]
    names = "listing_id,title,at,price,units"
    (tmp_path / "sales.csv").write_text("\n".join([names, *rows]) + "\n")
    done = run(tmp_path / "home", "--data", str(tmp_path / "sales.csv"), "--currency", "GBP")
    assert done.exit_code == 1
    said = "sales.csv: price cannot be read: 1 row, first in column 'price', row 201 ('cheap')"
    assert said in done.stderr
    assert "fill in the column impressions" in done.stderr


@pytest.mark.slow
def test_training_on_a_table(tmp_path, embeddings, monkeypatch, titles):
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(embeddings))
    rng = np.random.default_rng(1)
    n, days = 30, 12
    price = np.round(10 * np.exp(rng.normal(0, 0.2, n * days)), 2)
    table = pl.DataFrame(
        {
            "listing_id": [f"l{i}" for i in range(n) for _ in range(days)],
            "title": [titles[i % len(titles)] for i in range(n) for _ in range(days)],
            "currency": "GBP",
            "at": [(START + timedelta(days=d)).isoformat() for _ in range(n) for d in range(days)],
            "price": price,
            "units": rng.poisson(300 * 0.05 * (price / 10) ** -2.0),
            "impressions": 300,
            "promotion": rng.random(n * days) < 0.3,
        }
    )
    table.write_csv(tmp_path / "sales.csv")
    found = []
    for name in ("one.json", "two.json"):
        done = run(
            tmp_path / "home", "--data", str(tmp_path / "sales.csv"), "--json", str(tmp_path / name)
        )
        assert done.exit_code == 0, done.output
        found.append(json.loads((tmp_path / name).read_text()))
    assert found[0] == found[1]
    assert found[0]["outcomes"] == n * days
    assert not (tmp_path / "home").exists()
    # own sales of the days before are part of the curve
    last = found[0]["comparisons"]["last days"]["deviance"]["own curve"]
    assert last < 1.3 / 300
    table.drop("impressions").write_csv(tmp_path / "blind.csv")
    blind = run(tmp_path / "home", "--data", str(tmp_path / "blind.csv"))
    assert blind.exit_code == 1
    assert "fill in the column impressions" in told(blind)
    table.head(1).with_columns(price=0.001).write_csv(tmp_path / "dust.csv")
    dust = run(tmp_path / "home", "--data", str(tmp_path / "dust.csv"))
    assert dust.exit_code == 1
    assert "price is 0.001: rounds to 0 in its currency" in told(dust)


# -- rolling out and back -------------------------------------------------------------------


def test_an_adopted_trunk_is_used_from_the_next_start_on(adopted, open_bandit, drive):
    [trunk] = trunks.adopted(adopted)
    assert snapshots.described(adopted / "snapshots")["versions"]["trunk"] == trunk.version
    bandit = open_bandit()
    assert bandit.fold.features_of == f"{trunk.features_of}+{trunk.version}"
    assert bandit.policy.trunk.version == trunk.version
    assert bandit.policy.head.gram.any()
    assert bandit.policy.head.dim == DIM + train.SETTINGS.out
    drive.days(bandit, NAMES, 1, seed=1)
    with bandit.log.engine.connect() as conn:
        row = conn.execute(log.decisions.select().order_by(log.decisions.c.id.desc())).first()
    assert row.features_of == bandit.fold.features_of
    assert row.model_version.startswith(bandit.fold.features_of)
    assert len(row.features) == 4 * DIM  # raw: any other trunk can be folded from it
    rebuilt, events = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert events == COUNT + len(NAMES)
    assert learning.difference(bandit.fold, rebuilt) < 1e-9


def test_a_trunk_changes_prices_and_going_back_brings_the_old_ones(
    home, open_bandit, drive, monkeypatch
):
    # demand has a season: prices of one time are compared, however long training takes
    now = now_us()
    monkeypatch.setattr("service.pricing.now_us", lambda: now)

    def estimates():
        bandit = open_bandit()
        market = {"competitor_price": 12.0, "promotion": True}
        asked = [{"listing_id": n, "market": market} for n in NAMES[:5]]
        found = drive.prices(bandit, *asked, explore=False, record=False)
        statistics = head_of(bandit)
        bandit.close()
        return [d["expected"]["units_per_impression"] for d in found], statistics

    # without a snapshot the population is learned from the whole log, as it will be on the way back
    shutil.rmtree(home / "snapshots")
    raw, statistics = estimates()
    assert run(home, "--adopt").exit_code == 0
    changed = np.abs(np.log(np.divide(estimates()[0], raw))).max()
    done = run(home, "--rollback")
    assert done.exit_code == 0
    assert "raw features are used from the next start on" in told(done)
    back, again = estimates()
    assert changed > 1e-3
    np.testing.assert_allclose(back, raw, rtol=1e-6)
    for one, other in zip(statistics, again, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9 * np.abs(one).max())
    nothing = run(home, "--rollback")
    assert nothing.exit_code == 1
    assert "no trunk in use" in told(nothing)


def test_outcomes_of_decisions_under_a_trunk_teach_the_raw_head_after_going_back(
    adopted, open_bandit, drive
):
    bandit = open_bandit()
    drive.days(bandit, NAMES, 2, seed=1)
    bandit.close()
    trunks.roll_back(adopted, trunks.adopted(adopted)[-1].features_of)
    bandit = open_bandit()
    assert "+" not in bandit.fold.features_of
    rows = train.rows_of_log(bandit.log, bandit.catalogue, bandit.fold.features_of)
    assert len(rows.name) == COUNT + 2 * len(NAMES)
    assert rows.left_out == {}


def test_a_decision_that_is_told_in_parts_counts_once_with_all_of_them(
    open_bandit, drive, titles, monkeypatch
):
    bandit = open_bandit()
    names = NAMES[:2]
    drive.listings(
        bandit, *({"listing_id": n, "title": titles[0], "currency": "GBP"} for n in names)
    )
    monkeypatch.setattr("service.pricing.now_us", lambda: int(START.timestamp() * 1e6))
    ids = [d["decision_id"] for d in drive.prices(bandit, *({"listing_id": n} for n in names))]
    told = [
        # decision, impressions, units, returned, days after the start
        (1, 100, 2, 0, 2), (0, 50, 1, 0, 2), (1, 1, 3, 0, 3), (1, 1, 0, 4, 4), (1, 40, 0, 0, 1),
    ]  # fmt: skip
    for i, (which, shown, units, returned, day) in enumerate(told):
        when = (START + timedelta(days=day)).isoformat()
        drive.outcomes(
            bandit,
            {"decision_id": ids[which], "outcome_id": str(i), "occurred_at": when}
            | {"impressions": shown, "units": units, "returned_units": returned},
        )
    rows = train.rows_of_log(bandit.log, bandit.catalogue, bandit.fold.features_of)
    assert rows.name.tolist() == [names[1], names[0]]  # as first told
    outcomes = rows.outcomes
    assert outcomes.impressions.tolist() == [142, 50]
    assert outcomes.units.tolist() == [1, 1]
    assert outcomes.profit == pytest.approx(outcomes.units * outcomes.price)
    days = (outcomes.at / 1e6 - START.timestamp()) / 86_400
    assert days.tolist() == [1, 2]


def test_a_snapshot_under_another_trunk_is_passed_over(adopted, open_bandit, monkeypatch):
    seen = []
    replay = Fold.replay

    def spy(self, *args, **options):
        seen.append(self.position.outcomes)
        return replay(self, *args, **options)

    monkeypatch.setattr(Fold, "replay", spy)
    open_bandit().close()
    assert seen == [COUNT]  # its own snapshot, which the command left
    rows = made_up(5, strength=0.5, listings=10, days=3)
    features_of = trunks.adopted(adopted)[-1].features_of
    trunks.adopt(adopted, train.trained_on(rows, torch.device("cpu"), 7), features_of)
    bandit = open_bandit()
    assert seen == [COUNT, 0]
    first = head_of(bandit)
    bandit.close()
    trunks.roll_back(adopted, trunks.adopted(adopted)[-1].features_of)
    bandit = open_bandit()
    assert seen == [COUNT, 0, 0]
    assert not np.allclose(first[0], head_of(bandit)[0])


def test_a_trunk_of_other_features_is_not_used(adopted, open_bandit, monkeypatch, caplog):
    monkeypatch.setattr("service.trunks.VERSION", "next")
    bandit = open_bandit()
    assert bandit.policy.trunk is None
    assert "raw features are used" in caplog.text


def test_trunks_of_two_models_do_not_meet(adopted, open_bandit):
    rows = made_up(5, strength=0.5, listings=10, days=3)
    first, other = (train.trained_on(rows, torch.device("cpu"), seed) for seed in (7, 8))
    [used] = trunks.adopted(adopted)
    elsewhere = trunks.features_in("another0space")
    trunks.adopt(adopted, first, elsewhere)
    trunks.adopt(adopted, other, elsewhere)
    bandit = open_bandit()  # as after `rollout --back` from the other model
    assert bandit.policy.trunk.version == used.version
    done = run(adopted, "--rollback")  # beside a service that runs
    assert f"trunk-{used.version} is out of use; raw features are used" in told(done)
    bandit.close()
    bandit = open_bandit()
    assert bandit.policy.trunk is None
    bandit.close()
    nothing = run(adopted, "--rollback")
    assert nothing.exit_code == 1
    assert "no trunk in use with model" in told(nothing)
    assert [entry.version for entry in trunks.adopted(adopted)] == [first.version, other.version]


def test_going_back_is_told_of_the_model_that_the_next_start_takes(
    adopted, open_bandit, adapter, monkeypatch
):
    [used] = trunks.adopted(adopted)
    monkeypatch.setenv("PRICEBANDIT_ADAPTER", str(adapter))  # which this home has never had
    assert "no trunk in use with model" in told(run(adopted, "--rollback"))
    open_bandit(adapter=str(adapter)).close()
    monkeypatch.delenv("PRICEBANDIT_ADAPTER")  # the base model was left: it is not taken again
    assert "no trunk in use with model" in told(run(adopted, "--rollback"))
    assert trunks.adopted(adopted) == [used]


def test_what_a_table_teaches_is_of_the_model_that_was_rolled_out(
    tmp_path, embeddings, open_bandit, adapter
):
    open_bandit().close()
    rolled_out = open_bandit(adapter=str(adapter))
    rolled_out.close()
    (tmp_path / "sales.csv").write_text(
        "listing_id,title,currency,at,price,units,impressions\n"
        "l,red ceramic mug,GBP,2026-01-01T00:00:00Z,5,3,40\n"
    )
    settings = Settings(home=tmp_path / "home", embeddings=embeddings)
    history = read_sales_table(tmp_path / "sales.csv")
    _, lived = rehearse(history, "sales.csv", settings, lambda *_: None)
    assert lived.space == rolled_out.space


def test_a_lost_trunk_says_how_to_go_on(adopted, open_bandit):
    [trunk] = trunks.adopted(adopted)
    trunk.path(adopted).write_bytes(b"torn")
    with pytest.raises(trunks.TrunkLost, match="train --rollback"):
        open_bandit()
    assert run(adopted, "--rollback").exit_code == 0
    open_bandit().close()
    (adopted / trunks.POINTER).write_text("{")
    with pytest.raises(trunks.TrunkLost, match="delete it"):
        open_bandit()


# -- what a snapshot knows ------------------------------------------------------------------


def test_a_snapshot_says_what_it_was_trained_on(home, open_bandit, tmp_path):
    found = snapshots.described(home / "snapshots")
    counts = found["trained_on"]
    assert (counts["decisions"], counts["outcomes"], counts["sales"]) == (COUNT, COUNT, 0)
    bandit = open_bandit()
    assert counts["units"] == float(bandit.policy.evidence.totals[:, 0].sum())
    assert counts["first"] == START.isoformat()
    assert counts["last"] == (START + timedelta(days=DAYS - 1)).isoformat()
    assert found["versions"]["trunk"] is None
    assert bandit.encoder.fingerprint.startswith(found["versions"]["encoder"])
    assert found["rules"]["temperature"] == 0.3
    done = run(home, "--show", "--json", str(tmp_path / "shown.json"))
    assert done.exit_code == 0
    assert f"{COUNT} decisions, {COUNT} outcomes" in told(done)
    learned = found["population"]
    assert f" elasticity {math.exp(learned['elasticity']):.3g}, " in told(done)
    assert f" level {learned['level']:.3g} units per impression, " in told(done)
    assert json.loads((tmp_path / "shown.json").read_text()) == found
    refused = run(home, "--show", "--json", str(tmp_path))
    assert refused.exit_code == 1
    assert f"{tmp_path} cannot be written: Is a directory" in told(refused)


def test_a_population_is_spelled_to_the_last_digit():
    rng = np.random.default_rng(0)
    effects = {"words": Effect(*torch.as_tensor(rng.normal(size=(2, 3))))}
    ours = Population(
        torch.softmax(torch.as_tensor(rng.normal(size=4)), 0),
        torch.tensor(0.1).double(),
        effects=effects,
        vocabulary=np.array([5, 77, 1 << 17]),
    )
    again = snapshots._population(json.loads(json.dumps(snapshots._spelled(ours))))
    assert snapshots._spelled(again) == snapshots._spelled(ours)
    assert torch.equal(again.shapes, ours.shapes)
    assert torch.equal(again.effects["words"].slope, effects["words"].slope)
    assert again.vocabulary.dtype == np.int64
    assert again.vocabulary.tolist() == [5, 77, 1 << 17]
    assert "vocabulary" not in snapshots.summary(ours)
    assert snapshots.summary(ours)["effects"] == ["words"]


def test_a_restart_prices_exactly_as_before(home, open_bandit, drive):
    def asked(bandit):
        found = drive.prices(
            bandit, *({"listing_id": n} for n in NAMES), explore=False, record=False
        )
        return [(d["price"], d["expected"]["units_per_impression"]) for d in found]

    bandit = open_bandit()
    drive.days(bandit, NAMES, 2, seed=3)
    bandit.snapshot()
    before = asked(bandit)
    bandit.close()
    again = open_bandit()
    for (price, units), (price_again, units_again) in zip(before, asked(again), strict=True):
        assert price_again == price
        assert units_again == pytest.approx(units, rel=1e-4)  # seasons go on between the two
    for name, mine in snapshots._spelled(bandit.policy.population).items():
        assert snapshots._spelled(again.policy.population)[name] == mine
