"""Another model beside the one in use, switched to and back, and what must hold of the log."""

import json
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
import torch
from peft import LoraConfig, get_peft_model
from spaces import spaces_of
from transformers import AutoModel
from typer.testing import CliRunner

from bandits import DIM, Policy, Trunk
from encoders import Encoder, base_weights, listing_texts, model_folder, trained_texts
from service import (
    cli,
    learning,
    log,
    models,
    neighbourhoods,
    pricebandit,
    reading,
    registering,
    rollout,
    rollout_command,
    trunks,
)
from service.pricebandit import Pricebandit
from service.pricing import price
from service.problems import Moved, Problem
from service.registering import embed_listings, register
from service.subjects import Guesses

LISTINGS = [
    {"listing_id": f"L{i}", "title": f"{look} {thing}", "currency": "GBP", "reference_price": 4 + i}
    for i, (look, thing) in enumerate(
        (look, thing) for look in ("red", "oak", "tin") for thing in ("mug", "lamp", "box", "scarf")
    )
]


@pytest.fixture(scope="module")
def another_adapter(tmp_path_factory):
    import torch

    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=["key"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("another")
    get_peft_model(AutoModel.from_pretrained(model_folder()), config).save_pretrained(folder)
    return folder


def told(shop, version=None):
    """What the service says of its models, or of one of them."""
    found = shop.client.get("/v1/models").json()
    if version is None:
        return found
    return next(model for model in found["models"] if model["version"] == version)


def stage(shop, adapter):
    response = shop.post("/v1/models", {"adapter": None if adapter is None else str(adapter)})
    assert response.status_code == 202, response.text
    return response.json()["version"]


def until(shop, version, *states, within_s=60):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if (model := told(shop, version))["state"] in states:
            return model
        assert model["state"] != "failed" or "failed" in states, model
        time.sleep(0.02)
    raise AssertionError(told(shop, version))


def switch(shop, version):
    response = shop.client.post(f"/v1/models/{version}/activate")
    assert response.status_code == 202, response.text
    until(shop, version, "active")


def day(shop, ids=None, seed=0, market=None):
    """A decision on each listing, and an outcome of each."""
    rng = np.random.default_rng(seed)
    ids = ids or [listing["listing_id"] for listing in LISTINGS]
    decisions = shop.decide(
        *({"listing_id": i, **({"market": market} if market else {})} for i in ids)
    )
    report(shop, [d["decision_id"] for d in decisions], rng)
    return [d["decision_id"] for d in decisions]


def report(shop, decision_ids, rng):
    outcomes = [
        {"decision_id": i, "outcome_id": "1", "impressions": int(rng.integers(50, 500)),
         "units": int(rng.integers(0, 30))}
        for i in decision_ids
    ]  # fmt: skip
    assert shop.report(*outcomes)["accepted"] == len(outcomes)


def sound(shop):
    """The model in use is what its log says, in the space in use."""
    bandit = shop.bandit
    anew, events = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, anew) < 1e-9
    assert events == shop.count("outcomes") + shop.count("sales")
    # every outcome teaches the head, whatever space its decision was made in
    query = learning.outcomes_in(bandit.fold.features_of)
    rows = [row for part in bandit.log.stream(query, log.outcomes.c.seq) for row in part]
    assert all(row.features_of == bandit.fold.features_of for row in rows)
    assert (bandit.catalogue.neighbours[: len(bandit.catalogue)] >= 0).any()


def test_a_switch_and_the_way_back(shop_on, adapter):
    shop = shop_on
    shop.register(*LISTINGS)
    old = told(shop)["active"]
    first = day(shop, market={"season": "summer"})
    new = stage(shop, adapter)
    assert new != old
    waiting = until(shop, new, "ready")
    assert waiting["stage"] == "waiting to be activated"
    assert told(shop)["active"] == old
    second = day(shop, seed=1)
    switch(shop, new)
    assert told(shop)["active"] == new
    assert told(shop, old)["state"] == "kept"
    sound(shop)
    third = day(shop, seed=2, market={"season": "winter"})
    sound(shop)
    late = shop.decide({"listing_id": "L0"})[0]["decision_id"]
    switch(shop, old)
    report(shop, [late], np.random.default_rng(3))  # of a decision in the other space
    fourth = day(shop, seed=4)
    sound(shop)
    switch(shop, new)  # the way back from the way back
    sound(shop)
    found = spaces_of(shop.settings)
    assert {found[i] for i in first + second + fourth} == {old}
    assert {found[i] for i in [*third, late]} == {new}


