"""The application: who is let in, what errors look like, and the state's life around it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from threadpoolctl import threadpool_limits

from service.documentation import REFUSED
from service.engine import explained
from service.gate import OPEN_PATHS, Gate
from service.pricebandit import Pricebandit
from service.problems import Problem
from service.routes import ROUTERS
from service.running import Service
from service.settings import Settings


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


def _allowed(scope: Scope) -> set[str]:
    """Methods that a path has: the framework names those of its first route alone."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    there = [route for route in routes if route.matches(scope)[0] is not Match.NONE]
    return {method for route in there for method in route.methods or ()}


async def _problem(request: Request, error: Exception) -> Response:
    """Any error as problem details."""
    if isinstance(error, Problem):
        return error.response()
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"][1:])
        return Problem(422, f"{field} is {first['input']!r:.80}: {first['msg']}").response()
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        if error.status_code == 405 and (methods := _allowed(request.scope)):
            headers["Allow"] = ", ".join(sorted(methods))
        return Problem(error.status_code, error.detail, headers).response()
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
    for router in ROUTERS:
        app.include_router(router, responses=REFUSED)
    return app
