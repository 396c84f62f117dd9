"""The engine: one transaction for many, each answer once, nobody sunk by another."""

import threading
import time

import pytest
import sqlalchemy as sa

from service import engine as engine_module
from service import log
from service.engine import Engine, Once, Work
from service.pricebandit import Pending
from service.pricing import price
from service.problems import Problem

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "reference_price": 5}
PRICE = {"requests": [{"listing_id": "mug"}]}


@pytest.fixture
def running(bandit_on, drive):
    """An engine on state with one listing."""
    bandit = bandit_on()
    drive.listings(bandit, MUG)
    engine = Engine(bandit)
    yield engine
    engine.close()


def _hold(engine):
    """Keep the engine busy; call what is returned to let go."""
    let_go, busy = threading.Event(), threading.Event()

    def wait(*_):
        busy.set()
        assert let_go.wait(30)
        return Pending([{}])

    engine.submit(Work(wait, None, 0))
    assert busy.wait(30)
    return let_go.set


def _count(bandit, table):
    with bandit.log.engine.connect() as conn:
        return conn.scalar(sa.text(f"SELECT count(*) FROM {table}"))


def _commits(bandit):
    seen = []
    sa.event.listen(bandit.log.engine, "commit", seen.append)
    return seen


def test_requests_that_wait_share_one_transaction(running, drive):
    bandit = running.bandit
    commits = _commits(bandit)
    let_go = _hold(running)
    futures = [
        running.submit(Work(price, drive.batch(bandit, {"listing_id": "mug"}), 1))
        for _ in range(50)
    ]
    before = len(commits)
    let_go()
    answers = {future.result(30) for future in futures}
    assert len(answers) == 50  # each its own decision
    assert len(commits) == before + 2  # what held the engine, and all fifty
    assert _count(bandit, "decisions") == 50


def test_a_batch_closes_at_its_largest_size(bandit_on, drive):
    bandit = bandit_on(max_batch=20)
    drive.listings(bandit, MUG)
    commits = _commits(bandit)
    engine = Engine(bandit)
    let_go = _hold(engine)
    futures = [
        engine.submit(Work(price, drive.batch(bandit, {"listing_id": "mug"}), 1)) for _ in range(50)
    ]
    before = len(commits)
    let_go()
    assert all(future.result(30) for future in futures)
    engine.close()
    assert len(commits) == before + 4  # what held the engine, then 20, 20 and 10


def test_work_of_another_kind_waits_its_turn(running, drive):
    order = []

    def note(bandit, conn, payloads):
        order.append(list(payloads))
        return Pending([{} for _ in payloads])

    def other(bandit, conn, payloads):
        order.append(list(payloads))
        return Pending([{} for _ in payloads])

    let_go = _hold(running)
    kinds = [note, note, other, note, other, other]
    futures = [running.submit(Work(kind, i, 1)) for i, kind in enumerate(kinds)]
    let_go()
    for future in futures:
        future.result(30)
    assert order == [[0, 1], [2], [3], [4, 5]]


def test_work_that_fails_sinks_no_other(running):
    def picky(bandit, conn, payloads):
        conn.execute(
            sa.text("INSERT INTO meta (name, value) VALUES (:n, '')"),
            [{"n": f"w{p}"} for p in payloads],
        )
        if 3 in payloads:
            raise ZeroDivisionError
        if 4 in payloads:
            raise Problem(404, "four is unknown")
        return Pending([{"done": p} for p in payloads])

    let_go = _hold(running)
    futures = [running.submit(Work(picky, i, 1)) for i in range(8)]
    let_go()
    for i, future in enumerate(futures):
        if i in (3, 4):
            with pytest.raises(Problem) as caught:
                future.result(30)
            assert caught.value.status == {3: 500, 4: 404}[i]
        else:
            assert future.result(30) == b'{"done":%d}' % i
    assert _count(running.bandit, "meta WHERE name LIKE 'w%'") == 6
    assert running.alive


def test_a_database_out_of_reach_is_asked_once_for_all(running):
    asked = []

    def locked(bandit, conn, payloads):
        asked.append(len(payloads))
        raise sa.exc.OperationalError("INSERT", {}, Exception("database is locked"))

    let_go = _hold(running)
    futures = [running.submit(Work(locked, i, 1)) for i in range(8)]
    let_go()
    for future in futures:
        with pytest.raises(Problem, match="database is locked") as caught:
            future.result(30)
        assert caught.value.status == 503
    assert asked == [8]
    assert running.alive


