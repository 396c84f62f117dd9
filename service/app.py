"""The HTTP service: bodies in, work to the engine, answers out."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import orjson
import sqlalchemy as sa
import torch
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from threadpoolctl import threadpool_limits

from encoders import EmbeddingCache, EncoderError
from service import experiment_report, experimenting, insight, reading, registering
from service.crew import Crew
from service.documentation import (
    EXPERIMENT_CALL,
    OUTCOMES_CALL,
    PRICES_CALL,
    REGISTER_CALL,
    STAGE_CALL,
)
from service.engine import Engine, Once, Work, explained, rewrite
from service.gate import OPEN_PATHS, Gate
from service.items import Items
from service.outcomes import record_outcomes
from service.pricebandit import Execute, Pending, Pricebandit, now_us
from service.pricing import PriceBatch, embed_markets, missing_markets, price
from service.problems import ItemError, Moved, Problem
from service.registering import Embedded
from service.rollout import Rollout
from service.settings import Settings

T = TypeVar("T")

JSON = "application/json"

_TURN = 256  # texts after which others that wait for the encoder get between

_LOGGER = logging.getLogger("pricebandit")


class Service:
    """What the routes share: the state, the engine that changes it, and threads for the rest.

    Args:
        bandit: opened state; closed with the service.
        gate: who may come in, and how much each may ask. on_failure: as `Engine` has it.
    """

    def __init__(
        self,
        bandit: Pricebandit,
        gate: Gate,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self.gate = gate
        cores = torch.get_num_threads()  # before the engine asks for one alone
        bandit.crew = Crew(cores)
        self.engine = Engine(bandit, on_failure)
        # the encoder keeps a thread of its own: a long text must not hold up parsing or reading
        self._encoding = ThreadPoolExecutor(
            1, "pricebandit-encoder", initializer=torch.set_num_threads, initargs=(cores,)
        )
        self._reading = ThreadPoolExecutor(4, "pricebandit-reader")
        # a report reads days of the log: one at a time, and none in the way of bodies
        self._reporting = ThreadPoolExecutor(1, "pricebandit-reporter")
        # staging reads an adapter's files, and waits until the preparation before it has ended
        self._staging = ThreadPoolExecutor(1, "pricebandit-stager")
        self.rollout = Rollout(self.engine)
        self.rollout.resume()

    @property
    def bandit(self) -> Pricebandit:
        """The state in use; another one after a switch of models."""
        return self.engine.bandit

    def close(self) -> None:
        """Finish what was taken in, and save."""
        self.rollout.close()
        self._encoding.shutdown()
        self._reading.shutdown()
        self._reporting.shutdown()
        self._staging.shutdown()
        self.engine.close()
        self.bandit.crew.close()
        self.bandit.close()

    def check(self) -> None:
        """See that prices can be decided and kept.

        Raises:
            Problem: 503, naming what cannot be used.
        """
        if not self.engine.alive:
            raise Problem(503, "model: its thread has stopped, restart the service")
        try:
            with self.bandit.log.engine.connect() as conn:
                conn.execute(sa.select(1))
        except sa.exc.SQLAlchemyError as error:
            raise Problem(503, f"log: {error}", {"Retry-After": "5"}) from None

    async def embed(
        self,
        function: Callable[[Pricebandit, Items], T],
        missing_of: Callable[[Pricebandit, Items], tuple[EmbeddingCache, list[str]]],
        items: Items,
    ) -> tuple[T, int]:
        """Run an embedding function; how many texts had to be encoded for it.

        Args:
            missing_of: the cache that the function embeds with, and the texts that it lacks.

        Raises:
            Problem: 503, more is waiting than the settings allow.
        """
        bandit = self.bandit  # another one, after a switch, refuses what this one has embedded

        def at_once() -> tuple[EmbeddingCache, list[str], T | None]:
            cache, missing = missing_of(bandit, items)
            return cache, missing, None if missing else function(bandit, items)

        cache, missing, found = await self.read(at_once)
        if found is not None:
            return found, 0
        run = asyncio.get_running_loop().run_in_executor
        with self.engine.counted(len(missing)):
            with suppress(EncoderError):  # met again by the function, which may do without
                for start in range(0, len(missing), _TURN):
                    await run(self._encoding, cache.embed, missing[start : start + _TURN])
            return await run(self._encoding, function, bandit, items), len(missing)

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """Run a parsing or reading function off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, function, *args)

    async def report(self, function: Callable[..., T], *args: Any) -> T:
        """As `read`, for what takes seconds."""
        return await asyncio.get_running_loop().run_in_executor(self._reporting, function, *args)

    async def stage(self, function: Callable[..., T], *args: Any) -> T:
        """As `read`, for what changes which model is prepared."""
        return await asyncio.get_running_loop().run_in_executor(self._staging, function, *args)

    async def work(
        self, execute: Execute, payload: Any, rows: int, once: Once | None = None
    ) -> Response:
        """Have the engine do something in a transaction; the answer once it is durable."""
        future = self.engine.submit(Work(execute, payload, rows, once))
        return Response(await asyncio.wrap_future(future), media_type="application/json")

    async def look(self, function: Callable[..., dict[str, Any]], *args: Any) -> Response:
        """Have the engine look at the state between two changes of it."""

        def execute(bandit: Pricebandit, *_: object) -> Pending:
            return Pending([function(bandit, *args)])

        return await self.work(execute, None, 0)


