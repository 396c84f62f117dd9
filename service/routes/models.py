"""Models: prepared beside the active one, and switched to."""

import orjson
from fastapi import APIRouter, Request, Response

from service import reading
from service.documentation import STAGE_CALL
from service.requests import body_of, service_of
from service.running import JSON

router = APIRouter()


@router.get("/v1/models")
async def get_models(request: Request) -> Response:
    """Models that the home has had, which is active, and how far one that is prepared has come."""
    service = service_of(request)
    return Response(orjson.dumps(await service.read(service.rollout.told)), media_type=JSON)


@router.post("/v1/models", openapi_extra=STAGE_CALL, status_code=202)
async def stage_model(request: Request) -> Response:
    """Prepare the base model with an adapter beside the active one; prices go on meanwhile."""
    service = service_of(request)
    adapter = await service.read(reading.adapter, await body_of(request, service))
    found = await service.stage(service.rollout.stage, adapter)
    return Response(orjson.dumps(found), 202, media_type=JSON)


@router.post("/v1/models/{version}/activate", status_code=202)
async def activate_model(request: Request, version: str) -> Response:
    """Switch to a model, at once where it is ready, else as soon as it is; also the way back."""
    service = service_of(request)
    found = await service.stage(service.rollout.activate, version)
    return Response(orjson.dumps(found), 202, media_type=JSON)
