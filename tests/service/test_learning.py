"""The model is a fold over the log: any bookmark, and none, lead to the same statistics."""

import os
import shutil
import time

import numpy as np
import pytest

from bandits import Alignment
from service import learning, log, pricing, snapshots
from service.learning import Fold
from service.sales import import_sales
from service.tables import SalesTable


@pytest.fixture
def names(titles):
    return [f"l{i}" for i in range(len(titles))]


@pytest.fixture
def lived(bandit_on, drive, titles, names):
    """State with a past: decisions, outcomes and recorded sales, with a bookmark amidst them."""
    bandit = bandit_on()
    drive.listings(
        bandit,
        *(
            {"listing_id": n, "title": t, "currency": c, "unit_cost": 2 + i, "family": c}
            if i % 3 == 0
            else {"listing_id": n, "title": t, "currency": c, "reference_price": 10 + i}
            for i, (n, t, c) in enumerate(zip(names, titles, ["GBP", "JPY"] * 4, strict=True))
        ),
    )
    drive.days(bandit, names, 3, seed=1)
    _sell(bandit, names, 1)
    bandit.refresh()
    bandit.snapshot()
    drive.days(bandit, names[2:], 2, seed=2)
    _sell(bandit, names, 2)
    return bandit


def _sell(bandit, names, seed):
    rng = np.random.default_rng(seed)
    n = 50
    table = SalesTable(
        [names[i] for i in rng.integers(0, len(names), n)],
        np.arange(n) * 86_400_000_000,
        np.round(rng.uniform(2, 20, n)),
        rng.integers(1, 9, n),
        np.where(rng.random(n) < 0.5, np.nan, rng.integers(10, 200, n)),
        [],
    )
    return bandit.carry_out(import_sales, [table])[0]


def _statistics(bandit):
    evidence, n = bandit.policy.evidence, len(bandit.catalogue)
    order = np.argsort(evidence.listing)
    m = len(evidence)
    return {
        "gram": bandit.policy.head.gram.numpy().copy(),
        "moment": bandit.policy.head.moment.numpy().copy(),
        "listing": evidence.listing[order],
        "evidence_anchor": evidence.anchor[order],
        "sums": evidence.sums[:m].numpy()[order],
        "evidence_as_of": evidence.as_of[order],
        "totals": evidence.totals[:m].numpy()[order],
        "sold": bandit.catalogue.sold[:n].copy(),
        "anchor": bandit.catalogue.anchor[:n].copy(),
        "last_price": bandit.catalogue.last_price[:n].copy(),
    }


def _alike(one, other):
    for name, mine in one.items():
        scale = np.nanmax(np.abs(mine), initial=1.0)
        np.testing.assert_allclose(
            other[name], mine, rtol=1e-9, atol=1e-9 * scale, equal_nan=True, err_msg=name
        )


def _back_up(folder):
    shutil.copy(folder / "home" / "log.sqlite3", folder / "backup")


def _put_back(folder):
    for leftover in (folder / "home").glob("log.sqlite3*"):
        leftover.unlink()
    shutil.copy(folder / "backup", folder / "home" / "log.sqlite3")


def _killed(bandit):
    """Closed as a kill would: without a last snapshot."""
    bandit._since_snapshot = 0
    bandit.close()


@pytest.fixture
def replayed_from(monkeypatch):
    """Outcomes and sales that were known before each replay."""
    seen = []
    replay = Fold.replay

    def spy(self, *args, **options):
        seen.append((self.position.outcomes, self.position.sales))
        return replay(self, *args, **options)

    monkeypatch.setattr(Fold, "replay", spy)
    return seen


def test_snapshot_and_tail_equal_the_whole_log(lived, bandit_on, replayed_from):
    before, families = _statistics(lived), lived.catalogue.family_prices
    version = lived.fold.version
    _killed(lived)
    with_snapshot = bandit_on()
    assert replayed_from[-1][0] > 0
    _alike(before, _statistics(with_snapshot))
    assert with_snapshot.fold.version == version
    assert with_snapshot.catalogue.family_prices == families
    for path in with_snapshot.snapshots.glob("*.snapshot"):
        path.unlink()
    _killed(with_snapshot)
    without = bandit_on()
    assert replayed_from[-1] == (0, 0)
    _alike(before, _statistics(without))
    assert without.fold.version == version
    assert without.catalogue.family_prices == families


