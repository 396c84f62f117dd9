"""Learning from the catalogue as a whole: it holds nothing up, and nothing of it is lost."""

import queue
import threading
import time

import numpy as np
import orjson
import pytest

from service import lessons as lessons_module
from service.engine import Engine, Work
from service.lessons import Learner, study
from service.outcomes import record_outcomes
from service.pricebandit import Pending
from service.pricing import price
from service.reading import listings as read_listings
from service.reading import outcomes as read_outcomes
from service.registering import embed_listings, register

# -- lessons -------------------------------------------------------------------------------------


def noting(notes, *given):
    """Lessons that give these, or raise them; what became of each is noted."""
    try:
        for what in given:

            def lesson(what=what):
                if isinstance(what, Exception):
                    raise what
                return what

            try:
                notes.append((yield lesson))
            except ValueError as error:
                notes.append(str(error))
    except GeneratorExit:
        notes.append("given up")
        raise


@pytest.fixture
def learner():
    done = queue.SimpleQueue()
    made = Learner(done.put)
    yield made, done
    made.close()


def test_studying_puts_what_each_lesson_gives_or_raises_in_place():
    notes = []
    study(noting(notes, 1, ValueError("two"), 3))
    assert notes == [1, "two", 3]
    study(noting(notes))
    assert notes == [1, "two", 3]
    with pytest.raises(KeyError):
        study(noting(notes, 4, KeyError("five"), 6))
    assert notes[3:] == [4]


def test_what_ctrl_c_ends_is_given_up():
    notes = []

    def interrupted():
        raise KeyboardInterrupt

    def lessons():
        try:
            notes.append((yield lambda: 1))
            yield interrupted
        except GeneratorExit:
            notes.append("given up")
            raise

    left = lessons()
    with pytest.raises(KeyboardInterrupt):
        study(left)
    assert notes == [1, "given up"]


def test_a_learner_works_out_lessons_elsewhere_and_puts_them_in_place_here(learner):
    learner, done = learner
    notes, threads = [], []

    def lessons():
        for _ in range(2):
            threads.append((yield threading.get_ident))
            notes.append(threading.get_ident())

    learner.begin(lessons())
    while learner.busy:
        learner.take(done.get(timeout=30))
    assert notes == [threading.get_ident()] * 2
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_what_was_given_up_is_not_put_in_place(learner):
    learner, done = learner
    notes, others = [], []
    learner.begin(noting(notes, 1, 2))
    late = done.get(timeout=30)
    learner.begin(noting(others, 3))
    assert notes == ["given up"]
    learner.take(late)
    while learner.busy:
        learner.take(done.get(timeout=30))
    assert (notes, others) == (["given up"], [3])


def test_what_cannot_be_learned_is_logged_and_ends_the_lessons(learner, caplog):
    learner, done = learner
    notes = []
    learner.begin(noting(notes, 1, KeyError("odd"), 2))
    while learner.busy:
        learner.take(done.get(timeout=30))
    assert notes == [1]
    assert "learning failed" in caplog.text
    learner.begin(noting(notes, 3))
    while learner.busy:
        learner.take(done.get(timeout=30))
    assert notes == [1, 3]


# -- a running engine ----------------------------------------------------------------------------

NAMES = [f"l{i}" for i in range(300)]  # enough that their outcomes are enough that is new
PRICES = 4  # asked of each


@pytest.fixture
def held(monkeypatch):
    """Keeps lessons from being worked out until it is set."""
    let_go = threading.Event()
    following = lessons_module._following

    def waiting(lessons, done):
        lesson = following(lessons, done)

        def later():
            assert let_go.wait(30)
            return lesson()

        return None if lesson is None else later

    yield let_go, lambda: monkeypatch.setattr(lessons_module, "_following", waiting)
    let_go.set()


@pytest.fixture
def stocked(bandit_on, drive, titles):
    """State with three hundred listings."""
    bandit = bandit_on()
    drive.listings(
        bandit,
        *(
            {"listing_id": n, "title": titles[i % len(titles)], "currency": "GBP", "unit_cost": 2}
            for i, n in enumerate(NAMES)
        ),
    )
    return bandit


