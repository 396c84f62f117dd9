"""Errors as the HTTP contract says them: RFC 9457 problem details, and errors of single items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response


def speakable(text: str) -> str:
    """`text` as UTF-8 can say it: lone surrogates, echoed from a request, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class ItemError:
    """One refused item of a batch: where it stood, which field, and what to change; `again` where
    the same body, sent again, may find it accepted.
    """

    index: int
    field: str
    message: str
    again: bool = False

    def as_json(self) -> dict[str, Any]:
        """The item as the contract spells it."""
        return {
            "index": self.index,
            "field": speakable(self.field),
            "message": speakable(self.message),
        }


class Problem(Exception):
    """A request that is answered with an error status.

    Args:
        status: HTTP status. detail: what was wrong and what to do. headers: added to the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def response(self) -> Response:
        """The `application/problem+json` answer."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": speakable(self.detail),
        }
        return Response(
            orjson.dumps(body), self.status, self.headers, media_type="application/problem+json"
        )


class Moved(Problem):
    """What was embedded for one state has come to another: embed it again."""

    @classmethod
    def check(cls, space: str, batches: Sequence[Any]) -> None:
        """Raise unless all batches, and what they carry inline, were embedded for the state whose
        space this is.
        """
        inline = [found for batch in batches if (found := getattr(batch, "inline", None))]
        # not `!=`: each state names its space anew, and slots of one mean nothing in another
        if any(embedded.space is not space for embedded in [*batches, *inline]):
            raise cls.between()

    @classmethod
    def between(cls) -> "Moved":
        """The error, for who finds out before the engine does."""
        return cls(503, "the model was switched meanwhile: send this again", {"Retry-After": "1"})
