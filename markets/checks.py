"""The cells and rows of a table: what they say, which are junk, and what to do about it.

Rows are counted from 1 below the header, as in `markets.tables`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from markets.tables import TableError

MOST = 1e12
"""Prices and counts above are slips: no money is of such units."""

# Formats that a message may suggest; the first is ISO and always read.
_DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y%m%d", "%Y/%m/%d")


def spelled(column: pl.Series) -> pl.Series:
    """Cells as text; a list, bytes or a span of time as Python shows it."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:  # those have no text of their own
        cells = [None if cell is None else str(cell) for cell in column.to_list()]
        return pl.Series(column.name, cells, pl.String)


def to_text(column: pl.Series) -> pl.Series:
    """Codes and words: stripped text, null where empty; 85123.0 (a spreadsheet's) is 85123."""
    text = spelled(column).str.strip_chars()
    return text.str.replace(r"^(\d+)\.0$", "${1}").replace("", None)


def to_numbers(column: pl.Series) -> pl.Series:
    """Float64; null where the cell is no finite number with a decimal point.

    A day, a time or a yes is no number, however it is kept; of 32 bits 19.99 is read as 19.99.
    """
    if column.dtype in (pl.Categorical, pl.Enum, pl.Float32):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not column.dtype.is_numeric():
        return pl.Series(column.name, [None] * len(column), pl.Float64)
    numbers = column.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite(), None)


def to_times(column: pl.Series, date_format: str | None = None) -> pl.Series:
    """Datetime in UTC, microseconds; null where the cell is none.

    Args:
        column: times, dates, or text in ISO 8601 (2026-01-31, 2026-01-31 12:00,
            2026-01-31T12:00:00Z). Times without a zone are taken as UTC.
        date_format: text is read with this format and no other, as `strptime` writes them.
    """
    utc = pl.Datetime("us", "UTC")
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
        return column.dt.convert_time_zone("UTC").cast(utc)
    if column.dtype == pl.Date or column.dtype == pl.Datetime:
        return column.cast(pl.Datetime("us"), strict=False).dt.replace_time_zone("UTC")
    if column.dtype != pl.String:
        return pl.Series(column.name, [None] * len(column), utc)
    text = column.str.strip_chars()
    if date_format:
        return _with_format(text, date_format)
    spaced = text.str.replace("T", " ", literal=True)
    readings = [
        _with_format(spaced, "%Y-%m-%d"),
        _with_format(spaced, "%Y-%m-%d %H:%M:%S%.f"),
        _with_format(spaced, "%Y-%m-%d %H:%M"),
        *(
            spaced.str.to_datetime(zoned, time_unit="us", time_zone="UTC", strict=False)
            for zoned in ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")
        ),
    ]
    return pl.select(pl.coalesce(readings).alias(column.name)).to_series()


def _with_format(text: pl.Series, date_format: str) -> pl.Series:
    if re.search(r"%[HIMSTR]", date_format):
        times = text.str.to_datetime(date_format, time_unit="us", strict=False)
    else:
        times = text.str.to_date(date_format, strict=False).cast(pl.Datetime("us"))
    # %Y reads "10" as the year 10: the wrong format, not an old sale.
    return times.set(times.dt.year() < 1900, None).dt.replace_time_zone("UTC")


def given_but(raw: pl.DataFrame, name: str, wrong: pl.Expr) -> pl.Expr:
    """`wrong` of a column that may be empty: null reads as wrong where the cell says something."""
    said = to_text(raw[name]).is_not_null() if name in raw.columns else False
    return pl.lit(said) & wrong.fill_null(True)


def number_fix(value: object) -> str:
    """What to do with a cell that is no number."""
    text = str(value or "").strip()
    if re.search(r"[^\w\s.,+-]", text):
        return "remove the currency sign, and name the currency in a column of its own"
    if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text):
        thousands, decimal = text.replace(",", ""), text.replace(",", ".")
        return f"write {thousands} where the comma separates thousands, else {decimal}"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"write {text.replace(',', '.')}, with a decimal point"
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        return "give it without quotes"
    if re.fullmatch(r"[+-]?[\d.,]+", text):
        return "write digits and one decimal point, without separators of thousands"
    return "give a number with a decimal point" if text else "fill the cell or leave the row out"