def sell(engine, drive):
    """Decisions and outcomes of each listing, through the engine."""
    import orjson

    # one price alone tells of the level of demand, and of what a listing is worth next to nothing
    names = NAMES * PRICES
    asked = drive.batch(engine.bandit, *({"listing_id": name} for name in names))
    answer = orjson.loads(engine.submit(Work(price, asked, len(names))).result(60))
    # as buyers of one mind would have it: what differs without a reason tells of large orders
    told = [
        {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 20_000}
        | {"units": round(16_000 / d["price"] ** 2)}
        for d in answer["decisions"]
    ]
    items = read_outcomes(orjson.dumps({"outcomes": told}))
    answer = orjson.loads(engine.submit(Work(record_outcomes, items, len(told))).result(60))
    assert answer["accepted"] == len(names)


def quiet(engine):
    """Wait until all that is due is learned."""
    until = time.monotonic() + 60
    while engine.learning:
        assert time.monotonic() < until
        time.sleep(0.01)
    # the engine's thread has done with what it was at
    engine.submit(Work(lambda *_: Pending([{}]), None, 0)).result(60)


def test_prices_are_decided_while_the_catalogue_is_learned_from(stocked, drive, held):
    let_go, hold = held
    engine = Engine(stocked)
    hold()
    population, guesses = stocked.policy.population, stocked.guesses
    sell(engine, drive)
    assert engine.learning
    sell(engine, drive)  # answered, though nothing is learned yet
    assert stocked.policy.population is population
    assert stocked.guesses is guesses
    assert np.isnan(stocked.catalogue.learned_price[: len(NAMES)]).all()
    let_go.set()
    quiet(engine)
    assert stocked.policy.population is not population
    assert stocked.guesses is not guesses
    engine.close()


def test_learning_beside_the_engine_is_as_learning_at_once(stocked, drive, open_bandit):
    engine = Engine(stocked)
    sell(engine, drive)
    quiet(engine)
    engine.close()
    asked = [{"listing_id": name} for name in NAMES[:20]]
    before = drive.prices(stocked, *asked, explore=False, record=False)
    stocked._since_snapshot = 0  # no snapshot: the next start learns all at once, from the log
    stocked.close()
    again = open_bandit(database_url=stocked.settings.database_url)
    after = drive.prices(again, *asked, explore=False, record=False)
    assert [d["price"] for d in after] == [d["price"] for d in before]


@pytest.mark.parametrize("held_up", [False, True])
def test_closing_amidst_a_lesson_loses_nothing_of_it(stocked, drive, held, held_up):
    let_go, hold = held
    engine = Engine(stocked)
    hold()
    sell(engine, drive)
    if held_up:
        threading.Timer(0.3, let_go.set).start()
    else:
        let_go.set()
    engine.close()
    if held_up:
        assert stocked._unlearned == PRICES * len(NAMES)
    stocked.snapshot()
    assert stocked._unlearned == 0
    assert not np.isnan(stocked.catalogue.learned_price[: len(NAMES)]).all()


def test_a_switch_amidst_a_lesson_leaves_it_and_its_state_alone(stocked, drive, held):
    let_go, hold = held
    engine = Engine(stocked)
    hold()
    sell(engine, drive)

    def refused(_):
        raise RuntimeError("not ready")

    with pytest.raises(RuntimeError):
        engine.replace(refused).result(30)
    assert engine.learning  # the state that stays begins anew
    let_go.set()
    quiet(engine)
    assert not np.isnan(stocked.catalogue.learned_price[: len(NAMES)]).all()
    engine.close()


def test_what_cannot_be_learned_leaves_prices_as_they_were(stocked, drive, monkeypatch, caplog):
    engine = Engine(stocked)

    def broken(*_):
        raise ArithmeticError

    monkeypatch.setattr("bandits.demand.learn_population", broken)
    population = stocked.policy.population
    sell(engine, drive)
    quiet(engine)
    assert "learning failed" in caplog.text
    assert stocked.policy.population is population
    monkeypatch.undo()
    sell(engine, drive)  # tried again once enough is new
    quiet(engine)
    assert stocked.policy.population is not population
    engine.close()


@pytest.fixture
def no_memory(monkeypatch):
    """Nothing can be fitted until this is undone."""

    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("service.subjects.GuessModel.fit", exhausted)
    return monkeypatch


def test_guesses_that_cannot_be_fitted_stop_no_engine(stocked, no_memory, caplog, titles):
    engine = Engine(stocked)
    yen = {"title": titles[0], "currency": "JPY", "reference_price": 900}

    def registered(name):
        items = read_listings(orjson.dumps({"listings": [{"listing_id": name, **yen}]}))
        return engine.submit(Work(register, embed_listings(stocked, items), 1)).result(30)

    assert b'"accepted":1' in registered("y1")
    quiet(engine)
    assert "learning failed" in caplog.text
    no_memory.undo()
    assert b'"accepted":1' in registered("y2")
    quiet(engine)
    assert engine.alive
    assert "JPY" in stocked.guesses.models
    engine.close()


