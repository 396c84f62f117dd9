"""A mailed loan offer with a randomised monthly rate: who took it at which price.

Karlan & Zinman, "Credit elasticities in less-developed economies: implications for microfinance",
American Economic Review 98(3), 2008 (openICPSR 113240), describes the experiment: rates were drawn
at random within risk class and wave of the mailing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from markets.checks import Rule, number_fix, sift, to_numbers, to_text
from markets.tables import choose_columns, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RISKS = ("LOW", "MEDIUM", "HIGH")
"""Classes of credit risk, by which the lender set its usual rates."""

COVARIATES = (
    "grossincome", "dependants", "dormancy", "itcscore", "appscore", "lastterm", "lastamount",
    "trcount", "married", "female", "edhi", "age", "rural",
)  # fmt: skip
"""What was known of a client before the offer. Whether he applied was not."""

_NUMBERS = ("wave", "offered_monthly_rate", "took_loan", "loan_size", "gross_interest")
_NAMES: dict[str, tuple[str, ...]] = {
    "offer": ("row",),
    **dict.fromkeys(("risk", *_NUMBERS, *COVARIATES), ()),
}


@dataclass(frozen=True, slots=True, eq=False)
class PriceExperiment:
    """Offers, in the file's order.

    Attributes:
        offer: number of the offer, int64 (m,), unique.
        wave: of the mailing, int64 (m,).
        risk: index into `RISKS`, int64 (m,).
        rate: offered monthly rate, per cent, float64 (m,).
        took_loan: bool (m,).
        loan_size: rand, float64 (m,), 0 where no loan was taken.
        gross_interest: rand earned over the loan's term, float64 (m,), 0 where none was taken.
        covariates: columns as `COVARIATES`, float64, NaN where unknown, (m, 13).
        dropped: reason in plain words -> rows of the file.
        notes: for each reason that occurred, a sentence with row, cell and fix.
    """

    offer: Ints
    wave: Ints
    risk: Ints
    rate: Floats
    took_loan: npt.NDArray[np.bool_]
    loan_size: Floats
    gross_interest: Floats
    covariates: Floats
    dropped: dict[str, int]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.offer)

    @property
    def stratum(self) -> Ints:
        """Number of the risk class and wave that each rate was drawn within, int64 (m,), from 0."""
        both = np.unique(np.stack([self.risk, self.wave]), axis=1, return_inverse=True)[1]
        return np.asarray(both.reshape(-1), np.int64)


def read_price_experiment(path: str | Path, *, tolerance: float = 0.02) -> PriceExperiment:
    """Read the offers of the price experiment, as `.csv`, `.parquet` or another table.

    Args:
        path: columns wave (from 1), risk (LOW, MEDIUM or HIGH), offered_monthly_rate (per cent),
            took_loan (0 or 1), loan_size, gross_interest, and where known `COVARIATES` and offer
            (or row: a number of its own for each offer); others are ignored.
        tolerance: share of rows that may be junk; they are dropped and reported.

    Raises:
        TableError: a missing column, or more junk than tolerated, the second of two rows with one
            offer among it; the message names column, row (from 1 below the header), cell and fix.
    """
    path = Path(path)
    raw = choose_columns(read_table(path), _NAMES, path.name, ("offer", *COVARIATES))
    if "offer" not in raw.columns:
        raw = raw.with_row_index("offer", offset=1)
    known = [name for name in COVARIATES if name in raw.columns]
    read = pl.DataFrame(
        {
            "risk": to_text(raw["risk"]).str.to_uppercase(),
            **{name: to_numbers(raw[name]) for name in ("offer", *_NUMBERS, *known)},
        }
    )
    sifted = sift(raw, read, _rules(), path.name, tolerance)
    rows = sifted.rows
    unknown = [pl.lit(None, pl.Float64).alias(name) for name in COVARIATES if name not in known]
    covariates = rows.with_columns(unknown).select(COVARIATES).fill_null(float("nan"))
    number = {name: rows[name].to_numpy() for name in ("offer", *_NUMBERS)}
    risk = rows["risk"].replace_strict(RISKS, range(len(RISKS)), return_dtype=pl.Int64)
    return PriceExperiment(
        offer=number["offer"].astype(np.int64),
        wave=number["wave"].astype(np.int64),
        risk=risk.to_numpy(),
        rate=number["offered_monthly_rate"],
        took_loan=number["took_loan"] == 1,
        loan_size=number["loan_size"],
        gross_interest=number["gross_interest"],
        covariates=covariates.to_numpy(),
        dropped=sifted.dropped,
        notes=sifted.notes,
    )


def _rules() -> list[Rule]:
    rate, taken = pl.col("offered_monthly_rate"), pl.col("took_loan")
    rules = [
        Rule(f"{name} cannot be read", name, pl.col(name).is_null(), number_fix)
        for name in ("offer", *_NUMBERS)
    ]
    rules += [
        Rule(
            f"risk is not {', '.join(RISKS)}",
            "risk",
            ~pl.col("risk").is_in(RISKS),
            "name the class that the rate was drawn within",
        ),
        Rule(
            "wave is not a whole number from 1",
            "wave",
            (pl.col("wave") < 1) | (pl.col("wave") % 1 != 0),
            "give the wave of the mailing: 1, 2, ...",
        ),
        Rule(
            "offered_monthly_rate is not above 0 and below 100",
            "offered_monthly_rate",
            (rate <= 0) | (rate >= 100),
            "give the rate per month in per cent, such as 7.75",
        ),
        Rule("took_loan is not 0 or 1", "took_loan", ~taken.is_in([0.0, 1.0]), "write 0 or 1"),
    ]
    for name in ("loan_size", "gross_interest"):
        rules += [
            Rule(f"{name} is below 0", name, pl.col(name) < 0, "give what was lent or earned"),
            Rule(
                f"{name} is above 0 without a loan",
                name,
                (taken == 0) & (pl.col(name) > 0),
                "write 0, or took_loan 1",
            ),
        ]
    again = ~pl.col("offer").is_first_distinct()
    rules.append(
        Rule("numbers of offers occur twice", "offer", again, "leave the right one of the rows in")
    )
    return rules