def test_a_trunk_that_the_new_model_does_not_have_is_told(shop_at, adapter, capsys):
    x = torch.randn(50, DIM, generator=torch.Generator().manual_seed(0))
    trunk = Trunk.fit(x, x[:, 0])
    with shop_at() as shop:
        old = told(shop)["active"]
        trunks.adopt(shop.settings.home, trunk, trunks.features_in(old))
        assert told(shop, old)["trunk"] is None  # from the next start on
    with shop_at() as shop:
        assert told(shop, old)["trunk"] == trunk.version
        rollout_command._show(told(shop))
        assert "trunk-" not in capsys.readouterr().out
        switch(shop, new := stage(shop, adapter))
        assert told(shop, new)["trunk"] is None
        assert told(shop, old)["trunk"] == trunk.version
        rollout_command._show(told(shop))
        assert f"trunk-{trunk.version} was learned with model {old} and" in capsys.readouterr().out
        switch(shop, old)
        assert told(shop, old)["trunk"] == shop.bandit.policy.trunk.version == trunk.version


def test_what_changes_while_a_model_is_prepared_is_in_it(shop_on, adapter):
    shop = shop_on
    shop.register(*LISTINGS)
    day(shop)
    new = stage(shop, adapter)
    until(shop, new, "ready")
    fresh = {"listing_id": "new", "title": "blue wool blanket", "currency": "GBP", "unit_cost": 3}
    changed = {**LISTINGS[0], "title": "red glass vase"}
    shop.register(fresh, changed)
    assert shop.client.delete("/v1/listings/L1").status_code in (200, 204)
    day(shop, ["new", "L0", "L2"], seed=1)
    shop.client.delete("/v1/listings/L4")
    shop.register({**LISTINGS[4], "title": "tin lantern"})
    inline = {**LISTINGS[3], "title": "red silk scarf"}
    shop.decide({"listing": inline})
    switch(shop, new)
    bandit = shop.bandit
    texts = [
        bandit.catalogue.document[bandit.catalogue.row_of[i]]["title"] for i in ("new", "L0", "L3")
    ]
    assert texts == ["blue wool blanket", "red glass vase", "red silk scarf"]
    assert shop.price({"listing_id": "L1"})["errors"]
    assert bandit.catalogue.document[bandit.catalogue.row_of["L4"]]["title"] == "tin lantern"
    rows = np.array([bandit.catalogue.row_of[i] for i in ("new", "L0", "L3")])
    vectors, there = bandit.vectors(rows)
    assert there.all()
    want = Encoder(adapter=str(adapter)).encode(listing_texts(texts))
    np.testing.assert_allclose(vectors, want, atol=1e-5)
    assert np.isfinite(bandit.catalogue.anchor[rows]).all()
    assert not np.isin(bandit.catalogue.neighbours[rows], 1).any()  # L1 is gone
    day(shop, ["new", "L0", "L2"], seed=2)
    sound(shop)


@pytest.mark.parametrize("step", ["load", "search"])
def test_a_listing_changed_while_neighbours_are_found_gets_those_of_its_new_text(
    bandit_on, drive, adapter, monkeypatch, step
):
    active, encoder = bandit_on(), Encoder(adapter=str(adapter))
    drive.listings(active, *LISTINGS)
    found = getattr(neighbourhoods, step)

    def meanwhile(*args):
        monkeypatch.undo()
        drive.listings(active, {**LISTINGS[0], "title": "old tin box with a lid"})
        return found(*args)

    monkeypatch.setattr(neighbourhoods, step, meanwhile)
    prepared = Pricebandit.beside(active, encoder)
    of_the_old_text = prepared.catalogue.neighbours[0].tolist()
    prepared.catch_up()
    assert prepared.catalogue.document[0]["title"] == "old tin box with a lid"
    kept = [prepared, Pricebandit.beside(active, encoder)]
    with active.log.transaction() as conn:
        conn.execute(log.neighbourhoods.delete())
    anew = Pricebandit.beside(active, encoder).catalogue.neighbours[0].tolist()
    assert anew != of_the_old_text
    assert [state.catalogue.neighbours[0].tolist() for state in kept] == [anew, anew]


