import numpy as np
import polars as pl
import pytest

from finetune.response import price_responses


def sales_of(rows):
    return pl.DataFrame(rows, schema=["listing_id", "price", "units", "impressions"], orient="row")


def test_elasticity_is_found_as_surely_as_it_can_be():
    rng = np.random.default_rng(0)
    found, said = [], []
    for i in range(300):
        price = np.exp(rng.uniform(-0.2, 0.2, 30))
        n = rng.integers(100, 300, 30)
        units = rng.poisson(n * 0.1 * price**-1.5)
        rows = zip([str(i)] * 30, price.tolist(), units.tolist(), n.tolist(), strict=True)
        (row,) = price_responses(sales_of(list(rows))).rows()
        found.append(row[1])
        said.append(row[2])
    assert np.mean(found) == pytest.approx(1.5, abs=0.05)
    assert np.var(found) == pytest.approx(np.mean(said), rel=0.25)


def test_what_says_nothing_of_a_response_is_left_out():
    found = price_responses(
        sales_of(
            [
                ("one price", 2.0, 3, 40), ("one price", 2.0, 5, 50),
                ("unsold", 2.0, 0, 40), ("unsold", 3.0, 0, 40),
                ("unseen", 2.0, 3, None), ("unseen", 3.0, 1, None),
                ("told", 2.0, 9, 40), ("told", 3.0, 4, 40),
            ]
        )
    )  # fmt: skip
    assert found["listing_id"].to_list() == ["told"]
    assert found["response"][0] > 0
