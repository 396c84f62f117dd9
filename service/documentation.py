"""What the OpenAPI page says of calls whose bodies are read by hand."""

from typing import Any

from pydantic import TypeAdapter

from service.schemas import (
    MOST_ITEMS,
    Decision,
    Listing,
    NewExperiment,
    Outcome,
    PriceRequest,
)


def _schema(kind: Any) -> dict[str, Any]:
    # no references between definitions: each schema stands where it is used
    schema = TypeAdapter(kind).json_schema(ref_template="{model}")
    definitions = schema.pop("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return inlined(definitions[node["$ref"]])
            return {key: inlined(value) for key, value in node.items()}
        return [inlined(value) for value in node] if isinstance(node, list) else node

    result: dict[str, Any] = inlined(schema)
    return result


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _items(kind: Any) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": _schema(kind)}


_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean", "default": True}
_TEXT = {"type": "string"}
_ERRORS = {
    "type": "array",
    "items": _object(
        {"index": _COUNT, "field": _TEXT, "message": _TEXT}, ["index", "field", "message"]
    ),
}
_PROBLEM = _object(
    {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT},
    ["type", "title", "status", "detail"],
)
_REFUSALS = {
    "401": "No valid key.",
    "403": "Not from loopback, and no key is configured.",
    "409": "The Idempotency-Key was used with another request.",
    "413": "The body is too large.",
    "415": "The body is not announced as JSON, or is compressed.",
    "422": "The body is not the envelope.",
    "429": "Over the caller's rate.",
    "503": "The queue is full, or the log cannot be written.",
}


def _refused(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _PROBLEM}}
    return {"description": description, "content": content}


_REFUSED = {status: _refused(description) for status, description in _REFUSALS.items()}
REFUSED: dict[int | str, dict[str, Any]] = {
    "default": _refused("What was wrong, and what to do; 404 where there is none of it.")
}
"""The errors of every call, in the place of the framework's own, which none answers."""


def _call(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The `openapi_extra` of a POST: its body, its answer, its errors, its idempotency key."""
    responses: dict[str, Any] = {
        "200": {
            "description": "Durable; items that were refused are in `errors`.",
            "content": {"application/json": {"schema": answer}},
        }
    }
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": responses | _REFUSED,
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
                "description": "The same key and body give the same answer again, for 24 h.",
            }
        ],
    }


REGISTER_CALL = _call(
    _object({"listings": _items(Listing)}, ["listings"]),
    _object(
        {"accepted": _COUNT, "encoded": _COUNT, "cached": _COUNT, "errors": _ERRORS},
        ["accepted", "encoded", "cached", "errors"],
    ),
)
PRICES_CALL = _call(
    _object({"requests": _items(PriceRequest), "explore": _FLAG, "record": _FLAG}, ["requests"]),
    _object(
        {
            "model_version": _TEXT,
            "decisions": {"type": "array", "items": _schema(Decision)},
            "errors": _ERRORS,
        },
        ["model_version", "decisions", "errors"],
    ),
)
OUTCOMES_CALL = _call(
    _object({"outcomes": _items(Outcome)}, ["outcomes"]),
    _object(
        {
            **dict.fromkeys(("accepted", "corrected", "duplicates", "without_impressions"), _COUNT),
            "errors": _ERRORS,
        },
        ["accepted", "corrected", "duplicates", "without_impressions", "errors"],
    ),
)
_MODEL = _object(
    {
        "version": _TEXT,
        "adapter": {"type": "boolean"},
        "name": {"type": ["string", "null"]},
        "trunk": {"type": ["string", "null"]},
        "state": {"enum": ["active", "kept", "staged", "preparing", "ready", "failed"]},
    },
    ["version", "adapter", "name", "trunk", "state"],
)
STAGE_CALL = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": _object({"adapter": {"type": ["string", "null"]}}, ["adapter"])
            }
        },
    },
    "responses": {
        "202": {
            "description": "It is being prepared; GET /v1/models says how far it is.",
            "content": {"application/json": {"schema": _MODEL}},
        },
        **_REFUSED,
    },
}
_EXPERIMENT = _object(
    {
        "name": _TEXT,
        "share": {"type": "number"},
        "period": {"enum": ["day", "week"]},
        "first_day": {"type": "string", "format": "date"},
        "last_day": {"type": ["string", "null"], "format": "date"},
        "state": {"enum": ["waiting", "running", "over", "stopped"]},
        "stopped_at": {"type": "string", "format": "date-time"},
        "listings": _COUNT,
    },
    ["name", "share", "period", "first_day", "last_day", "state"],
)
EXPERIMENT_CALL = _call(_schema(NewExperiment), _EXPERIMENT)