def test_neighbours_of_listings_that_are_priced_meanwhile_are_kept(
    open_bandit, drive, adapter, monkeypatch, postgresql
):
    active = open_bandit(database_url=postgresql())
    drive.listings(active, *LISTINGS)
    table, drop = log.listings, neighbourhoods._drop_changed
    pricing = active.log.engine.connect()  # SQLite would let nobody else write
    pricing.execute(table.update().where(table.c.row == 3).values(first_at=0))

    def once(*args):
        found = drop(*args)
        pricing.close()
        return found

    monkeypatch.setattr(neighbourhoods, "_drop_changed", once)
    prepared = Pricebandit.beside(active, Encoder(adapter=str(adapter)))
    n = log.neighbourhoods.c
    with active.log.engine.connect() as conn:
        query = sa.select(n.listing).where(n.space == prepared.space)
        assert sorted(conn.scalars(query)) == list(range(len(LISTINGS)))


@pytest.mark.parametrize("put_forth", [300, 3600])
def test_what_changes_while_the_clock_is_put_back_is_taken_in(
    bandit_on, drive, monkeypatch, put_forth
):
    active = bandit_on()
    drive.listings(active, *LISTINGS[:2])
    now = [pricebandit.now_us()]
    clock = SimpleNamespace(monotonic=time.monotonic, time_ns=lambda: now[0] * 1000)
    monkeypatch.setattr(pricebandit, "time", clock)
    assert registering.now_us() == now[0]
    prepared = Pricebandit.beside(active, active.encoder)
    now[0] -= 600_000_000
    drive.listings(active, {**LISTINGS[0], "max_price": 4.0}, LISTINGS[2])
    drive.delete(active, "L1")
    now[0] += put_forth * 1_000_000
    prepared.catch_up()
    assert prepared.catalogue.document[0]["max_price"] == 4.0
    assert list(prepared.catalogue.row_of) == ["L0", "L2"]
    drive.listings(active, {**LISTINGS[0], "max_price": 3.0})
    prepared.catch_up()
    assert prepared.catalogue.document[0]["max_price"] == 3.0


def test_since_when_a_listing_is_offered_is_taken_in_from_outcomes_told_meanwhile(bandit_on, drive):
    active = bandit_on()
    drive.listings(active, *LISTINGS[:2])
    decided = drive.prices(active, {"listing_id": "L0"}, {"listing_id": "L1"})
    prepared = Pricebandit.beside(active, active.encoder)
    early = datetime.now(UTC) - timedelta(hours=20)  # by a clock that is behind the service's
    drive.outcomes(
        active,
        {"decision_id": decided[0]["decision_id"], "outcome_id": "1", "impressions": 100,
         "units": 3, "occurred_at": early.isoformat()},
    )  # fmt: skip
    prepared.catch_up()
    since = prepared.catalogue.first_at[:2]
    assert since[0] == early.timestamp() * 1e6
    assert since.tolist() == active.catalogue.first_at[:2].tolist()


def test_what_was_embedded_for_a_state_is_of_no_use_to_another_in_its_space(bandit_on, drive):
    active = bandit_on()
    drive.listings(active, *LISTINGS[:6])
    back = Pricebandit.beside(active, active.encoder)  # as if gone to another space and back
    late = reading.listings(json.dumps({"listings": [LISTINGS[7]]}).encode())
    embedded = embed_listings(active, late)
    asked = drive.batch(back, {"listing_id": "L0"})
    for work, batch in (
        (register, embedded),
        (price, drive.batch(active, {"listing_id": "L0"})),
        (price, replace(asked, inline=embedded)),
    ):
        with pytest.raises(Moved, match="send this again"):
            back.carry_out(work, [batch])
    back.carry_out(register, [embed_listings(back, late)])
    drive.prices(back, {"listing_id": "L7"}, {"listing_id": "L0"})