def _service(request: Request) -> Service:
    service: Service | None = request.app.state.service
    if service is None:
        raise Problem(503, "the model and the log are still loading", {"Retry-After": "1"})
    return service


async def _body(request: Request, service: Service) -> bytes:
    """The body of a JSON request.

    Raises:
        Problem: 415 not announced as JSON, or compressed, 413 larger than the settings allow.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # also keeps a web page from posting here without asking: browsers send JSON only after
        # a preflight request, which is not granted
        raise Problem(415, f"content-type is {kind!r}: send application/json")
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise Problem(415, f"content-encoding is {coding!r}: send the body uncompressed")
    limit = int(service.bandit.settings.max_body_mb * 1e6)
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise Problem(413, f"the body is over {limit} bytes: send smaller batches")
            parts.append(part)
    except ClientDisconnect:  # nobody reads this
        raise Problem(400, "the connection was closed before the body was whole") from None
    return b"".join(parts)


def _once(request: Request, body: bytes) -> Once | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 256 or not key.isprintable():
        raise Problem(422, "Idempotency-Key must have 1 to 256 printable characters")
    digest = hashlib.sha256(request.url.path.encode() + b"\0" + body).hexdigest()
    return Once(request.state.caller, key, digest)


router = APIRouter()


@router.post("/v1/listings", openapi_extra=REGISTER_CALL)
async def register(request: Request) -> Response:
    """Upsert listings by `listing_id`."""
    service = _service(request)
    body = await _body(request, service)
    once = _once(request, body)
    items = await service.read(reading.listings, body)
    service.gate.charge(request.state.caller, items.total)
    while True:
        try:
            embedded, encoded = await service.embed(
                registering.embed_listings, registering.missing_listings, items
            )
        except EncoderError as error:
            detail = f"the encoder cannot be used: {error}"
            raise Problem(503, detail, {"Retry-After": "60"}) from None
        embedded = replace(embedded, encoded=encoded, cached=len(items.rows) - encoded)
        with suppress(Moved):
            return await service.work(registering.register, embedded, items.total, once)


@router.get("/v1/listings")
async def get_listings(
    request: Request, after: str = "", limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000
) -> Response:
    """Listings in service by their ids; `next` is what to ask on after, where there are more."""
    service = _service(request)
    found = await service.read(insight.listings, service.bandit.log, after, limit)
    return Response(orjson.dumps(found), media_type=JSON)


# ids may have slashes in them, so the longer paths come first
@router.get("/v1/listings/{listing_id:path}/similar")
async def similar(
    request: Request, listing_id: str, k: Annotated[int, Query(ge=1, le=100)] = 10
) -> Response:
    """Neighbours by text with cosine similarity, their prices and what they have earned."""
    return await _service(request).look(insight.similar, listing_id, k)


@router.get("/v1/listings/{listing_id:path}/demand")
async def demand(request: Request, listing_id: str) -> Response:
    """The estimated demand curve, and what text, market, price and own sales put in."""
    return await _service(request).look(insight.demand, listing_id)


@router.get("/v1/listings/{listing_id:path}")
async def get_listing(request: Request, listing_id: str) -> Response:
    """The listing as it was accepted."""
    return await _service(request).look(insight.listing, listing_id)


@router.delete("/v1/listings/{listing_id:path}", status_code=204)
async def delete_listing(request: Request, listing_id: str) -> Response:
    """Take a listing out of service; what was decided on it stays in the log."""
    await _service(request).work(registering.delete, listing_id, 1)
    return Response(status_code=204)


@router.post("/v1/prices", openapi_extra=PRICES_CALL)
async def prices(request: Request) -> Response:
    """Price a batch; decisions come in the order of the requests."""
    service = _service(request)
    body = await _body(request, service)
    once = _once(request, body)
    asked = await service.read(reading.price_requests, body)
    service.gate.charge(request.state.caller, asked.items.total)
    while True:
        with suppress(Moved):
            return await _priced(service, asked, once)


async def _priced(service: Service, asked: reading.Asked, once: Once | None) -> Response:
    """Embed and price requests.

    Raises:
        Moved: the model was switched between the two.
    """
    items, what_ifs = asked.items, None
    if asked.inline.rows:
        # a request that was answered may not put its listings back to what they were then
        if once and (answer := await service.read(service.engine.given, once)):
            return Response(answer, media_type="application/json")
        embedded = await _embed_inline(service, asked)
        if asked.record:
            items = items.without(await _register_inline(service, embedded))
        else:
            what_ifs = embedded
    bandit = service.bandit
    (market_text, lost), _ = await service.embed(embed_markets, missing_markets, items)
    if bandit is not service.bandit or (what_ifs and what_ifs.space != bandit.space):
        raise Moved.between()
    batch = PriceBatch(
        items, market_text, lost, asked.explore, asked.record, what_ifs, bandit.space
    )
    return await service.work(price, batch, items.total, once)


async def _embed_inline(service: Service, asked: reading.Asked) -> Embedded:
    embed, missing = registering.embed_what_ifs, registering.missing_what_ifs
    if asked.record:
        embed, missing = registering.embed_listings, registering.missing_listings
    try:
        embedded, _ = await service.embed(embed, missing, asked.inline)
        return embedded
    except EncoderError:
        _LOGGER.exception("priced without text")
        return registering.unembedded(service.bandit, asked.inline)


async def _register_inline(service: Service, embedded: Embedded) -> list[ItemError]:
    """Register listings on the way to their prices; the errors of requests that lost theirs."""
    response = await service.work(registering.register, embedded, len(embedded.items.rows))
    errors = [ItemError(**error) for error in orjson.loads(response.body)["errors"]]
    return reading.inside_listing(errors)


@router.post("/v1/outcomes", openapi_extra=OUTCOMES_CALL)
async def outcomes(request: Request) -> Response:
    """Report impressions and sales of decisions, late, in parts, in any order."""
    service = _service(request)
    body = await _body(request, service)
    once = _once(request, body)
    items = await service.read(reading.outcomes, body)
    service.gate.charge(request.state.caller, items.total)
    return await service.work(record_outcomes, items, items.total, once)


@router.get("/v1/decisions/{decision_id}")
async def get_decision(request: Request, decision_id: str) -> Response:
    """Everything that decided a price, and its outcomes so far."""
    service = _service(request)
    source, names = service.bandit.log, service.bandit.catalogue.listing_id
    found = await service.read(insight.decision, source, names, decision_id)
    return Response(orjson.dumps(found), media_type="application/json")


@router.get("/v1/models")
async def get_models(request: Request) -> Response:
    """Models that the home has had, which is active, and how far one that is prepared has come."""
    service = _service(request)
    return Response(orjson.dumps(await service.read(service.rollout.told)), media_type=JSON)


@router.post("/v1/models", openapi_extra=STAGE_CALL, status_code=202)
async def stage_model(request: Request) -> Response:
    """Prepare the base model with an adapter beside the active one; prices go on meanwhile."""
    service = _service(request)
    adapter = await service.read(reading.adapter, await _body(request, service))
    found = await service.stage(service.rollout.stage, adapter)
    return Response(orjson.dumps(found), 202, media_type=JSON)


@router.post("/v1/models/{version}/activate", status_code=202)
async def activate_model(request: Request, version: str) -> Response:
    """Switch to a model, at once where it is ready, else as soon as it is; also the way back."""
    service = _service(request)
    found = await service.stage(service.rollout.activate, version)
    return Response(orjson.dumps(found), 202, media_type=JSON)


@router.get("/v1/experiments")
async def get_experiments(request: Request) -> dict[str, Any]:
    """A/B tests by their first days."""
    known, at = _service(request).bandit.experiments, now_us()
    return {"experiments": [one.as_json(at) for one in known]}


@router.post("/v1/experiments", openapi_extra=EXPERIMENT_CALL)
async def start_experiment(request: Request) -> Response:
    """Begin an A/B test: from its first day a coin says for each unit and period whether it is
    charged its reference price or the policy's."""
    service = _service(request)
    body = await _body(request, service)
    once = _once(request, body)
    asked = await service.read(reading.experiment, body, now_us())
    return await service.work(experimenting.start, asked, 1, once)