def test_a_caller_that_gave_up_takes_its_work_back_and_harms_nobody(running, drive):
    let_go = _hold(running)
    works = [Work(price, drive.batch(running.bandit, {"listing_id": "mug"}), 1) for _ in range(3)]
    futures = [running.submit(work) for work in works]
    assert futures[1].cancel()
    let_go()
    assert futures[0].result(30)
    assert futures[2].result(30)
    assert _count(running.bandit, "decisions") == 2
    assert running.alive


def test_a_full_queue_refuses_with_503_and_takes_what_fits(bandit_on, drive):
    bandit = bandit_on(queue_rows=10)
    drive.listings(bandit, MUG)
    engine = Engine(bandit)
    let_go = _hold(engine)

    def work(rows):
        return Work(price, drive.batch(bandit, *[{"listing_id": "mug"}] * rows), rows)

    taken = [engine.submit(work(6))]
    with pytest.raises(Problem, match="6 items are waiting") as caught:
        engine.submit(work(5))
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")
    taken.append(engine.submit(work(4)))
    let_go()
    assert all(future.result(30) for future in taken)
    assert engine.submit(work(11)).result(30)  # an empty queue takes any batch
    engine.close()
    assert _count(bandit, "decisions") == 21


def test_a_full_queue_is_a_503_problem_over_http(shop_at):
    with shop_at(queue_rows=10) as shop:
        shop.register(MUG)
        let_go = _hold(shop.engine)
        answers = []

        def send():
            answers.append(shop.post("/v1/prices", {"requests": PRICE["requests"] * 8}))

        waiting = threading.Thread(target=send)
        waiting.start()
        while shop.engine._waiting < 8:
            time.sleep(0.005)
        response = shop.post("/v1/prices", {"requests": PRICE["requests"] * 3})
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["retry-after"] == "1"
        let_go()
        waiting.join()
        assert answers[0].status_code == 200
        assert shop.count("decisions") == 8
        assert len(shop.price(*PRICE["requests"] * 3)["decisions"]) == 3


def test_closing_finishes_what_was_taken_in(bandit_on, drive):
    bandit = bandit_on()
    drive.listings(bandit, MUG)
    engine = Engine(bandit)
    let_go = _hold(engine)
    future = engine.submit(Work(price, drive.batch(bandit, {"listing_id": "mug"}), 1))
    let_go()
    engine.close()
    assert future.done()
    assert not engine.alive
    with pytest.raises(Problem, match="restart") as caught:
        engine.submit(Work(price, None, 1))
    assert caught.value.status == 503


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_memory_behind_the_log_stops_the_engine_and_writes_no_snapshot(shop_at):
    with shop_at() as shop:
        shop.register(MUG)

        def break_memory(bandit, conn, payloads):
            def apply():
                raise MemoryError

            conn.execute(sa.text("INSERT INTO meta (name, value) VALUES ('kept', '')"))
            return Pending([{"done": True}], apply)

        let_go = _hold(shop.engine)
        broken = shop.engine.submit(Work(break_memory, None, 1))
        later = shop.engine.submit(Work(price, None, 1))
        let_go()
        assert broken.result(30) == b'{"done":true}'  # it is durable, and was said to be
        with pytest.raises(Problem, match="restart"):
            later.result(30)
        shop.engine._thread.join(30)
        assert shop.post("/v1/prices", PRICE).status_code == 503
        ready = shop.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["detail"].startswith("model: ")
        shop.bandit._since_snapshot = 1
    assert not (shop.settings.home / "snapshots").exists()
    with shop_at() as shop:
        assert len(shop.decide({"listing_id": "mug"})) == 1
        assert shop.count("meta WHERE name = 'kept'") == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_commit_that_nobody_can_tell_of_stops_the_engine(shop_at):
    with shop_at() as shop:
        shop.register(MUG)

        def commit_unseen(bandit, conn, payloads):
            raise log.Unsure("the database went away")

        waiting = shop.engine.submit(Work(commit_unseen, None, 1))
        with pytest.raises(Problem, match="the database went away"):
            waiting.result(30)
        shop.engine._thread.join(30)
        assert shop.post("/v1/prices", PRICE).status_code == 503
        shop.bandit._since_snapshot = 1
    assert not (shop.settings.home / "snapshots").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("stopped_by", ["commit", "memory"])