def test_prices_are_those_of_a_start_in_that_space(shop_at, adapter):
    with shop_at() as shop:
        shop.register(*LISTINGS)
        for seed in range(3):
            day(shop, seed=seed)
        new = stage(shop, adapter)
        until(shop, new, "ready")
        day(shop, seed=9)
        switch(shop, new)
        asked = [{"listing_id": listing["listing_id"]} for listing in LISTINGS]
        live = shop.decide(*asked, explore=False, record=False)
    with shop_at() as shop:
        assert told(shop)["active"] == new
        again = shop.decide(*asked, explore=False, record=False)
        assert [d["price"] for d in live] == [d["price"] for d in again]
        sound(shop)


def test_preparing_a_model_leaves_the_snapshots_of_the_one_in_use(open_bandit, drive, adapter):
    ids = [listing["listing_id"] for listing in LISTINGS]
    bandit = open_bandit()
    drive.listings(bandit, *LISTINGS)
    drive.days(bandit, ids, 22, seed=1)  # just enough to learn the population from
    Pricebandit.beside(bandit, Encoder(bandit.settings.encoder, adapter=str(adapter)))
    drive.days(bandit, ids, 4, seed=2)

    def asked(bandit):
        batch = drive.batch(bandit, *({"listing_id": i} for i in ids), explore=False, record=False)
        return [d["price"] for d in bandit.carry_out(price, [batch])[0]["decisions"]]

    before = asked(bandit)
    bandit._since_snapshot = 0  # closed as a kill would
    bandit.close()
    again = open_bandit()
    assert again._since_snapshot == 4 * len(ids)  # read since the snapshot of before
    assert asked(again) == before


def test_a_kill_soon_after_a_switch_changes_no_price(shop_at, adapter, monkeypatch):
    monkeypatch.setattr(rollout, "CATCH_UP_SECONDS", 0.05)
    asked = [{"listing_id": listing["listing_id"]} for listing in LISTINGS]

    def prices(shop):
        return [d["price"] for d in shop.decide(*asked, explore=False, record=False)]

    with shop_at() as shop:
        # without reference prices, so that what is learned of one says what others are worth
        names = "listing_id", "title", "currency"
        shop.register(*({name: listing[name] for name in names} for listing in LISTINGS))
        for seed in range(22):
            day(shop, seed=seed)
        new = stage(shop, adapter)
        until(shop, new, "ready")
        for seed in range(22, 27):
            day(shop, seed=seed)
        preparation = shop.client.app.state.service.rollout._preparation
        while preparation.bandit.fold.read.outcomes < 27 * len(LISTINGS):
            time.sleep(0.01)
        switch(shop, new)
        while shop.client.get("/readyz").json()["learning"]:
            time.sleep(0.01)
        before = prices(shop)
        shop.bandit._since_snapshot = 0  # closed as a kill would
    with shop_at() as shop:
        assert told(shop)["active"] == new
        assert prices(shop) == before


def test_what_comes_while_a_model_learns_is_not_left_to_the_switch(shop, adapter, monkeypatch):
    monkeypatch.setattr(rollout, "CATCH_UP_SECONDS", 60)
    shop.register(*LISTINGS)
    day(shop)
    new = stage(shop, adapter)
    until(shop, new, "ready")
    refresh, replay = Pricebandit.refresh, learning.Fold.replay
    read = []

    def learns(self, *args):
        refresh(self, *args)
        day(shop, seed=2)

    def noted(self, *args):
        read.append((threading.current_thread().name, events := replay(self, *args)))
        return events

    monkeypatch.setattr(Pricebandit, "refresh", learns)
    monkeypatch.setattr(learning.Fold, "replay", noted)
    day(shop, seed=1)
    switch(shop, new)
    prepared, engine = "pricebandit-rollout", "pricebandit-engine"
    assert read == [(prepared, 12), (prepared, 12), (engine, 0)]
    sound(shop)


def test_preparing_goes_on_after_a_restart(shop_at, adapter, monkeypatch):
    with shop_at() as shop:
        shop.register(*LISTINGS)
        day(shop)
        monkeypatch.setattr(rollout.Rollout, "_run", lambda *_: None)  # as if killed at once
        new = stage(shop, adapter)
        assert shop.client.post(f"/v1/models/{new}/activate").status_code == 202
        assert told(shop)["active"] != new
    monkeypatch.undo()
    with shop_at() as shop:
        until(shop, new, "active")
        day(shop, seed=1)
        sound(shop)
        spaces_of(shop.settings)