def test_a_start_that_cannot_learn_prices_and_learns_later(
    stocked, drive, open_bandit, no_memory, caplog
):
    stocked.close()
    again = open_bandit(database_url=stocked.settings.database_url)
    assert "learning failed" in caplog.text
    assert not again.guesses.models
    no_memory.undo()
    assert again.due
    drive.prices(again, {"listing_id": NAMES[0]})
    assert "GBP" in again.guesses.models
    assert not again.due


def test_what_could_not_be_learned_is_learned_by_the_next_start(
    stocked, drive, open_bandit, monkeypatch
):
    def broken(*_):
        raise ArithmeticError

    monkeypatch.setattr("bandits.demand.learn_population", broken)
    engine = Engine(stocked)
    sell(engine, drive)
    quiet(engine)
    engine.close()
    assert not stocked.due
    stocked.close()
    monkeypatch.undo()
    again = open_bandit(database_url=stocked.settings.database_url)
    assert again._taught == PRICES * len(NAMES)
    assert not np.isnan(again.catalogue.learned_price[: len(NAMES)]).all()


# -- what is due ---------------------------------------------------------------------------------


def test_a_snapshot_written_amidst_events_says_what_was_not_learned(stocked, drive, open_bandit):
    drive.days(stocked, NAMES, 1, seed=1)  # learned
    drive.days(stocked, NAMES[:10], 1, seed=2)  # too little to learn from
    assert stocked._unlearned == 10
    stocked._snapshot_lesson()()
    prices = stocked.catalogue.learned_price[:10].copy()
    stocked._since_snapshot = 0
    stocked.close()
    again = open_bandit(database_url=stocked.settings.database_url)
    assert again._unlearned == 10  # and goes on where its writer was
    np.testing.assert_array_equal(again.catalogue.learned_price[:10], prices)


def test_restarts_do_not_put_off_what_the_population_teaches(stocked, drive, open_bandit):
    drive.days(stocked, NAMES, 5, seed=1)
    four = 4 * len(NAMES)
    assert (stocked._taught, stocked._unlearned) == (four, 0)  # on the fifth, of prices alone
    stocked.close()
    again = open_bandit(database_url=stocked.settings.database_url)
    assert again._taught == four
    drive.days(again, NAMES, 1, seed=2)
    assert again._taught == 6 * len(NAMES)  # more than a quarter since the fourth


def test_a_restart_changes_no_price_where_those_of_listings_alone_were_learned(
    stocked, drive, open_bandit
):
    def best(bandit):
        asked = ({"listing_id": name} for name in NAMES)
        batch = drive.batch(bandit, *asked, explore=False, record=False)
        (answer,) = bandit.carry_out(price, [batch])
        return [made["price"] for made in answer["decisions"]]

    drive.days(stocked, NAMES, 5, seed=1)
    assert stocked._taught == 4 * len(NAMES)  # the population not on the fifth
    before = best(stocked)
    stocked.close()
    assert best(open_bandit(database_url=stocked.settings.database_url)) == before


def test_many_new_listings_are_guessed_by_at_once_and_few_later(stocked, drive, titles):
    before, rows = stocked.guesses, np.arange(len(NAMES))
    stocked.registered(rows[:2])
    assert stocked.guesses is before
    assert not stocked.due
    stocked.registered(rows[:1])
    assert stocked.due
    assert stocked.guesses is before
    stocked.registered(rows[:80])
    assert stocked.guesses is not before
    assert not stocked.due


def test_the_first_of_a_currency_are_guessed_by_at_once(stocked, drive, titles):
    yen = [
        {"listing_id": f"y{i}", "title": t, "currency": "JPY", "reference_price": 900 + i}
        for i, t in enumerate(titles)
    ]
    guesses = stocked.guesses
    drive.listings(stocked, yen[0])
    assert stocked.guesses is not guesses
    guesses = stocked.guesses
    drive.listings(stocked, yen[1])
    assert stocked.guesses is guesses
    new = {"listing_id": "new", "title": titles[2], "currency": "JPY"}
    drive.listings(stocked, new)
    assert drive.prices(stocked, {"listing_id": "new"}, explore=False)[0]["price"] > 100
