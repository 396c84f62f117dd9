"""Prices, the outcomes that come back, and what decided a price."""

import logging
from contextlib import suppress

import orjson
from fastapi import APIRouter, Request, Response

from encoders import EncoderError
from service import insight, reading, registering
from service.documentation import OUTCOMES_CALL, PRICES_CALL
from service.engine import Once
from service.outcomes import record_outcomes
from service.pricing import PriceBatch, embed_markets, missing_markets, price
from service.problems import ItemError, Moved
from service.registering import Embedded
from service.requests import body_of, once_of, service_of
from service.running import JSON, Service

router = APIRouter()

_LOGGER = logging.getLogger("pricebandit")


@router.post("/v1/prices", openapi_extra=PRICES_CALL)
async def prices(request: Request) -> Response:
    """Price a batch; decisions come in the order of the requests."""
    service = service_of(request)
    body = await body_of(request, service)
    once = once_of(request, body)
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
            return Response(answer, media_type=JSON)
        embedded = await _embed_inline(service, asked)
        if asked.record:
            items = items.without(await register_inline(service, embedded))
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


async def register_inline(service: Service, embedded: Embedded) -> list[ItemError]:
    """Register listings on the way to their prices; the errors of requests that lost theirs."""
    response = await service.work(registering.register, embedded, len(embedded.items.rows))
    errors = [ItemError(**error) for error in orjson.loads(response.body)["errors"]]
    return reading.inside_listing(errors)


@router.post("/v1/outcomes", openapi_extra=OUTCOMES_CALL)
async def outcomes(request: Request) -> Response:
    """Report impressions and sales of decisions, late, in parts, in any order."""
    service = service_of(request)
    body = await body_of(request, service)
    once = once_of(request, body)
    items = await service.read(reading.outcomes, body)
    service.gate.charge(request.state.caller, items.total)
    return await service.work(record_outcomes, items, items.total, once)


@router.get("/v1/decisions/{decision_id}")
async def get_decision(request: Request, decision_id: str) -> Response:
    """Everything that decided a price, and its outcomes so far."""
    service = service_of(request)
    source, names = service.bandit.log, service.bandit.catalogue.listing_id
    found = await service.read(insight.decision, source, names, decision_id)
    return Response(orjson.dumps(found), media_type=JSON)