def test_a_staged_model_gives_way_to_another(shop, adapter, another_adapter):
    shop.register(*LISTINGS)
    one = stage(shop, adapter)
    other = stage(shop, another_adapter)
    assert until(shop, other, "ready")
    assert told(shop, one)["state"] == "staged"
    switch(shop, one)  # it is prepared again
    assert told(shop, other)["state"] == "staged"
    assert stage(shop, adapter) == one
    assert told(shop)["active"] == one


def test_what_was_asked_for_last_holds(shop, adapter, another_adapter, monkeypatch):
    shop.register(*LISTINGS)
    old, one, other = told(shop)["active"], stage(shop, adapter), stage(shop, another_adapter)
    prepared = rollout.Rollout._prepared

    def slowly(self, preparation):
        while preparation.reason is None and preparation.model.version == one:
            time.sleep(0.01)
        return prepared(self, preparation)

    monkeypatch.setattr(rollout.Rollout, "_prepared", slowly)
    for last in (old, other):
        assert shop.client.post(f"/v1/models/{one}/activate").status_code == 202
        refused = shop.post("/v1/models", {"adapter": str(another_adapter)})
        assert refused.status_code == 409
        assert f"version {one} is being switched to" in refused.json()["detail"]
        switch(shop, last)
        assert told(shop, one)["state"] == "staged"
        assert not any("wanted_at" in model for model in told(shop)["models"])


def test_a_model_that_is_called_off_learns_no_further(shop, adapter, monkeypatch):
    shop.register(*LISTINGS)
    for seed in range(22):  # enough to learn the population from
        day(shop, seed=seed)
    while shop.client.get("/readyz").json()["learning"]:
        time.sleep(0.01)
    lesson, population = Guesses.lesson, Policy.population_lesson
    learning_now, called_off, learned = threading.Event(), threading.Event(), []

    def guess(catalogue):
        def work():
            if threading.current_thread().name == "pricebandit-rollout":
                learning_now.set()
                assert called_off.wait(60)
            return lesson(catalogue)()

        return work

    def noted(*args):
        made = population(*args)
        return lambda: (learned.append(1), made())[1]

    monkeypatch.setattr(Guesses, "lesson", guess)
    monkeypatch.setattr(Policy, "population_lesson", noted)
    old = told(shop)["active"]
    stage(shop, adapter)
    assert learning_now.wait(60)
    preparation = shop.client.app.state.service.rollout._preparation
    assert preparation.stage == "learning from the catalogue"
    with ThreadPoolExecutor(1) as one:
        answer = one.submit(shop.client.post, f"/v1/models/{old}/activate")
        assert preparation.stopped.wait(60)
        called_off.set()
        assert answer.result(60).json()["state"] == "active"
    assert not learned
    assert preparation.bandit is None


def test_a_model_gives_way_while_its_texts_are_embedded(
    shop, adapter, another_adapter, monkeypatch
):
    shop.register({**LISTINGS[0], "title": "a text that no other test embeds"})
    encode, slow = Encoder.encode, models.version_of(Encoder(adapter=str(adapter)))
    until_when = time.monotonic() + 15

    def slowly(self, texts, progress=None):
        while models.version_of(self) == slow and time.monotonic() < until_when:
            time.sleep(0.01)
            if progress:
                progress(0, len(texts))
        return encode(self, texts, progress)

    monkeypatch.setattr(Encoder, "encode", slowly)
    assert stage(shop, adapter) == slow
    while told(shop, slow)["stage"] != "loading listings":
        assert told(shop, slow)["state"] == "preparing"
        time.sleep(0.01)
    begun = time.monotonic()
    other = stage(shop, another_adapter)
    assert time.monotonic() - begun < 10
    until(shop, other, "ready")


