"""Who may come in: bearer keys, loopback alone without them, and each caller's rate."""

import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Sequence

from starlette.requests import Request

from service.problems import Problem

OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Answered to anyone: orchestrators ask before they have a key."""

_LOCAL_NAME = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_CALLERS_KEPT = 10_000


class Gate:
    """Decides on each request before it is read.

    Args:
        keys: accepted bearer keys; none serves loopback alone.
        rate: items per second for one caller, with a second's worth of burst; 0 sets no limit.
    """

    def __init__(self, keys: Sequence[str], rate: float) -> None:
        self._keys = [key.encode() for key in keys]
        self._rate = rate
        self._budgets: dict[str, tuple[float, float]] = {}  # caller → (items left, as of)

    def admit(self, request: Request) -> str:
        """The caller's name, a hash that tells keys or addresses apart.

        Raises:
            Problem: 401 without a valid key, 403 from afar where no keys are configured.
        """
        if self._keys:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            sent = given.encode("latin-1").strip()  # the bytes: so the framework read them
            tokens = sent, sent.decode("latin-1").encode()  # of keys in UTF-8, or in Latin-1
            # every key is compared, in constant time, so that timing tells nothing
            matches = [max(hmac.compare_digest(t, key) for t in tokens) for key in self._keys]
            if scheme.lower() != "bearer" or not any(matches):
                raise Problem(
                    401,
                    "no valid key: send the header `Authorization: Bearer KEY`",
                    {"WWW-Authenticate": "Bearer"},
                )
            return hashlib.sha256(self._keys[matches.index(True)]).hexdigest()
        host = request.client.host if request.client else ""
        if not _is_loopback(host):
            raise Problem(
                403, "no key is configured, so only loopback is served: set PRICEBANDIT_API_KEYS"
            )
        # a page in a local browser reaches loopback too, under a name of its own choosing
        # (read from the header itself: the framework takes its own name for one it cannot parse)
        name = request.headers.get("host", "")
        if not _LOCAL_NAME.fullmatch(name):
            raise Problem(403, f"host is {name!r:.80}: without a key, ask localhost or 127.0.0.1")
        return hashlib.sha256(host.encode()).hexdigest()

    def charge(self, caller: str, items: int) -> None:
        """Take `items` from the caller's budget.

        Raises:
            Problem: 429 with the seconds to wait; nothing is taken then.
        """
        if not self._rate:
            return
        now = time.monotonic()
        left, as_of = self._budgets.get(caller, (self._rate, now))
        left = min(self._rate, left + (now - as_of) * self._rate)
        # a batch above a second's worth passes on a full budget, and is paid off afterwards
        needed = min(float(items), self._rate)
        if left < needed:
            wait = max(1, round((needed - left) / self._rate + 0.5))
            raise Problem(
                429,
                f"over {self._rate:g} items per second: send this again in {wait} s",
                {"Retry-After": str(wait)},
            )
        if len(self._budgets) >= _CALLERS_KEPT:
            self._budgets.clear()
        self._budgets[caller] = (left - items, now)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