def test_whoever_was_in_the_batch_of_one_that_stops_the_engine_is_answered(running, stopped_by):
    def forget():
        raise MemoryError

    def find_fault(bandit, conn, payloads):
        if "bad" in payloads:
            raise Problem(404, "unknown")
        if stopped_by == "commit":
            raise log.Unsure("the database went away")
        return Pending([{} for _ in payloads], forget)

    failures = []
    running._on_failure = failures.append
    running._wait = 1.0
    let_go = _hold(running)
    bad, told, left = (running.submit(Work(find_fault, p, 1)) for p in ("bad", "good", "good"))
    let_go()
    with pytest.raises(Problem, match="unknown"):
        bad.result(30)
    if stopped_by == "commit":
        with pytest.raises(Problem, match="the database went away"):
            told.result(30)
    else:
        assert told.result(30) == b"{}"
    with pytest.raises(Problem, match="restart"):
        left.result(5)
    running._thread.join(30)
    assert not running.alive
    (failure,) = failures  # whoever runs it is told, and ends the process
    assert isinstance(failure, log.Unsure if stopped_by == "commit" else MemoryError)


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk full"),
        MemoryError(),
        sa.exc.OperationalError("SELECT 1", {}, Exception("gone")),
    ],
)
def test_a_snapshot_that_cannot_be_written_fails_no_outcome(shop_at, monkeypatch, error):
    def refuse(*_):
        raise error

    with shop_at(snapshot_every=1) as shop:
        shop.register(MUG)
        decision = shop.decide({"listing_id": "mug"})[0]
        monkeypatch.setattr("service.snapshots.write_snapshot", refuse)
        outcome = {"decision_id": decision["decision_id"], "impressions": 9, "units": 1}
        assert shop.report({**outcome, "outcome_id": "1"})["accepted"] == 1
        assert shop.report({**outcome, "outcome_id": "2"})["accepted"] == 1
        assert shop.client.get("/readyz").status_code == 200
    with shop_at() as shop:  # all of it was let go of
        assert len(shop.decide({"listing_id": "mug"})) == 1


# -- the same request again -----------------------------------------------------------------


def _keyed(shop, path, body, key="k", **headers):
    return shop.post(path, body, **{"Idempotency-Key": key, **headers})


def test_the_same_key_and_body_give_the_same_answer_and_happen_once(shop_on):
    shop = shop_on
    listed = _keyed(shop, "/v1/listings", {"listings": [MUG]}, "list")
    assert _keyed(shop, "/v1/listings", {"listings": [MUG]}, "list").content == listed.content
    first = _keyed(shop, "/v1/prices", PRICE)
    for _ in range(3):
        again = _keyed(shop, "/v1/prices", PRICE)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["content-type"] == "application/json"
    assert shop.count("decisions") == 1
    outcome = {
        "decision_id": first.json()["decisions"][0]["decision_id"],
        "outcome_id": "1",
        "impressions": 10,
        "units": 1,
    }
    sent = {"outcomes": [outcome, {**outcome, "decision_id": "unknown"}]}
    counted = _keyed(shop, "/v1/outcomes", sent, "sold")
    assert counted.json()["accepted"] == 1
    assert _keyed(shop, "/v1/outcomes", sent, "sold").content == counted.content
    assert (shop.count("outcomes"), shop.count("unmatched_outcomes")) == (1, 1)
    assert shop.bandit.policy.evidence.totals[0, :2].tolist() == [1.0, 10.0]


def test_the_same_key_with_another_body_or_call_is_a_409_problem(shop_on):
    shop = shop_on
    shop.register(MUG)
    first = _keyed(shop, "/v1/prices", PRICE)
    for path, body in (
        ("/v1/prices", {**PRICE, "explore": False}),
        ("/v1/prices", {"requests": [{"listing": MUG}]}),
        ("/v1/listings", {"listings": [MUG]}),
    ):
        response = _keyed(shop, path, body)
        assert response.status_code == 409
        assert response.headers["content-type"] == "application/problem+json"
        assert "'k' was used with another request" in response.json()["detail"]
    assert shop.count("decisions") == 1
    assert _keyed(shop, "/v1/prices", PRICE).content == first.content


