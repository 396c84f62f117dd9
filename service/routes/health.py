"""Whether the process lives, and prices can be decided."""

from typing import Any

from fastapi import APIRouter, Request

from service.engine import rewrite
from service.problems import Problem
from service.requests import service_of

router = APIRouter()


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
    service = service_of(request)
    await service.read(service.check)
    if service.engine.unwritten:  # a full disk is read as well as ever
        await service.work(rewrite, None, 0)
    version = service.bandit.fold.version
    return {"status": "ready", "model_version": version, "learning": service.engine.learning}