def _asked(bandit, drive, names):
    """Best prices of listings; nothing is recorded."""
    batch = drive.batch(bandit, *({"listing_id": n} for n in names), explore=False, record=False)
    (answer,) = bandit.carry_out(pricing.price, [batch])
    return [d["price"] for d in answer["decisions"]]


@pytest.mark.parametrize("days", [6, 40])
@pytest.mark.parametrize("killed", [True, False])
def test_a_restart_changes_no_price(bandit_on, drive, titles, names, days, killed):
    bandit = bandit_on()
    drive.listings(
        bandit,
        *({"listing_id": n, "title": t, "currency": "GBP", "unit_cost": 2 + i}
          for i, (n, t) in enumerate(zip(names, titles, strict=True))),
    )  # fmt: skip
    drive.days(bandit, names, days, seed=1)
    bandit.settle()
    assert (bandit._taught > 0) == (days == 40)  # the population was learned, and written down
    drive.days(bandit, names, 2, seed=2)
    before = _asked(bandit, drive, names)
    _killed(bandit) if killed else bandit.close()
    again = bandit_on()
    assert again.fold.read.outcomes == (days + 2) * len(names)
    assert _asked(again, drive, names) == before
    if days == 6:  # nor where no snapshot is left, while there is too little to learn from
        _killed(again)
        for path in again.snapshots.glob("*.snapshot"):
            path.unlink()
        assert _asked(bandit_on(), drive, names) == before


def test_a_rebuilt_fold_is_the_same(lived):
    fold, events = learning.rebuild(lived.fold, lived.log, lived.catalogue)
    with lived.log.engine.connect() as conn:
        import sqlalchemy as sa

        n = sum(conn.scalar(sa.text(f"SELECT count(*) FROM {t}")) for t in ("outcomes", "sales"))
    assert events == n
    assert learning.difference(lived.fold, fold) < 1e-9
    assert fold.version == lived.fold.version


def _told_often(bandit, drive, reports):
    """One decision, told of in many parts."""
    (decision,) = drive.prices(bandit, {"listing_id": "l0"})
    parts = (
        {"decision_id": decision["decision_id"], "outcome_id": str(i), "impressions": 1}
        | {"units": int(i % 9 == 0)}
        for i in range(reports)
    )
    drive.outcomes(bandit, *parts)


@pytest.mark.parametrize("size", [1, 7, 20_000])
def test_a_decision_told_in_many_parts_is_replayed_as_it_was_learned(
    lived, drive, names, monkeypatch, size
):
    _told_often(lived, drive, 20)
    drive.days(lived, names, 1, seed=3)
    stream = log.Log.stream
    monkeypatch.setattr(log.Log, "stream", lambda self, query, key: stream(self, query, key, size))
    fold, _ = learning.rebuild(lived.fold, lived.log, lived.catalogue)
    assert learning.difference(lived.fold, fold) < 1e-9


def test_a_decision_told_of_impression_by_impression_is_replayed_in_as_many_steps(
    open_bandit, drive, titles
):
    import sqlalchemy as sa

    bandit = open_bandit()
    listing = {"listing_id": "l0", "title": titles[0], "currency": "GBP", "unit_cost": 2}
    drive.listings(bandit, listing)
    steps = 0

    def step():
        nonlocal steps
        steps += 1

    def count(connection, *_):
        connection.set_progress_handler(step, 100)

    sa.event.listen(bandit.log.engine, "checkout", count)

    def taken():
        """By the database, to replay all, and to move the listing's anchor."""
        nonlocal steps
        steps = 0
        learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
        with bandit.log.engine.connect() as conn:
            bandit.fold.restated(conn, bandit.catalogue, np.array([0]))()
        return steps

    _told_often(bandit, drive, 500)
    few = taken()
    _told_often(bandit, drive, 2000)
    assert taken() < 7 * few