def test_no_price_waits_while_models_are_staged(shop, monkeypatch):
    shop.register(*LISTINGS)
    let_go = threading.Event()

    def slowly(self, adapter):
        let_go.wait(10)
        raise Problem(422, "no adapter")

    monkeypatch.setattr(rollout.Rollout, "stage", slowly)
    with ThreadPoolExecutor(9) as pool:
        staging = [pool.submit(shop.post, "/v1/models", {"adapter": "/a"}) for _ in range(8)]
        try:
            time.sleep(0.5)
            assert pool.submit(shop.decide, {"listing_id": "L0"}).result(5)
            assert not any(one.done() for one in staging)
        finally:
            let_go.set()
        assert [one.result().status_code for one in staging] == [422] * 8


@pytest.mark.parametrize("state", ["staged", "kept"])
def test_the_command_waits_for_no_model_whose_place_another_has_taken(state):
    told = {"models": [{"version": "abc", "state": state}]}
    service = SimpleNamespace(post=lambda *_: {}, get=lambda _: told)
    with pytest.raises(rollout_command.NotRolledOut, match=f"is {state}, nothing changed"):
        rollout_command._follow(service, "abc", False)


def test_the_command_names_a_path_that_cannot_be_followed():
    found = CliRunner().invoke(cli.app, ["rollout", "~nobody-of-this-name/spring"])
    assert found.exit_code == 1, found.output
    assert "~nobody-of-this-name/spring is no path" in found.output


def test_going_back_cannot_only_be_prepared():
    found = CliRunner().invoke(
        cli.app, ["rollout", "--back", "--prepare", "--url", "http://[::1]:9"]
    )
    assert found.exit_code == 2
    assert "leave one of them out" in found.output


def test_an_empty_catalogue_is_switched_at_once(shop_on, adapter):
    new = stage(shop_on, adapter)
    switch(shop_on, new)
    shop_on.register(*LISTINGS)
    day(shop_on)
    sound(shop_on)
    assert set(spaces_of(shop_on.settings).values()) == {new}


def test_what_is_no_adapter_is_refused(shop, adapter, tmp_path):
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for body, status, said in (
        ({"adapter": str(tmp_path / "nowhere")}, 422, "nowhere"),
        ({"adapter": str(tmp_path)}, 422, "adapter is"),
        ({"adapter": "~nobody-of-this-name/spring"}, 422, "~nobody-of-this-name"),
        ({"adapter": str(circle)}, 422, "circle"),
        ({"adapter": 3}, 422, "give the path of a folder, or null"),
        ({}, 422, 'not {"adapter": folder}'),
        ([], 422, 'not {"adapter": folder}'),
    ):
        response = shop.post("/v1/models", body)
        assert response.status_code == status, response.text
        assert said in response.json()["detail"]
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    (other / base_weights.FILE).write_text("0" * 64)
    response = shop.post("/v1/models", {"adapter": str(other)})
    assert response.status_code == 422, response.text
    assert "was trained on weights with SHA-256 '0000" in response.json()["detail"]
    response = shop.client.post("/v1/models/0123456789ab/activate")
    assert response.status_code == 404
    assert "GET /v1/models lists them" in response.json()["detail"]
    assert len(told(shop)["models"]) == 1


def test_weights_that_give_no_vector_are_found_out_before_the_switch(shop, adapter, tmp_path):
    from safetensors.numpy import load_file, save_file

    shop.register(*LISTINGS)
    broken = tmp_path / "broken"
    shutil.copytree(adapter, broken)
    weights = load_file(broken / "adapter_model.safetensors")
    save_file({k: np.full_like(v, np.nan) for k, v in weights.items()},
              broken / "adapter_model.safetensors")  # fmt: skip
    old = told(shop)["active"]
    version = stage(shop, broken)
    failed = until(shop, version, "failed")
    assert failed["reason"]
    assert shop.client.post(f"/v1/models/{version}/activate").status_code == 202
    until(shop, version, "failed")
    assert told(shop)["active"] == old
    day(shop)
    switch(shop, stage(shop, adapter))


def test_an_adapter_is_kept_in_the_home(shop_at, adapter, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(adapter, gone)
    base_weights.write(gone, model_folder())
    with shop_at() as shop:
        shop.register(*LISTINGS)
        new = stage(shop, gone)
        shutil.rmtree(gone)
        switch(shop, new)
        (kept,) = shop.settings.home.rglob(base_weights.FILE)
        base_weights.check(kept.parent, model_folder())
    with shop_at() as shop:
        assert told(shop)["active"] == new
        shop.decide({"listing_id": "L0"})


WEIGHTS = "adapter_model.safetensors"


def copied_by(monkeypatch, copy):
    """Let a function copy files in the place of `shutil.copyfile`, which it is given."""
    copyfile = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda *paths: copy(copyfile, *paths))