# names may have slashes in them, too
@router.post("/v1/experiments/{name:path}/stop")
async def stop_experiment(request: Request, name: str) -> Response:
    """End an A/B test: the policy prices every unit from now on."""
    return await _service(request).work(experimenting.stop, name, 1)


@router.get("/v1/experiments/{name:path}")
async def get_experiment(
    request: Request,
    name: str,
    currency: str | None = None,
    lag_days: Annotated[int, Query(ge=0, le=365)] = 0,
) -> Response:
    """An A/B test and what it says so far; it may be asked whenever one likes."""
    service = _service(request)
    log_engine = service.bandit.log.engine
    found = await service.report(
        experiment_report.report, log_engine, name, now_us(), currency, lag_days
    )
    return Response(orjson.dumps(found), media_type=JSON)


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, Any]:
    """The model and the log can be used, and whether the model is learning from the catalogue as a
    whole; 503 says what cannot be used."""
    if request.app.state.failure:
        raise Problem(503, f"model: {request.app.state.failure}")
    service = _service(request)
    await service.read(service.check)
    if service.engine.unwritten:  # a full disk is read as well as ever
        await service.work(rewrite, None, 0)
    version = service.bandit.fold.version
    return {"status": "ready", "model_version": version, "learning": service.engine.learning}