def time_fix(value: object) -> str:
    """What to do with a cell that is no time: the formats that would read it are named."""
    word = pl.Series([str(value or "").strip().split(" ")[0]])
    fits = [f for f in _DATE_FORMATS[1:] if _with_format(word, f).count()]
    advice = "write 2026-01-31 or 2026-01-31T12:00:00Z"
    return advice + (f", or pass date_format={' or '.join(map(repr, fits))}" if fits else "")


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """Which rows a loader drops, and why.

    Attributes:
        reason: in plain words; the key of `dropped`.
        column: column of the table that an example is shown from.
        broken: true for rows to drop, over the columns as read; null counts as true.
        fix: what to do about it, or a function of the cell that says so.
        junk: the row is wrong, not only of no use here: it counts against the tolerance.
    """

    reason: str
    column: str
    broken: pl.Expr
    fix: str | Callable[[object], str]
    junk: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Sifted:
    """The rows that break no rule, with their `row` numbers, and the account of the others.

    Attributes:
        rows: columns as read, and `row` (UInt32, from 1).
        dropped: reason -> rows, in the order of the rules.
        notes: a sentence for each reason that occurred: rows, first row, value, fix.
    """

    rows: pl.DataFrame
    dropped: dict[str, int]
    notes: tuple[str, ...]


def sift(
    raw: pl.DataFrame,
    read: pl.DataFrame,
    rules: Sequence[Rule],
    source: str,
    tolerance: float,
    called: Mapping[str, str] | None = None,
) -> Sifted:
    """Drop rows by rules; a row is counted under the first rule that it breaks.

    Args:
        raw: cells as they are in the file, for messages; (m) rows.
        read: the same rows as typed columns.
        source: what messages call the table: the file's name.
        tolerance: share of all rows that may be junk, in [0, 1].
        called: our column name -> the file's, for messages.

    Raises:
        TableError: more junk than tolerated, or no row is left.
    """
    if not 0.0 <= tolerance <= 1.0:
        raise ValueError(f"tolerance is {tolerance}: give a share between 0 and 1")
    if not (rows_said := filled(raw)).all():
        rules = [
            Rule(
                "empty rows",
                raw.columns[0],
                ~pl.lit(rows_said),
                "fill them or leave them out",
                junk=False,
            ),
            *rules,
        ]
    breaks = read.select(
        pl.coalesce(
            pl.when(rule.broken.fill_null(True)).then(pl.lit(i, pl.Int32))
            for i, rule in enumerate(rules)
        ).alias("rule")
    )["rule"]
    counts = {rules[i]: n for i, n in breaks.drop_nulls().value_counts().iter_rows()}
    notes = {
        rule: _note(
            rule,
            counts[rule],
            (called or {}).get(rule.column, rule.column),
            raw[rule.column],
            (breaks == i).arg_max() or 0,
        )
        for i, rule in enumerate(rules)
        if rule in counts
    }
    junk = [rule for rule in notes if rule.junk]
    worst = sum(counts[rule] for rule in junk)
    if worst > tolerance * raw.height:
        raise TableError(
            f"{source}: {say_rows(worst)} of {raw.height} cannot be used, more than the "
            f"tolerance of {tolerance:.1%}. " + " ".join(notes[rule] for rule in junk)
        )
    rows = read.with_row_index("row", offset=1).filter(breaks.is_null())
    if rows.is_empty():
        raise TableError(
            f"{source}: none of {say_rows(raw.height)} is left. " + " ".join(notes.values())
        )
    dropped = {rule.reason: counts.get(rule, 0) for rule in rules}
    return Sifted(rows, dropped, tuple(notes.values()))


def filled(table: pl.DataFrame) -> pl.Series:
    """Which rows have a cell that says anything, (m,): spreadsheets save the lines below their
    last one, which is nobody's slip.
    """
    none = pl.repeat(False, table.height, eager=True)
    return table.select(
        pl.any_horizontal(none, *(_said(table[name]).alias(name) for name in table.columns))
    ).to_series()


def _said(column: pl.Series) -> pl.Series:
    """Whether a cell says anything."""
    return to_text(column).is_not_null() if column.dtype == pl.String else column.is_not_null()


def _note(rule: Rule, count: int, column: str, cells: pl.Series, first: int) -> str:
    value = cells[first]
    cell = "empty" if value is None else f"{str(value)!r:.60}"
    fix = rule.fix if isinstance(rule.fix, str) else rule.fix(value)
    where = f"column {column!r}, row {first + 1} ({cell})"
    return f"{rule.reason}: {say_rows(count)}, first in {where}; {fix}."


def say_rows(count: int) -> str:
    """1 row, 2 rows."""
    return "1 row" if count == 1 else f"{count} rows"


def check_unique(table: pl.DataFrame, key: Sequence[str], source: str) -> None:
    """Raise TableError naming the first row whose `key` an earlier row has."""
    again = table.select(~pl.struct(key).is_first_distinct())[:, 0]
    if again.any():
        first = again.arg_max() or 0
        found = ", ".join(f"{name} {table[name][first]!r}" for name in key)
        raise TableError(
            f"{source}: row {first + 1} has {found}, as an earlier row has ({again.sum()} such "
            "rows): leave one of them"
        )