def test_an_adapter_is_shown_with_the_name_of_its_folder(shop_at, adapter, tmp_path, capsys):
    with shop_at() as shop:
        for name in ("spring", "frühling"):
            new = stage(shop, shutil.copytree(adapter, tmp_path / name))
            assert told(shop, new)["name"] == name
        switch(shop, new)
        stage(shop, shop.settings.home / "adapters" / new)  # the kept copy itself
        assert told(shop)["models"][0]["name"] is None
    with shop_at() as shop:
        rollout_command._show(told(shop))
        assert "with an adapter (frühling): active" in capsys.readouterr().out
        (shop.settings.home / "adapters" / new / models.NAME_FILE).unlink()
        assert told(shop, new)["name"] is None  # as in homes of earlier versions


def test_an_adapter_staged_twice_at_once_is_kept_whole(shop, adapter, monkeypatch):
    def slowly(copyfile, source, target):
        target.touch()
        time.sleep(0.2)
        copyfile(source, target)

    copied_by(monkeypatch, slowly)
    body = {"adapter": str(adapter)}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: shop.post("/v1/models", body), range(4)))
    assert [answer.status_code for answer in answers] == [202] * 4, answers[-1].text
    switch(shop, answers[0].json()["version"])
    (kept,) = (shop.settings.home / "adapters").iterdir()
    assert (kept / WEIGHTS).read_bytes() == (adapter / WEIGHTS).read_bytes()


def test_a_kept_adapter_that_is_damaged_is_replaced(shop, adapter):
    new = Encoder(adapter=str(adapter)).fingerprint[:12]
    folder = shop.settings.home / "adapters"
    (folder / f"{new}.1.part").mkdir(parents=True)  # of a process that was killed
    (folder / new).mkdir()
    (folder / new / WEIGHTS).write_bytes(b"half of")
    switch(shop, stage(shop, adapter))
    assert told(shop)["active"] == new
    (kept,) = folder.iterdir()
    assert (kept / WEIGHTS).read_bytes() == (adapter / WEIGHTS).read_bytes()


def test_a_model_whose_files_are_lost_before_the_switch_is_not_switched_to(shop_at, adapter):
    with shop_at() as shop:
        shop.register(*LISTINGS)
        old = told(shop)["active"]
        new = stage(shop, adapter)
        until(shop, new, "ready")
        shutil.rmtree(shop.settings.home / "adapters" / new)
        assert shop.client.post(f"/v1/models/{new}/activate").status_code == 202
        assert "gone or damaged: stage it again" in until(shop, new, "failed")["reason"]
        assert told(shop)["active"] == old
        switch(shop, stage(shop, adapter))
    with shop_at() as shop:
        assert told(shop)["active"] == new


def test_an_adapter_that_changes_while_it_is_copied_is_refused(shop, adapter, monkeypatch):
    copied_by(monkeypatch, lambda copyfile, source, target: target.write_bytes(b"of another"))
    response = shop.post("/v1/models", {"adapter": str(adapter)})
    assert response.status_code == 422
    assert "changed while they were copied" in response.json()["detail"]
    assert not list((shop.settings.home / "adapters").iterdir())
    monkeypatch.undo()
    switch(shop, stage(shop, adapter))


def cut_off(kind=sa.exc.OperationalError):
    # one that can only be read, an internal error to the driver, answers as ever
    cut = kind is not sa.exc.InternalError
    return kind("SELECT 1", {}, Exception("gone"), connection_invalidated=cut)


@pytest.mark.parametrize(
    "kind", [sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError]
)
@pytest.mark.parametrize("step", ["beside", "catch_up"])
def test_preparing_goes_on_when_the_database_is_back(shop, adapter, monkeypatch, kind, step):
    shop.register(*LISTINGS)
    monkeypatch.setattr(rollout, "CATCH_UP_SECONDS", 0.05)
    working = getattr(Pricebandit, step)
    cuts = []

    def cut_off_twice(*args, **named):
        if len(cuts) < 2:
            cuts.append(kind)
            raise cut_off(kind)
        return working(*args, **named)

    monkeypatch.setattr(Pricebandit, step, cut_off_twice)
    switch(shop, stage(shop, adapter))
    assert len(cuts) == 2
    sound(shop)