class _Admission:
    """Lets the gate decide before anything of a request is read."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            try:
                caller = self._gate.admit(Request(scope))
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


async def _problem(_: Request, error: Exception) -> Response:
    """Any error as problem details."""
    if isinstance(error, Problem):
        return error.response()
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"][1:])
        return Problem(422, f"{field} is {first['input']!r:.80}: {first['msg']}").response()
    if isinstance(error, HTTPException):
        return Problem(error.status_code, error.detail, error.headers).response()
    if isinstance(error, sa.exc.SQLAlchemyError):
        return explained(error).response()
    return Problem(500, f"{type(error).__name__}: this is a fault of the service").response()


def create_app(
    settings: Settings, on_failure: Callable[[Exception], None] | None = None
) -> FastAPI:
    """The application. It answers at once, and prices as soon as state is loaded (`/readyz`).

    Args:
        on_failure: called when the state cannot be opened, or not be changed any more; `/readyz`
            says why, too.
    """
    gate = Gate(settings.api_keys, settings.rate_limit)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def load() -> None:
            try:
                bandit = await asyncio.to_thread(Pricebandit, settings)
                app.state.service = Service(bandit, gate, on_failure)
            except Exception as error:
                app.state.failure = str(error) or repr(error)
                if on_failure:
                    on_failure(error)

        # numpy's products are small here: threads of its own cost more than they give
        with threadpool_limits(1, user_api="blas"):
            loading = asyncio.create_task(load())
            yield
            await loading
            if app.state.service:
                await asyncio.to_thread(app.state.service.close)
                app.state.service = None

    app = FastAPI(
        title="Pricebandit",
        summary="Prices for listings, and learning from the sales that come back.",
        version="1",
        lifespan=lifespan,
    )
    app.state.service, app.state.failure = None, None
    app.add_middleware(_Admission, gate=gate)
    kinds = (Problem, RequestValidationError, HTTPException, sa.exc.SQLAlchemyError, Exception)
    for kind in kinds:
        app.add_exception_handler(kind, _problem)
    app.include_router(router)
    return app
