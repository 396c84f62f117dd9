"""What each call reads from its body."""

from dataclasses import dataclass

import orjson

from bandits import MINOR_DIGITS
from service.experiments import Experiment, earliest
from service.items import Items, read_envelope, read_items, read_one
from service.problems import ItemError, Problem
from service.schemas import LISTINGS, NEW_EXPERIMENT, OUTCOMES, PRICE_REQUESTS


@dataclass(frozen=True, slots=True)
class Asked:
    """A batch of price requests as it was sent.

    Attributes:
        items: sound requests; each names its listing by `listing_id`, inline or not.
        inline: the listings that came inline, by the index of their request.
        explore, record: as the contract has them.
    """

    items: Items
    inline: Items
    explore: bool
    record: bool


def listings(body: bytes) -> Items:
    """Listings to upsert."""
    items = read_items(LISTINGS, read_envelope(body, "listings")["listings"])
    return items.without(contradictions(items))


def contradictions(items: Items) -> list[ItemError]:
    """Errors of listings whose own fields contradict each other."""
    errors = _impossible_endings(items)
    limited = [i for i, row in enumerate(items.rows) if "max_price" in row]
    for i in limited:
        row = items.rows[i]
        for field in ("min_price", "minimum_advertised_price", "unit_cost"):
            if row.get(field, 0.0) > row["max_price"]:
                message = f"max_price is {row['max_price']:.12g}, below {field} {row[field]:.12g}"
                errors.append(ItemError(int(items.index[i]), "max_price", f"{message}: raise it"))
                break
    return errors


def _impossible_endings(items: Items) -> list[ItemError]:
    """Errors of listings whose prices cannot end as asked: not to be rounded in silence."""
    errors = []
    for i, row in enumerate(items.rows):
        if "price_ending" not in row:
            continue
        ending, currency = row["price_ending"], row["currency"]
        digits = MINOR_DIGITS[currency]
        minor = ending * 10**digits
        if abs(minor - round(minor)) > 1e-6 or round(minor) == 10**digits:
            least, most = 10**-digits, 1 - 10**-digits
            had = f"0, {least:.{digits}f} … {most:.{digits}f}" if digits else "0 alone"
            message = f"price_ending is {ending:.12g}: {currency} has {had}: give one it has"
            errors.append(ItemError(int(items.index[i]), "price_ending", message))
    return errors


def price_requests(body: bytes) -> Asked:
    """Price requests, their inline listings set apart."""
    envelope = read_envelope(body, "requests", ("explore", "record"))
    items = read_items(PRICE_REQUESTS, envelope["requests"])
    unclear = [
        ItemError(i, "listing_id", "give either listing_id or listing, and not both")
        for i, row in zip(items.index.tolist(), items.rows, strict=True)
        if ("listing_id" in row) == ("listing" in row)
    ]
    items = items.without(unclear)
    where = [i for i, row in enumerate(items.rows) if "listing" in row]
    inline = Items([items.rows[i]["listing"] for i in where], items.index[where], [], items.total)
    for i in where:
        items.rows[i]["listing_id"] = items.rows[i]["listing"]["listing_id"]
    refused = contradictions(inline)
    sound = inline.without(refused)
    return Asked(
        items.without(inside_listing(refused)),
        Items(sound.rows, sound.index, [], sound.total),  # their errors are with their requests
        envelope.get("explore", True),
        envelope.get("record", True),
    )


def inside_listing(errors: list[ItemError]) -> list[ItemError]:
    """Errors of inline listings as errors of the requests that carry them."""
    return [ItemError(error.index, f"listing.{error.field}", error.message) for error in errors]


def outcomes(body: bytes) -> Items:
    """Outcomes to record."""
    return read_items(OUTCOMES, read_envelope(body, "outcomes")["outcomes"])


def experiment(body: bytes, at_us: int) -> Experiment:
    """The experiment to begin, asked for at a time in microseconds UTC.

    Raises:
        Problem: 422, naming each field that is wrong.
    """
    given = read_one(NEW_EXPERIMENT, body)
    period = given.get("period", "day")
    return Experiment(
        given["name"], given.get("share", 0.5), period,
        given.get("first_day", earliest(period, at_us)), given.get("last_day"),
    )  # fmt: skip


def adapter(body: bytes) -> str | None:
    """The adapter's folder that a model is to be staged with; None for the base model alone.

    Raises:
        Problem: 422, the body is not `{"adapter": folder or null}`.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(422, f"the body is not JSON: {error}") from None
    if not isinstance(given, dict) or given.keys() != {"adapter"}:
        raise Problem(422, 'the body is not {"adapter": folder}, or null for the base model alone')
    folder = given["adapter"]
    if folder is not None and not (isinstance(folder, str) and folder and folder.isprintable()):
        raise Problem(422, f"adapter is {folder!r:.80}: give the path of a folder, or null")
    return folder
