"""Roll-out of a model: prepared beside the active one, then switched to between two batches."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import torch

from encoders import Encoder, EncoderError
from service import models, trunks
from service.catalogue import rfc3339
from service.engine import Engine
from service.log import Unsure
from service.models import Model
from service.pricebandit import Pricebandit, now_us
from service.problems import Problem

CATCH_UP_SECONDS = 2.0
"""How often a model that is ready takes in what has come since."""

_ROUNDS, _FEW = 5, 500  # catching up before the switch: rounds at most, events that are few enough

_LONGEST_PAUSE = 60.0  # seconds between two trials while the database is away
_AWAY = "waiting for the database"

_LOGGER = logging.getLogger("pricebandit")


class _Stopped(Exception):
    """The service ends while a model is being prepared."""


def _went_away(error: Exception) -> bool:
    """Whether the database was cut off or out of use, read-only too, which passes."""
    away = isinstance(error, sa.exc.OperationalError | sa.exc.InternalError | Unsure)
    return away or (isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated)


def _trunk_of(model: Model, bandit: Pricebandit) -> str | None:
    """Version of the trunk that is used with a model, or would be; None for raw features."""
    if model.version == bandit.space:
        trunk = bandit.policy.trunk
        return trunk.version if trunk is not None else None
    try:
        adopted = trunks.newest(bandit.home, trunks.features_in(model.version))
    except OSError:  # preparing the model says so
        return None
    return adopted.version if adopted is not None else None


@dataclass(slots=True)
class Preparation:
    """A model on its way.

    Attributes:
        stage, done, total: what is being done, how much of it is done, and how much there is.
        reason: why it failed, None where it did not. bandit: the state to switch to, once ready.
        wanted: set when it is to be switched to. stopped: set when it is to be left off.
    """

    model: Model
    stage: str = "starting"
    done: int = 0
    total: int = 0
    reason: str | None = None
    bandit: Pricebandit | None = None
    wanted: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)


class Rollout:
    """The models of a running service: one active, one at most being prepared beside it.

    Args:
        engine: whose state is replaced at a switch.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._preparation: Preparation | None = None
        self._thread: threading.Thread | None = None

    def resume(self) -> None:
        """Go on preparing what was to be activated, or was staged last, when the service ended."""
        bandit = self._engine.bandit
        known = models.all_of(bandit.log)
        wanted = [model for model in known if model.wanted_at is not None]
        waiting = [model for model in known if model.activated_at is None]
        for model in (wanted or waiting)[-1:]:
            self._start(model, model.wanted_at is not None)

    def close(self) -> None:
        """Stop preparing; what is done of it is kept."""
        self._closing.set()
        self._stop("the service ended")

    def told(self) -> dict[str, Any]:
        """The models as the contract has them; for any thread."""
        bandit = self._engine.bandit
        return {
            "active": bandit.space,
            "models": [self._told(model, bandit) for model in models.all_of(bandit.log)],
        }

    def stage(self, adapter: str | None) -> dict[str, Any]:
        """Begin to prepare the base model with an adapter's folder, or alone; for any thread.

        Raises:
            Problem: 422, it is no adapter for the base model's files; 409, another is being
                switched to.
        """
        bandit = self._engine.bandit
        settings = bandit.settings
        try:
            encoder = Encoder(settings.encoder, adapter=adapter, device=settings.device)
            version = models.version_of(encoder)
            models.keep(bandit.home, adapter, encoder)
        except (EncoderError, OSError) as error:
            raise Problem(422, f"adapter is {adapter!r:.200}: {error}") from None
        with self._lock:
            if version == bandit.space:
                return self._told(self._known(version), bandit)
            self._refuse_beside(version)
            with bandit.log.transaction() as conn:
                models.stage(conn, version, adapter is not None, now_us())
            model = self._known(version)
            self._start(model, False)
            return self._told(model, bandit)

    def activate(self, version: str) -> dict[str, Any]:
        """Switch to a model as soon as it is ready; for any thread.

        What was asked for last holds: a switch to another is called off, by asking for the active
        one too.

        Raises:
            Problem: 404, no such model.
        """
        with self._lock:
            model = self._known(version)
            if version == self._engine.bandit.space:
                self._stop("called off")
            bandit = self._engine.bandit  # another, where that came too late
            active = version == bandit.space
            with bandit.log.transaction() as conn:
                models.want(conn, None if active else version, now_us())
            if not active:
                self._start(model, True)
            return self._told(self._known(version), bandit)

    def _stop(self, reason: str) -> None:
        """End the preparation that is under way, if any."""
        busy, thread = self._preparation, self._thread
        if busy is not None and thread is not None:
            busy.reason = busy.reason or reason
            busy.stopped.set()
            busy.wanted.set()
            thread.join()
            self._preparation = None

    def _known(self, version: str) -> Model:
        for model in models.all_of(self._engine.bandit.log):
            if model.version == version:
                return model
        raise Problem(404, f"version is {version!r:.80}: unknown, GET /v1/models lists them")

    def _refuse_beside(self, version: str) -> None:
        busy = self._preparation
        if busy and self._running() and busy.model.version != version and busy.wanted.is_set():
            raise Problem(
                409,
                f"version {busy.model.version} is being switched to: wait until GET /v1/models "
                "says that it is active",
                {"Retry-After": "5"},
            )

    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _told(self, model: Model, bandit: Pricebandit) -> dict[str, Any]:
        preparation = self._preparation
        state: dict[str, Any] = {"state": "kept" if model.activated_at else "staged"}
        if model.version == bandit.space:
            state = {"state": "active"}
        elif preparation is not None and preparation.model.version == model.version:
            state = {
                "state": "ready" if preparation.bandit else "preparing",
                "stage": preparation.stage,
                "done": preparation.done,
                "total": preparation.total,
            }
            if preparation.reason is not None:
                state = {"state": "failed", "reason": preparation.reason}
        times = {
            "staged_at": model.staged_at,
            "wanted_at": model.wanted_at,
            "activated_at": model.activated_at,
        }
        return {
            "version": model.version,
            "adapter": model.adapter,
            "name": model.name(bandit.home),
            "trunk": _trunk_of(model, bandit),
            **state,
            **{name: rfc3339(at) for name, at in times.items() if at is not None},
        }

    def _start(self, model: Model, wanted: bool) -> None:
        """Prepare a model, unless that is under way; another that is only prepared gives way."""
        busy = self._preparation
        if not (busy and self._running() and busy.model.version == model.version):
            self._stop("another model was staged")
            self._preparation = Preparation(model)
            self._thread = threading.Thread(
                target=self._run, args=(self._preparation,), name="pricebandit-rollout", daemon=True
            )
            self._thread.start()
        assert self._preparation is not None
        if wanted:
            self._preparation.wanted.set()

    # -- on a thread of its own ----------------------------------------------------------------

    def _run(self, preparation: Preparation) -> None:
        # requests come first: their encoding has the other cores
        torch.set_num_threads(1)
        pause = CATCH_UP_SECONDS
        while (away := self._carried_through(preparation)) is not None:
            _LOGGER.warning(
                "the database went away, model %s is prepared again in %.0f s: %s",
                preparation.model.version, pause, away,
            )  # fmt: skip
            preparation.stage, preparation.done, preparation.total = _AWAY, 0, 0
            if preparation.stopped.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _carried_through(self, preparation: Preparation) -> str | None:
        """Prepare a model and switch to it; what the database said, where it went away meanwhile.

        Nothing is lost by that: what was embedded, found and expressed is kept.
        """
        try:
            self._go_on(preparation)
            bandit = self._prepared(preparation)

            def watch(*_: object) -> None:
                self._go_on(preparation)

            while not preparation.wanted.wait(CATCH_UP_SECONDS):
                bandit.catch_up(watch)
            for _ in range(_ROUNDS):
                self._go_on(preparation)
                if bandit.catch_up(watch) <= _FEW:
                    break
            self._check_kept(preparation.model, bandit)
            bandit.catch_up(watch, switching=True)  # what came while it learned: nobody waits yet
            self._engine.replace(partial(self._switched, preparation)).result()
        except _Stopped:
            pass
        except Exception as error:
            preparation.bandit = None
            if _went_away(error):
                return str(error)
            self._failed(preparation, error)
        return None

    def _failed(self, preparation: Preparation, error: Exception) -> None:
        version = preparation.model.version
        _LOGGER.exception("model %s could not be prepared", version)
        # where the service or its engine has ended, the next start tries again; otherwise whoever
        # wanted the model is told now, and a restart weeks later does not switch to it unasked
        if not (preparation.stopped.is_set() or isinstance(error, Problem)):
            try:
                with self._engine.bandit.log.transaction() as conn:
                    models.give_up(conn, version)
            except Exception:
                _LOGGER.exception("model %s may still be switched to at the next start", version)
        preparation.reason = str(error) or repr(error)

    def _prepared(self, preparation: Preparation) -> Pricebandit:
        active = self._engine.bandit
        settings = active.settings
        folder = preparation.model.folder(active.home)
        encoder = Encoder(settings.encoder, adapter=folder, device=settings.device)
        if (found := models.version_of(encoder)) != preparation.model.version:
            raise ValueError(
                f"its files make {found}, not {preparation.model.version}: the base model or the "
                "adapter has changed since; stage it again"
            )

        def progress(stage: str, done: int, total: int) -> None:
            preparation.stage, preparation.done, preparation.total = stage, done, total
            self._go_on(preparation)

        bandit = Pricebandit.beside(active, encoder, progress)
        encoder.encode([""])  # weights that give no vector are found out now
        preparation.stage, preparation.bandit = "waiting to be activated", bandit
        return bandit

    def _check_kept(self, model: Model, bandit: Pricebandit) -> None:
        """See that the next start finds the model, too, before prices are decided with it."""
        folder = model.folder(bandit.home)
        if folder is not None and not models.makes(Path(folder), bandit.encoder):
            raise ValueError(f"its files in {folder} are gone or damaged: stage it again")

    def _go_on(self, preparation: Preparation) -> None:
        if self._closing.is_set() or preparation.reason is not None:
            raise _Stopped

    def _switched(self, preparation: Preparation, active: Pricebandit) -> Pricebandit:
        """The prepared state, with the last of the log in it; on the engine's thread."""
        bandit = preparation.bandit
        assert bandit is not None
        bandit.catch_up(switching=True)
        with bandit.log.transaction() as conn:
            models.activate(conn, bandit.space, now_us())
        _LOGGER.info("model %s is active, %s is kept", bandit.space, active.space)
        return bandit