def test_answers_outlive_a_restart(shop_at, database_url):
    with shop_at(database_url=database_url) as shop:
        shop.register(MUG)
        first = _keyed(shop, "/v1/prices", PRICE).content
    with shop_at(database_url=database_url) as shop:
        assert _keyed(shop, "/v1/prices", PRICE).content == first
        assert _keyed(shop, "/v1/prices", {**PRICE, "record": False}).status_code == 409
        assert shop.count("decisions") == 1


def test_concurrent_requests_with_one_key_happen_once(shop_on):
    shop = shop_on
    shop.register(MUG)
    let_go = _hold(shop.engine)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(_keyed(shop, "/v1/prices", PRICE)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    while shop.engine._waiting < 8:
        time.sleep(0.005)
    let_go()
    for thread in threads:
        thread.join()
    assert {a.status_code for a in answers} == {200}
    assert len({a.content for a in answers}) == 1
    assert shop.count("decisions") == 1


def test_keys_belong_to_their_caller(shop_at, database_url):
    with shop_at(api_keys="one,two", database_url=database_url) as shop:
        one, two = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))
        shop.post("/v1/listings", {"listings": [MUG]}, **one)
        first = _keyed(shop, "/v1/prices", PRICE, **one)
        other = _keyed(shop, "/v1/prices", {**PRICE, "explore": False}, **two)
        assert (first.status_code, other.status_code) == (200, 200)
        assert first.content != other.content
        assert _keyed(shop, "/v1/prices", PRICE, **one).content == first.content


def test_a_key_is_forgotten_after_24_hours(shop_on, monkeypatch):
    shop = shop_on
    shop.register(MUG)
    start = engine_module.now_us()
    hour = 3600 * 1_000_000
    now = [start]
    monkeypatch.setattr(engine_module, "now_us", lambda: now[0])
    first = _keyed(shop, "/v1/prices", PRICE)
    now[0] = start + 23 * hour
    assert _keyed(shop, "/v1/prices", PRICE).content == first.content
    _keyed(shop, "/v1/prices", PRICE, "another")
    now[0] = start + 24 * hour + 1
    again = _keyed(shop, "/v1/prices", PRICE)
    assert again.status_code == 200
    assert again.content != first.content
    assert _keyed(shop, "/v1/prices", PRICE).content == again.content
    assert shop.count("answers") == 2
    assert shop.count("decisions") == 3
    now[0] += 24 * hour
    other = _keyed(shop, "/v1/prices", {**PRICE, "record": False})
    assert other.status_code == 200
    assert shop.count("answers") == 1


def test_a_repeated_request_does_not_put_its_inline_listing_back(shop_on):
    shop = shop_on
    body = {"requests": [{"listing": {**MUG, "max_price": 6}}]}
    first = _keyed(shop, "/v1/prices", body)
    shop.register({**MUG, "max_price": 9})
    assert _keyed(shop, "/v1/prices", body).content == first.content
    assert shop.client.get("/v1/listings/mug").json()["max_price"] == 9
    assert shop.client.delete("/v1/listings/mug").status_code == 204
    assert _keyed(shop, "/v1/prices", body).content == first.content
    assert shop.client.get("/v1/listings/mug").status_code == 404


def test_a_refused_request_may_be_sent_again_under_its_key(running, drive):
    failing = [True]

    def flaky(bandit, conn, payloads):
        if failing[0]:
            raise Problem(503, "not now")
        return Pending([{"done": True} for _ in payloads])

    once = Once("caller", "key", "hash")
    with pytest.raises(Problem, match="not now"):
        running.submit(Work(flaky, None, 1, once)).result(30)
    failing[0] = False
    assert running.submit(Work(flaky, None, 1, once)).result(30) == b'{"done":true}'
    assert running.given(once) == b'{"done":true}'
    assert running.given(Once("caller", "other", "hash")) is None
    with pytest.raises(Problem, match="another request"):
        running.given(Once("caller", "key", "other hash"))
