"""How much of it a text says there is: 16 oz, 6 x 330 ml, a set of 3."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

KINDS = ("content", "pieces")
"""What amounts are of: grams or millilitres, which are as good as one, and pieces."""

_UNITS = {
    "oz": 28.35, "ounce": 28.35, "ounces": 28.35,
    "lb": 453.6, "lbs": 453.6, "pound": 453.6, "pounds": 453.6,
    "mg": 0.001, "g": 1.0, "gr": 1.0, "gram": 1.0, "grams": 1.0, "kg": 1000.0,
    "ml": 1.0, "cl": 10.0, "l": 1000.0, "ltr": 1000.0,
    "liter": 1000.0, "liters": 1000.0, "litre": 1000.0, "litres": 1000.0,
    "pt": 473.2, "pint": 473.2, "qt": 946.4, "quart": 946.4, "gal": 3785.0, "gallon": 3785.0,
}  # fmt: skip
_PIECES = "ct|count|pk|pack|packs|pc|pcs|piece|pieces|rolls?|sheets|loads?|tablets|capsules|bags"
_SETS = "set|sets|pack|packs|box|boxes|bag|bags|case|bundle|card"

# Half a litre is no pack of one by two: these are what a slash means in a recipe.
_FRACTIONS = "1/2|1/3|2/3|1/4|3/4|1/8|3/8|5/8|7/8"
_NUMBER = r"\d{1,6}(?:[.,]\d{1,3})?|[.,]\d{1,3}"
_CONTENT = (
    rf"(?:^|[^\w.,])(?:(?:(?P<whole>\d{{1,3}})[ -])?(?P<part>{_FRACTIONS})"
    rf"|(?:(?P<packs>\d{{1,4}})\s?[x×/]\s?)?(?P<number>{_NUMBER}))"
    rf"\s?-?(?:fl\.?\s?)?(?P<unit>{'|'.join(_UNITS)})\b"
)
_COUNT = (
    rf"\b(?:(?:(?:{_SETS})(?:\s?/\s?|\s)(?:of\s)?|s/)(?P<of>\d{{1,4}})"
    rf"|(?P<count>\d{{1,4}})\s?-?(?:{_PIECES}))\b"
)
_READ = 1_000  # characters of a text that are looked at
_MOST = np.log(1e7)  # ten tonnes: more is no amount of goods

FURTHEST = 3.0
"""Difference of log amounts that greater ones count as: whoever writes "1 mg" shall not thereby
move prices by a thousand."""


def amounts(texts: Sequence[str]) -> NDArray[np.float32]:
    """Log of the first amount of each kind that a text states, float32 (n, 2), as `KINDS`; NaN
    where it states none.

    Units are metric and imperial, packs are multiplied out, "1,5 l" is a litre and a half and
    "1,000 g" a kilogram. Texts are read in time linear in their length.
    """
    # half a surrogate pair has no UTF-8
    begun = [text[:_READ].encode("utf-8", "replace").decode("utf-8") for text in texts]
    column = pl.Series(begun, dtype=pl.String).str.to_lowercase()
    content = column.str.extract_groups(_CONTENT).struct
    count = column.str.extract_groups(_COUNT).struct
    part = content["part"].str.split("/")
    share = _number(part.list.get(0)) / _number(part.list.get(1))
    number = np.where(
        np.isnan(share),
        _number(content["number"]),
        share + np.nan_to_num(_number(content["whole"])),
    )
    packs = _number(content["packs"])
    unit = content["unit"].replace_strict(_UNITS, default=None, return_dtype=pl.Float64).to_numpy()
    of = _number(count["of"])
    pieces = np.where(np.isnan(of), _number(count["count"]), of)
    found = np.column_stack([np.where(np.isnan(packs), 1.0, packs) * number * unit, pieces])
    logs = np.log(np.where(found > 0, found, np.nan))
    return np.where(np.abs(logs) < _MOST, logs, np.nan).astype(np.float32)


def differing(amount: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much log amounts differ, -3 to 3, broadcast; 0 where one is not said."""
    return np.asarray(np.nan_to_num(np.clip(amount - other, -FURTHEST, FURTHEST)))


def _number(written: pl.Series) -> NDArray[np.float64]:
    """Numbers as they are written, NaN where there is none: three digits after a comma are
    thousands, fewer are decimals.
    """
    plain = written.str.replace(r"^(\d+),(\d{3})$", "$1$2").str.replace(",", ".", literal=True)
    return plain.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