def test_an_interrupted_replay_leaves_memory_as_it_was(lived, monkeypatch):
    before = _statistics(lived)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Fold, "add_sales", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learning.rebuild(lived.fold, lived.log, lived.catalogue)
    for name, mine in _statistics(lived).items():
        np.testing.assert_array_equal(mine, before[name], name)


def test_price_levels_that_are_not_those_of_the_log_are_told(lived):
    lived.catalogue.sold[0] += 1.0
    with pytest.raises(ValueError, match="not those of the log"):
        learning.rebuild(lived.fold, lived.log, lived.catalogue)
    lived.spoil()


def test_no_snapshot_is_written_of_what_was_interrupted(lived, bandit_on, names, monkeypatch):
    add = Fold.add_sales

    def interrupted(*args):
        add(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(Fold, "add_sales", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _sell(lived, names, 3)
    monkeypatch.undo()
    kept = sorted(lived.snapshots.iterdir())
    lived.close()
    assert sorted(lived.snapshots.iterdir()) == kept
    again = bandit_on()
    rebuilt, _ = learning.rebuild(again.fold, again.log, again.catalogue)
    assert learning.difference(again.fold, rebuilt) < 1e-9


def test_closing_saves_what_was_learned(lived, bandit_on, replayed_from):
    before, position = _statistics(lived), lived.fold.position
    lived.close()
    again = bandit_on()
    assert replayed_from[-1] == (position.outcomes, position.sales)
    _alike(before, _statistics(again))


def _torn(path):
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path):
    path.write_bytes(b"")


def _corrupt(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def _foreign(path):
    path.write_bytes(b"something else altogether" * 100)


@pytest.mark.parametrize("spoil", [_torn, _empty, _corrupt, _foreign])
def test_a_spoilt_snapshot_is_passed_over(open_bandit, drive, titles, names, spoil, replayed_from):
    bandit = open_bandit()
    drive.listings(
        bandit,
        *(
            {"listing_id": n, "title": t, "currency": "GBP"}
            for n, t in zip(names, titles, strict=True)
        ),
    )
    drive.days(bandit, names, 2, seed=1)
    older = bandit.snapshot()
    outcomes = bandit.fold.position.outcomes
    drive.days(bandit, names, 2, seed=2)
    newer = bandit.snapshot()
    before = _statistics(bandit)
    _killed(bandit)
    spoil(newer)
    again = open_bandit()
    assert replayed_from[-1] == (outcomes, 0)
    _alike(before, _statistics(again))
    _killed(again)
    spoil(older)
    again = open_bandit()
    assert replayed_from[-1] == (0, 0)
    _alike(before, _statistics(again))


@pytest.mark.parametrize("impressions", [np.nan, 50.0])
def test_a_logged_sale_whose_price_rounded_to_nothing_counts_for_nothing(
    bandit_on, drive, names, titles, impressions
):
    bandit = bandit_on()
    drive.listings(
        bandit,
        *(
            {"listing_id": n, "title": t, "currency": "GBP"}
            for n, t in zip(names, titles, strict=True)
        ),
    )
    _sell(bandit, names[2:], 1)
    price = np.array([0.001, 5.0])
    sold = SalesTable(names[:2], np.arange(2), price, np.array([3, 3]), np.full(2, impressions), [])
    with np.errstate(all="ignore"):
        bandit.carry_out(import_sales, [sold])
        assert not np.isfinite(bandit.catalogue.sold[:2]).all()
        _killed(bandit)
    again = bandit_on()
    assert np.isfinite(again.catalogue.sold).all()
    assert np.isnan(again.catalogue.anchor[0])
    assert np.isfinite(again.guesses.models["GBP"].middle_sd)
    assert len(drive.prices(again, *({"listing_id": n} for n in names))) == len(names)
    assert np.isfinite(again.catalogue.anchor[:2]).all()
    rebuilt, _ = learning.rebuild(again.fold, again.log, again.catalogue)
    assert learning.difference(again.fold, rebuilt) < 1e-9


def test_a_snapshot_of_another_log_or_other_rules_is_passed_over(
    open_bandit, drive, tmp_path, titles, names, replayed_from
):
    bandits = []
    for home, seed in (("home", 1), ("other", 2)):
        bandit = open_bandit(home=tmp_path / home)
        drive.listings(
            bandit,
            *(
                {"listing_id": n, "title": t, "currency": "GBP"}
                for n, t in zip(names, titles, strict=True)
            ),
        )
        drive.days(bandit, names, seed, seed)
        bandits.append(bandit)
    before = _statistics(bandits[0])
    foreign = bandits[1].snapshot()
    bandits[0].snapshots.mkdir()
    (bandits[0].snapshots / foreign.name).write_bytes(foreign.read_bytes())
    for bandit in bandits:
        _killed(bandit)
    again = open_bandit()
    assert replayed_from[-1] == (0, 0)
    _alike(before, _statistics(again))
    again.snapshot()
    _killed(again)
    open_bandit(half_life_days=10)
    assert replayed_from[-1] == (0, 0)


def test_a_snapshot_from_after_the_log_was_put_back_is_passed_over(
    open_bandit, drive, tmp_path, titles, names, replayed_from
):
    bandit = open_bandit()
    drive.listings(bandit, {"listing_id": "l0", "title": titles[0], "currency": "GBP"})
    drive.days(bandit, ["l0"], 1, seed=1)
    before = _statistics(bandit)
    _killed(bandit)
    _back_up(tmp_path)
    bandit = open_bandit()
    drive.days(bandit, ["l0"], 3, seed=2)
    bandit.close()
    assert list(bandit.snapshots.glob("*.snapshot"))
    _put_back(tmp_path)
    again = open_bandit()
    assert replayed_from[-1] == (0, 0)
    _alike(before, _statistics(again))


@pytest.fixture
def put_back(open_bandit, drive, tmp_path, titles):
    """State of a log that was put back from a backup of 2 outcomes after snapshots at 4 and 6."""
    bandit = open_bandit()
    drive.listings(bandit, {"listing_id": "l0", "title": titles[0], "currency": "GBP"})
    drive.days(bandit, ["l0"], 2, seed=1)
    _killed(bandit)
    _back_up(tmp_path)
    bandit = open_bandit()
    for seed in (2, 3):
        drive.days(bandit, ["l0"], 2, seed)
        bandit.snapshot()
    _killed(bandit)
    _put_back(tmp_path)
    return open_bandit()


def test_a_snapshot_of_lost_history_stays_out_of_use_once_the_log_is_as_long_again(
    put_back, open_bandit, drive, replayed_from
):
    drive.days(put_back, ["l0"], 5, seed=4)
    before = _statistics(put_back)
    _killed(put_back)
    again = open_bandit()
    assert replayed_from[-1] == (0, 0)
    _alike(before, _statistics(again))


def test_a_snapshot_of_lost_decisions_is_passed_over(open_bandit, drive, tmp_path, titles):
    bandit = open_bandit()
    drive.listings(bandit, {"listing_id": "l0", "title": titles[0], "currency": "GBP"})
    _killed(bandit)
    _back_up(tmp_path)
    bandit = open_bandit()
    drive.prices(bandit, {"listing_id": "l0"})
    bandit.snapshot()
    _killed(bandit)
    _put_back(tmp_path)
    catalogue = open_bandit().catalogue
    assert catalogue.decided_until == ""
    assert np.isnan(catalogue.last_price[0])


def test_a_snapshot_of_lost_listings_is_passed_over(open_bandit, drive, tmp_path, titles):
    bandit = open_bandit()
    listing = {"listing_id": "l0", "title": titles[0], "currency": "GBP"}
    drive.listings(bandit, listing)
    _killed(bandit)
    _back_up(tmp_path)
    bandit = open_bandit()
    # more than an array that has been made for one listing has room for
    drive.listings(bandit, *({**listing, "listing_id": f"lost {i}"} for i in range(1_100)))
    bandit.snapshot()
    assert bandit.log.ends().decision == ""  # only listings tell that the log was put back
    _killed(bandit)
    _put_back(tmp_path)
    again = open_bandit()
    assert again.catalogue.listing_id == ["l0"]
    assert len(drive.prices(again, {"listing_id": "l0"})) == 1


@pytest.mark.parametrize("moved_to", ["mugs", None])
def test_a_restart_doubts_the_same_categories(bandit_on, drive, titles, moved_to):
    bandit = bandit_on()
    listings = [
        {"listing_id": f"l{i}", "title": titles[i], "currency": "GBP", "category": category}
        for i, category in enumerate(["left", "mugs", "lamps", "mugs"])
    ]
    drive.listings(bandit, *listings)
    drive.days(bandit, ["l1", "l2"], 1, seed=1)
    first = {k: v for k, v in listings[0].items() if k != "category"}
    drive.listings(bandit, {**first, "category": moved_to} if moved_to else first)
    bandit.snapshot()
    doubts = {"left": 4.0, "mugs": 3.0, "lamps": 2.0}
    bandit.policy.alignment = Alignment(np.array(list(doubts.values())))
    bandit.snapshot()
    _killed(bandit)
    again = bandit_on()
    assert list(again.catalogue.category_code) == ["mugs", "lamps", "left"]
    assert _doubts(again) == doubts
    drive.listings(again, {**first, "category": "vases"})
    assert _doubts(again) == {**doubts, "vases": 1.0}


def _doubts(bandit):
    code = bandit.catalogue.category_code
    doubts = bandit.policy.alignment.of(np.array(list(code.values())))
    return dict(zip(code, doubts.tolist(), strict=True))


def test_snapshots_written_after_the_log_was_put_back_are_kept_and_used(
    put_back, open_bandit, drive, replayed_from
):
    drive.days(put_back, ["l0"], 1, seed=4)
    newest = put_back.snapshot()
    assert newest.exists()
    assert snapshots.described(put_back.snapshots)["outcomes_until"] == 3
    before = _statistics(put_back)
    _killed(put_back)
    again = open_bandit()
    assert replayed_from[-1] == (3, 0)
    _alike(before, _statistics(again))


def test_the_snapshot_written_last_is_used_though_the_clock_was_ahead_before(
    lived, bandit_on, drive, names, replayed_from
):
    ahead = lived.snapshot()
    a_year_ahead = time.time_ns() + 365 * 86_400 * 10**9
    os.utime(ahead, ns=(a_year_ahead, a_year_ahead))
    for seed in (5, 6):
        drive.days(lived, names, 1, seed=seed)
        lived.snapshot()
    assert not ahead.exists()  # two are kept
    position = lived.fold.position
    _killed(lived)
    bandit_on()
    assert replayed_from[-1] == (position.outcomes, position.sales)


def test_a_snapshot_deleted_while_others_are_read_is_passed_over(lived, drive, names):
    lived.snapshot()
    drive.days(lived, names, 1, seed=5)
    newest = lived.snapshot()
    older = set(lived.snapshots.glob("*.snapshot")) - {newest}
    sound = snapshots._sound(lived.snapshots)
    assert next(sound)[0]["file"] == newest.name
    assert len(older) == 1
    older.pop().unlink()
    assert list(sound) == []


def test_two_snapshots_of_one_position_may_be_written_at_once(lived, monkeypatch):
    first, second = (
        snapshots.write_snapshot(lived.fold, lived.catalogue, lived.log, lived.snapshots, 0, 0)
        for _ in range(2)
    )
    replace = snapshots.os.replace

    def overtaken(aside, path):
        monkeypatch.setattr(snapshots.os, "replace", replace)
        second()  # while the first is written, but not in its place
        replace(aside, path)

    monkeypatch.setattr(snapshots.os, "replace", overtaken)
    path = first()
    assert next(snapshots._sound(lived.snapshots))[0]["file"] == path.name
    assert not list(lived.snapshots.glob("*.part"))


def test_a_snapshot_that_cannot_be_written_leaves_nothing(lived, monkeypatch):
    def full(aside, path):
        raise OSError("no space left on device")

    monkeypatch.setattr(snapshots.os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        lived.snapshot()
    assert not list(lived.snapshots.glob("*.part"))


def test_snapshots_are_written_as_outcomes_come_and_two_are_kept(open_bandit, drive, titles):
    bandit = open_bandit(snapshot_every=2)
    drive.listings(bandit, {"listing_id": "l0", "title": titles[0], "currency": "GBP"})
    (bandit.home / "snapshots").mkdir()
    (bandit.home / "snapshots" / "half.part").write_bytes(b"left by a kill")
    seen = set()
    for day in range(8):
        drive.days(bandit, ["l0"], 1, seed=day)
        seen |= {path.name for path in bandit.snapshots.glob("*")}
    assert len(seen - {"half.part"}) == 4
    assert len(list(bandit.snapshots.glob("*"))) == 2


def test_a_restart_restores_prices_families_and_anchors(bandit_on, drive, titles, names):
    bandit = bandit_on()
    drive.listings(
        bandit,
        *(
            {"listing_id": n, "title": t, "currency": "GBP", "reference_price": 10 + i}
            | ({"family": "pair"} if i < 2 else {})
            for i, (n, t) in enumerate(zip(names, titles, strict=True))
        ),
    )
    # some many times in one batch: the last decision counts, before and after
    drive.prices(bandit, *({"listing_id": n, "unit": "u"} for n in names[:6] * 5))
    before = _statistics(bandit)
    families = bandit.catalogue.family_prices
    assert families.units
    bandit.close()
    again = bandit_on()
    for name in ("anchor", "last_price"):
        np.testing.assert_array_equal(_statistics(again)[name], before[name])
    assert np.isnan(before["anchor"]).tolist() == [False] * 6 + [True] * 2
    assert again.catalogue.family_prices == families
    assert again.catalogue.decided_until == bandit.catalogue.decided_until
    held = drive.prices(again, {"listing_id": "l0", "unit": "u"})[0]
    assert held["price"] == before["last_price"][0]
    drive.days(again, names, 1, seed=1)
    again.close()
    before = _statistics(again)
    last = bandit_on()
    _alike(before, _statistics(last))


def test_prices_decided_while_the_clock_goes_back_are_restored(
    open_bandit, drive, titles, monkeypatch
):
    from service import pricing

    now = [1_800_000_000_000_000]
    monkeypatch.setattr(pricing, "now_us", lambda: now[0])
    bandit = open_bandit()
    drive.listings(bandit, {"listing_id": "l0", "title": titles[0], "currency": "GBP"})
    drive.days(bandit, ["l0"], 1, seed=1)
    bandit.snapshot()
    for _ in range(20):
        now[0] -= 3_600_000_000
        price = drive.prices(bandit, {"listing_id": "l0"})[0]["price"]
    _killed(bandit)
    assert open_bandit().catalogue.last_price[0] == price


def test_sales_imported_twice_count_once(lived, names):
    before = _statistics(lived)
    assert _sell(lived, names, 2) == {"accepted": 0, "duplicates": 50}
    _alike(before, _statistics(lived))
    assert _sell(lived, names, 3)["accepted"] == 50


def test_outcomes_with_features_of_another_version_teach_the_curves_and_not_the_head(
    lived, bandit_on, monkeypatch
):
    before = _statistics(lived)
    _killed(lived)
    monkeypatch.setattr("service.trunks.VERSION", "next")
    after = _statistics(bandit_on())
    np.testing.assert_allclose(after["totals"], before["totals"], rtol=1e-9)
    _alike({"sums": before["sums"]}, after)
    assert (after["gram"] == 0).all()


def test_what_passed_is_replayed_as_it_was_decided(lived):
    import sqlalchemy as sa

    def told(passing):
        """Impressions' worth of own evidence, had all decisions logged this."""
        with lived.log.transaction() as conn:
            conn.execute(log.decisions.update().values(passing=passing))
        fold, _ = learning.rebuild(lived.fold, lived.log, lived.catalogue)
        evidence = fold.policy.evidence
        assert evidence.totals[: len(evidence), 1].sum() == seen
        return evidence.sums[:, 0, : evidence.bank.size].sum().item()

    with lived.log.engine.connect() as conn:
        logged = conn.execute(sa.select(log.decisions.c.passing)).scalars().all()
    assert None not in logged
    seen = lived.policy.evidence.totals[:, 1].sum()
    # those of earlier versions logged nothing
    usual, twice, thrice, unsaid = (told(passing) for passing in (1.0, 2.0, 3.0, None))
    assert unsaid == pytest.approx(usual, rel=1e-9)
    assert twice > usual
    assert thrice - twice == pytest.approx(twice - usual, rel=1e-6)
