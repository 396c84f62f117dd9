"""Tables from disk: one way to read them and to find their columns; `markets.checks` has the rest.

Rows are counted from 1 below the header, in Excel files through all sheets.
"""

from __future__ import annotations

import csv
import difflib
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl
import polars.selectors as cs

SHEET = "number of the sheet"
"""Column that `read_table` adds where it is asked for."""

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

# A row whose cells are in quotes, those within them twice, or have none. Possessive: what does not
# match is found out in one pass.
_CELL = rb'(?:"(?:[^"]++|"")*+"|[^",\n]*+)'
_ROW = re.compile(rb"(?:%b,)*+%b\r?(?:\n|\Z)" % (_CELL, _CELL))


class TableError(ValueError):
    """A file that cannot be read as the table it should be; the message says what to do."""


def read_table(path: str | Path, *, sheets: bool = False) -> pl.DataFrame:
    """Read `.csv`, `.parquet`, `.xlsx` (every sheet, one below the other), `.jsonl` or `.ndjson`.

    Args:
        path: CSV files have commas and a header row, in UTF-8 (with or without a byte-order mark)
            or Windows-1252, of which Latin-1 is a part. Columns of CSV and Excel files come as
            text: a type guessed from the first rows would turn the rest into nulls. So do the
            categories of Parquet files, which are a way to keep text.
        sheets: add a column `SHEET` that numbers the sheets of an Excel file from 1.

    Raises:
        TableError: no such file, another kind of file, not what its ending says, other separators
            than commas, a row with more cells than the header or with stray quotes, or `.xlsx`
            without `fastexcel`.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
        ".xlsx": lambda path: _read_xlsx(path, sheets),
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
    }
    ending = path.suffix.lower()
    if path.is_dir():
        raise TableError(f"{path} is a folder: give the file in it")
    if not path.is_file():
        raise TableError(f"{path}: no such file")
    if ending not in readers:
        raise TableError(f"{path}: give a file that ends in {', '.join(readers)}, not {ending!r}")
    try:
        return readers[ending](path)
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise TableError(f"{path.name} cannot be read as {ending}: {error}") from error


def _read_csv(path: Path) -> pl.DataFrame:
    with path.open("rb") as file:
        first = file.readline()
    if not first.strip():
        raise TableError(f"{path.name} cannot be read as .csv: row of column names is empty")
    if b"\x00" in first:
        raise TableError(f"{path.name} cannot be read as .csv: save it in UTF-8, not UTF-16")
    header = first.decode("iso-8859-1")
    for separator, word in _SEPARATORS.items():
        if separator in header and "," not in header:
            raise TableError(
                f"{path.name}: the header row {header.strip():.80} is separated by {word}: "
                "save the file with commas, and numbers with a decimal point"
            )
    try:
        return pl.read_csv(path, infer_schema=False)
    except pl.exceptions.ComputeError:
        if (row := _row_of_stray_quotes(path)) is not None:
            raise TableError(
                f"{path.name}: {f'row {row}' if row else 'the header row'} has a stray double "
                "quote: put a cell that holds one in double quotes, and write its own twice "
                '("15"" screen")'
            ) from None
        if (ragged := _first_longer_row(path)) is not None:
            raise TableError(
                f"{path.name}: row {ragged} has more cells than the header: put cells that hold "
                'a comma in double quotes ("2,50"), numbers with a decimal point (2.50)'
            ) from None
        # Older spreadsheets save Windows-1252, or Latin-1: a pound sign is one byte.
        if (row := _stray_row(path)) is not None:
            raise TableError(
                f"{path.name}: row {row} is not in UTF-8 as the rest is: save the whole file in it"
            ) from None
        return pl.read_csv(path, infer_schema=False, encoding=_one_byte_encoding(path))


def _row_of_stray_quotes(path: Path) -> int | None:
    """The first row that has double quotes where cells allow none, or does not close them."""
    content = path.read_bytes().removeprefix(BOM_UTF8)
    start = row = 0
    while start < len(content):
        if (found := _ROW.match(content, start)) is None:
            return row
        start, row = found.end(), row + 1
    return None


def _stray_row(path: Path) -> int | None:
    """The first row that is not in UTF-8, where most of what is no ASCII is; else None."""
    content = path.read_bytes()
    try:
        content.decode("utf-8")
        return None
    except UnicodeDecodeError as error:
        first = content[: error.start].count(b"\n")
    read = content.decode("utf-8", "replace")
    bad = read.count("\ufffd")
    good = len(read) - len(read.encode("ascii", "ignore")) - bad
    return first if good >= bad or content.startswith(b"\xef\xbb\xbf") else None


def _one_byte_encoding(path: Path) -> str:
    """Windows-1252, which has quotes and dashes at Latin-1's control codes, unless it cannot be."""
    try:
        path.read_text("cp1252")
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "cp1252"


