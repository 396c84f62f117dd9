"""Threads among which a batch is shared out, and prices that do not depend on them."""

import threading

import numpy as np
import pytest

from service import pricing, rounds
from service.crew import MOST, Crew
from service.rounds import shares_of


@pytest.fixture
def crew():
    made = Crew(3)
    yield made
    made.close()


def test_parts_are_worked_on_side_by_side_and_come_back_in_order(crew):
    together = threading.Barrier(3)

    def work(part):
        together.wait(30)  # passed only if all three are at work
        return part, threading.get_ident()

    found = crew.map(work, ["a", "b", "c"])
    assert [part for part, _ in found] == ["a", "b", "c"]
    assert len({thread for _, thread in found}) == 3
    assert found[0][1] == threading.get_ident()


def test_nothing_goes_on_after_an_error(crew):
    going_on = threading.Event()

    def work(part):
        if part == "slow":
            going_on.wait(0.2)
            going_on.set()
            return part
        raise ValueError(part)

    for parts in (["bad", "slow"], ["slow", "bad"]):
        going_on.clear()
        with pytest.raises(ValueError, match="bad"):
            crew.map(work, parts)
        assert going_on.is_set()


def test_a_crew_has_at_least_one_thread_and_at_most_as_many_as_are_of_use():
    assert [Crew(size).size for size in (0, 1, 2, 64)] == [1, 1, 2, MOST]


def test_shares_part_no_family_and_leave_nobody_out():
    rng = np.random.default_rng(0)
    family = np.where(rng.random(5000) < 0.5, -1, rng.integers(0, 40, 5000))
    rows = np.flatnonzero(rng.random(5000) < 0.9)
    shares = shares_of(rows, family, 4)
    assert len(shares) == 4
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), rows)
    for one in range(40):
        assert sum(bool((family[share] == one).any()) for share in shares) == 1
    assert [share.tolist() for share in shares_of(rows[:300], family, 4)] == [rows[:300].tolist()]
    everyone = np.zeros(5000, np.int64)  # one family
    assert [len(share) for share in shares_of(rows, everyone, 4)] == [len(rows)]


def test_prices_do_not_depend_on_how_many_threads_decide_them(
    bandit_on, drive, titles, crew, monkeypatch
):
    bandit = bandit_on()
    names = [f"l{i}" for i in range(60)]
    drive.listings(
        bandit,
        *(
            {"listing_id": n, "title": titles[i % len(titles)], "currency": "GBP"}
            | ({"unit_cost": 2 + i % 7} if i % 3 else {"reference_price": 5 + i})
            | ({"family": f"f{i % 4}"} if i % 5 == 0 else {})
            | ({"inventory": 12} if i % 11 == 0 else {})
            | ({"inventory": 5, "sell_by": "2020-01-01"} if i == 7 else {})
            for i, n in enumerate(names)
        ),
    )
    drive.days(bandit, [n for n in names if n != "l7"], 2, seed=1)
    asked = [{"listing_id": n, "unit": "u", "request_id": n} for n in names]

    def decided(**flags):
        batch = drive.batch(bandit, *asked, **flags)
        answer = bandit.carry_out(pricing.price, [batch])[0]
        return answer["decisions"], answer["errors"]

    alone, refused = decided(explore=False, record=False)
    assert [error["field"] for error in refused] == ["sell_by"]
    bandit.crew = crew
    monkeypatch.setattr(rounds, "_SHARE", 10)
    together, refused_too = decided(explore=False, record=False)
    assert refused_too == refused
    for one, other in zip(alone, together, strict=True):
        assert (one["request_id"], one["price"]) == (other["request_id"], other["price"])
        assert one["ladder"] == other["ladder"]
        assert one["expected"] == pytest.approx(other["expected"], rel=1e-4)
    recorded, _ = decided()
    families = {}
    for name, decision in zip([n for n in names if n != "l7"], recorded, strict=True):
        assert decision["request_id"] == name
        if int(name[1:]) % 5 == 0:
            families.setdefault(int(name[1:]) % 4, set()).add(decision["price"])
    assert all(len(prices) == 1 for prices in families.values())
    assert len({d["decision_id"] for d in recorded}) == len(names) - 1
    with bandit.log.engine.connect() as conn:
        kept = conn.exec_driver_sql("SELECT id FROM decisions ORDER BY id").scalars().all()
    assert {d["decision_id"] for d in recorded} <= {str(key) for key in kept}
