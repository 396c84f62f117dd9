"""A/B tests: begun, looked at, ended."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response

from service import experiment_report, experimenting, reading
from service.documentation import EXPERIMENT_CALL
from service.pricebandit import now_us
from service.requests import body_of, once_of, service_of
from service.running import JSON

router = APIRouter()


@router.get("/v1/experiments")
async def get_experiments(request: Request) -> dict[str, Any]:
    """A/B tests by their first days."""
    known, at = service_of(request).bandit.experiments, now_us()
    return {"experiments": [one.as_json(at) for one in known]}


@router.post("/v1/experiments", openapi_extra=EXPERIMENT_CALL)
async def start_experiment(request: Request) -> Response:
    """Begin an A/B test: from its first day a coin says for each unit and period whether it is
    charged its reference price or the policy's."""
    service = service_of(request)
    body = await body_of(request, service)
    once = once_of(request, body)
    asked = await service.read(reading.experiment, body, now_us())
    return await service.work(experimenting.start, asked, 1, once)


# names may have slashes in them, too
@router.post("/v1/experiments/{name:path}/stop")
async def stop_experiment(request: Request, name: str) -> Response:
    """End an A/B test: the policy prices every unit from now on."""
    return await service_of(request).work(experimenting.stop, name, 1)


@router.get("/v1/experiments/{name:path}")
async def get_experiment(
    request: Request,
    name: str,
    currency: str | None = None,
    lag_days: Annotated[int, Query(ge=0, le=365)] = 0,
) -> Response:
    """An A/B test and what it says so far; it may be asked whenever one likes."""
    service = service_of(request)
    log_engine = service.bandit.log.engine

    def report(*asked: Any) -> bytes:
        name, currency, lag_days = asked
        found = experiment_report.report(log_engine, name, now_us(), currency, lag_days)
        return orjson.dumps(found)

    return Response(await service.report(report, name, currency, lag_days), media_type=JSON)
