"""What every route reads of a request: the service that it is for, its body, its key."""

import hashlib

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.engine import Once
from service.problems import Problem
from service.running import JSON, Service


def service_of(request: Request) -> Service:
    """The service, once it is loaded.

    Raises:
        Problem: 503, it is not.
    """
    service: Service | None = request.app.state.service
    if service is None:
        raise Problem(503, "the model and the log are still loading", {"Retry-After": "1"})
    return service


async def body_of(request: Request, service: Service) -> bytes:
    """The body of a JSON request.

    Raises:
        Problem: 415 not announced as JSON, or compressed, 413 larger than the settings allow.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        # also keeps a web page from posting here without asking: browsers send JSON only after
        # a preflight request, which is not granted
        raise Problem(415, f"content-type is {kind!r}: send {JSON}")
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


def once_of(request: Request, body: bytes) -> Once | None:
    """What tells a request that is sent again from another one, if it has a key.

    Raises:
        Problem: 422, a key that is too long, or cannot be read.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 256 or not key.isprintable():
        raise Problem(422, "Idempotency-Key must have 1 to 256 printable characters")
    digest = hashlib.sha256(request.url.path.encode() + b"\0" + body).hexdigest()
    return Once(request.state.caller, key, digest)
