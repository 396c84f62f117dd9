"""Listings: registered, looked at, taken out of service."""

from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response

from encoders import EncoderError
from service import insight, reading, registering
from service.documentation import REGISTER_CALL
from service.problems import Moved, Problem
from service.requests import body_of, once_of, service_of
from service.running import JSON

router = APIRouter()


@router.post("/v1/listings", openapi_extra=REGISTER_CALL)
async def register(request: Request) -> Response:
    """Upsert listings by `listing_id`."""
    service = service_of(request)
    body = await body_of(request, service)
    once = once_of(request, body)
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
    service = service_of(request)
    found = await service.read(insight.listings, service.bandit.log, after, limit)
    return Response(orjson.dumps(found), media_type=JSON)


# ids may have slashes in them, so the longer paths come first
@router.get("/v1/listings/{listing_id:path}/similar")
async def similar(
    request: Request, listing_id: str, k: Annotated[int, Query(ge=1, le=100)] = 10
) -> Response:
    """Neighbours by text with cosine similarity, their prices and what they have earned."""
    return await service_of(request).look(insight.similar, listing_id, k)


@router.get("/v1/listings/{listing_id:path}/demand")
async def demand(request: Request, listing_id: str) -> Response:
    """The estimated demand curve, what text, market, price and own sales put in, and what is
    expected of today, times the usual."""
    return await service_of(request).look(insight.demand, listing_id)


@router.get("/v1/listings/{listing_id:path}")
async def get_listing(request: Request, listing_id: str) -> Response:
    """The listing as it was accepted."""
    return await service_of(request).look(insight.listing, listing_id)


@router.delete("/v1/listings/{listing_id:path}", status_code=204)
async def delete_listing(request: Request, listing_id: str) -> Response:
    """Take a listing out of service; what was decided on it stays in the log."""
    await service_of(request).work(registering.delete, listing_id, 1)
    return Response(status_code=204)