def test_a_service_that_waits_for_the_database_ends_at_once(shop_at, adapter, monkeypatch):
    def away(*_):
        raise cut_off()

    with shop_at() as shop:
        shop.register(*LISTINGS)
        monkeypatch.setattr(rollout, "CATCH_UP_SECONDS", 600)
        monkeypatch.setattr(Pricebandit, "beside", away)
        new = stage(shop, adapter)
        assert shop.client.post(f"/v1/models/{new}/activate").status_code == 202
        while told(shop, new)["stage"] != "waiting for the database":
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 60
    monkeypatch.undo()
    with shop_at() as shop:  # it is still wanted
        until(shop, new, "active")


def test_a_model_that_failed_is_not_switched_to_unasked(shop_at, adapter, monkeypatch):
    def fails(*_):
        raise ValueError("no room")

    with shop_at() as shop:
        shop.register(*LISTINGS)
        old = told(shop)["active"]
        monkeypatch.setattr(Pricebandit, "beside", fails)
        new = stage(shop, adapter)
        assert shop.client.post(f"/v1/models/{new}/activate").status_code == 202
        failed = until(shop, new, "failed")
        assert failed["reason"] == "no room"
        assert "wanted_at" not in failed
    monkeypatch.undo()
    with shop_at() as shop:
        until(shop, new, "ready")
        assert told(shop)["active"] == old


def trained_titles(shop):
    catalogue = shop.bandit.catalogue
    known = np.flatnonzero(catalogue.trained_on[: len(catalogue)])
    return {catalogue.document[row]["title"] for row in known}


def test_what_an_adapter_was_trained_on_is_known_of_every_listing(shop_at, adapter, tmp_path):
    trained = tmp_path / "trained"
    shutil.copytree(adapter, trained)
    trained_texts.write(trained, [trained_texts.marks(["red mug", "tin box", "red lamp"])])
    with shop_at() as shop:
        shop.register(*LISTINGS)
        assert trained_titles(shop) == set()
        switch(shop, stage(shop, trained))
        shop.register({"listing_id": "new", "title": "Red mug", "currency": "GBP"})
        shop.register({**LISTINGS[1], "title": "red candle"})  # it was the red lamp
        assert trained_titles(shop) == {"red mug", "tin box", "Red mug"}
    with shop_at() as shop:
        assert trained_titles(shop) == {"red mug", "tin box", "Red mug"}


def test_settings_name_the_model_of_a_home_that_never_had_it(shop_at, adapter, another_adapter):
    with shop_at() as shop:
        old = told(shop)["active"]
        shop.register(*LISTINGS)
        day(shop)
    with shop_at(adapter=str(adapter)) as shop:
        new = told(shop)["active"]
        assert new != old
        sound(shop)
        switch(shop, old)
    with shop_at(adapter=str(adapter)) as shop:  # it was gone back from, and stays so
        assert told(shop)["active"] == old
    with shop_at(adapter=str(another_adapter)) as shop:
        assert told(shop)["active"] not in (old, new)
        day(shop)
        sound(shop)


def test_models_are_kept_from_strangers(shop_at):
    with shop_at(api_keys="secret") as shop:
        assert shop.client.get("/v1/models").status_code == 401
        assert shop.post("/v1/models", {"adapter": None}).status_code == 401
        named = {"authorization": "Bearer secret"}
        assert shop.client.get("/v1/models", headers=named).status_code == 200


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "http://127.0.0.1:80 00", "nonsense", "no http"])
def test_the_command_names_a_service_that_is_none(url):
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:

        def answer():
            with other.accept()[0] as asker:
                asker.recv(1000)
                asker.sendall(b"220 mail.example.com ESMTP\r\n")

        if url == "no http":
            url = f"http://127.0.0.1:{other.getsockname()[1]}"
            pool.submit(answer)
        found = CliRunner().invoke(cli.app, ["rollout", "--url", url])
    assert found.exit_code == 1, found.output
    assert f"{url} cannot be reached (" in found.output
