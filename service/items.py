"""Bodies to items: the envelope is refused as a whole, an item of it on its own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydantic_core
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from markets.checks import number_fix
from service.fields import shown
from service.problems import ItemError, Problem
from service.schemas import MOST_ITEMS


@dataclass(frozen=True, slots=True)
class Items:
    """The sound items of a batch.

    Attributes:
        rows: validated items, n of them.
        index: where each stood in the batch, int64 (n,).
        errors: what was refused, in the order of the batch.
        total: items that were sent.
    """

    rows: list[dict[str, Any]]
    index: NDArray[np.int64]
    errors: list[ItemError]
    total: int

    def column(self, field: str) -> list[Any]:
        """One field of every item, None where it is absent."""
        return [row.get(field) for row in self.rows]

    def numbers(self, field: str) -> NDArray[np.float64]:
        """One numeric field of every item, (n,), NaN where it is absent."""
        return numbers(self.rows, field)

    def without(self, refused: Sequence[ItemError]) -> "Items":
        """The batch less items refused on a second look; their `index` is the batch's."""
        if not refused:
            return self
        bad = np.array([error.index for error in refused])
        keep = ~np.isin(self.index, bad)
        rows = [row for row, kept in zip(self.rows, keep, strict=True) if kept]
        errors = sorted([*self.errors, *refused], key=lambda error: error.index)
        return Items(rows, self.index[keep], errors, self.total)


def numbers(rows: Sequence[dict[str, Any]], field: str) -> NDArray[np.float64]:
    """One numeric field of every row, (n,), NaN where it is absent."""
    nan = float("nan")
    return np.fromiter((row.get(field, nan) for row in rows), np.float64, len(rows))


def log_of(number: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of numbers above 0, same shape, NaN where they are not, or not finite."""
    good = np.isfinite(number) & (number > 0)
    return np.log(np.where(good, number, np.nan))


def read_envelope(body: bytes, field: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON object in `body`, with a list of 1 to 10,000 items under `field`.

    Args:
        options: names of boolean fields that may stand beside the list.

    Raises:
        Problem: 422, naming what is wrong with the envelope.
    """
    envelope = _parsed(body)
    if not isinstance(envelope, dict) or not isinstance(envelope.get(field), list):
        raise Problem(422, f'the body must be an object like {{"{field}": […]}}')
    if not 1 <= len(envelope[field]) <= MOST_ITEMS:
        raise Problem(
            422, f"{field} has {len(envelope[field])} items: send 1 to {MOST_ITEMS} in one batch"
        )
    for name in envelope.keys() - {field}:
        if name not in options:
            raise Problem(422, f"{name} is not a field of this call: remove it")
        if not isinstance(envelope[name], bool):
            raise Problem(422, f"{name} is {shown(envelope[name])}: give true or false")
    return envelope


def _parsed(body: bytes) -> Any:
    """The JSON in `body`.

    The fast parser refuses the whole body for a lone surrogate or an integer of thousands of
    digits, which is the fault of one item: the tolerant one then leaves them to its validation.
    """
    try:
        return pydantic_core.from_json(body)
    except ValueError as error:
        refusal = error
    try:
        return json.loads(
            body.decode(),
            parse_int=lambda text: int(text) if len(text) <= 4000 else float(text),
        )
    except (ValueError, RecursionError):
        raise Problem(422, f"the body is not JSON: {refusal}") from None


def read_items(adapter: TypeAdapter[Any], items: list[Any]) -> Items:
    """Validate items; unsound ones become errors, the others come back unharmed."""
    try:
        return Items(adapter.validate_python(items), np.arange(len(items)), [], len(items))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
    errors = [_item_error(detail) for detail in details]
    bad = {error.index for error in errors}
    keep = [i for i in range(len(items)) if i not in bad]
    rows = adapter.validate_python([items[i] for i in keep])
    return Items(rows, np.array(keep, np.int64), errors, len(items))


def read_one(adapter: TypeAdapter[Any], body: bytes) -> dict[str, Any]:
    """The one item that is a body.

    Raises:
        Problem: 422, naming each field that is wrong.
    """
    try:
        found: dict[str, Any] = adapter.validate_python(_parsed(body))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        said = [_item_error({**detail, "loc": (0, *detail["loc"])}).message for detail in details]
        raise Problem(422, "; ".join(said)) from None
    return found


def _item_error(detail: Any) -> ItemError:
    index, *path = detail["loc"]
    field = ".".join(str(step) for step in path if step != "[key]") or "item"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        return ItemError(index, field, f"{field} is missing: it is required")
    if detail["type"] == "extra_forbidden":
        return ItemError(index, field, f"{field} is not a field of this item: remove it")
    if detail["type"] in ("float_type", "int_type") and isinstance(detail["input"], str):
        message = f"text, not a number: {number_fix(detail['input'])}"
    return ItemError(index, field, f"{field} is {shown(detail['input'])}: {message}")