def _first_longer_row(path: Path) -> int | None:
    with path.open(newline="", encoding="iso-8859-1") as file:
        rows = csv.reader(file)
        width = len(next(rows))
        return next((i for i, row in enumerate(rows, start=1) if len(row) > width), None)


def _read_parquet(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path).with_columns(cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))


def _read_json_lines(path: Path) -> pl.DataFrame:
    if path.stat().st_size == 0:
        raise TableError(f"{path.name} cannot be read as {path.suffix}: the file is empty")
    return pl.read_ndjson(path, infer_schema_length=None)


def _read_xlsx(path: Path, numbered: bool) -> pl.DataFrame:
    try:
        import fastexcel
    except ModuleNotFoundError as error:
        raise TableError(
            f"{path.name}: reading .xlsx needs fastexcel; pip install 'pricebandit[demo]'"
        ) from error
    try:
        book = fastexcel.read_excel(path)
        sheets: list[pl.DataFrame] = [
            book.load_sheet(name, dtypes="string").to_polars().with_columns(pl.lit(i).alias(SHEET))
            for i, name in enumerate(book.sheet_names, start=1)
        ]
    except fastexcel.FastExcelError as error:
        raise TableError(f"{path.name} cannot be read as .xlsx: {error}") from error
    sheets = [sheet for sheet in sheets if sheet.width > 1]
    if not sheets:
        raise TableError(f"{path.name} cannot be read as .xlsx: no sheet has a header row")
    table = pl.concat(sheets, how="diagonal")
    return table if numbered else table.drop(SHEET)


def choose_columns(
    table: pl.DataFrame,
    names: Mapping[str, Sequence[str]],
    source: str,
    optional: Collection[str] = (),
) -> pl.DataFrame:
    """The columns that a loader wants, under its own names; arguments as `find_columns`."""
    found = find_columns(table, names, source, optional)
    return table.select(pl.col(theirs).alias(ours) for ours, theirs in found.items())


def find_columns(
    table: pl.DataFrame,
    names: Mapping[str, Sequence[str]],
    source: str,
    optional: Collection[str] = (),
    *,
    empty: bool = False,
) -> dict[str, str]:
    """Our name -> the table's name, of the columns that a loader wants, in its order.

    Args:
        table: as read.
        names: our name -> names accepted besides, best first; compared in lower case without
            spaces and punctuation.
        source: what messages call the table: the file's name.
        optional: those of our names that may be absent; they are then absent from the answer.
        empty: whether a table without rows will do.

    Raises:
        TableError: a column is missing (with what was found and what looks like it), two have one
            name, or there is no row.
    """
    found: dict[str, list[str]] = {}
    for name in table.columns:
        found.setdefault(_plain(name), []).append(name)
    chosen = {
        ours: next((found[_plain(name)] for name in (ours, *others) if _plain(name) in found), [])
        for ours, others in names.items()
    }
    missing = [ours for ours, name in chosen.items() if not name and ours not in optional]
    if missing:
        accepted = {ours: " or ".join(_accepted(ours, names[ours])) for ours in missing}
        taken = {_plain(twins[0]) for twins in chosen.values() if twins}
        others = {plain: twins for plain, twins in found.items() if plain not in taken}
        raise TableError(
            f"{source}: no column {', '.join(accepted.values())}. "
            f"Found: {', '.join(table.columns) or 'no columns'}."
            f"{_suggestion(missing, names, others)} Rename or add the column; the file needs a "
            "header row."
        )
    for ours, twins in chosen.items():
        if len(twins) > 1:
            raise TableError(
                f"{source}: columns {' and '.join(map(repr, twins))} are both {ours}: leave one, "
                "or rename the other"
            )
    if table.is_empty() and not empty:
        raise TableError(f"{source} has a header and no rows: add row 1 below the header")
    return {ours: names[0] for ours, names in chosen.items() if names}


def _accepted(ours: str, others: Sequence[str]) -> list[str]:
    """Names that a column may have, ours first unless it is spelled among the others."""
    return [*([] if _plain(ours) in map(_plain, others) else [ours]), *others]


def has_columns(table: pl.DataFrame, names: Mapping[str, Sequence[str]]) -> bool:
    """Whether a table has a column for each of `names`, as `find_columns` would find it."""
    found = {_plain(name) for name in table.columns}
    return all(found & {_plain(name) for name in (ours, *others)} for ours, others in names.items())


def _plain(name: str) -> str:
    # of two columns of one name in a file, the reader calls the second so
    return re.sub(r"_duplicated_\d+$|[\W_]", "", name).lower()


def _suggestion(
    missing: Iterable[str], names: Mapping[str, Sequence[str]], found: Mapping[str, list[str]]
) -> str:
    for ours in missing:
        for name in (ours, *names[ours]):
            if alike := difflib.get_close_matches(_plain(name), found, 1):
                return f" Is {found[alike[0]][0]!r} meant as {name!r}?"
    return ""
