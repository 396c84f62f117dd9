from pathlib import Path

import numpy as np
import polars as pl
import pytest

from markets import BRANDS, TableError, elasticities, read_orange_juice

OUNCES = [64, 96, 64, 64, 64, 96, 64, 64, 64, 64, 128]


def small(weeks: int = 30, promotion: float = 0.0) -> pl.DataFrame:
    """Two stores that sell all brands, demand exactly log-linear; elasticity -2 and -3."""
    stream = np.random.default_rng(0)
    rows = []
    for store, elasticity in ((5, -2.0), (8, -3.0)):
        for week in range(40, 40 + weeks):
            prices = stream.uniform(0.02, 0.06, 11)  # USD per ounce
            for brand in range(1, 12):
                feat = float(stream.random() < 0.3)
                move = 3.0 + elasticity * np.log(prices[brand - 1]) + promotion * feat
                rows.append((store, brand, week, move, 1, *prices, 0, feat, 30.0))
    names = ["store", "brand", "week", "logmove", "constant"]
    names += [f"price{i}" for i in range(1, 12)] + ["deal", "feat", "profit"]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_prices_costs_and_units_are_of_packages(tmp_path: Path) -> None:
    table = small()
    path = tmp_path / "yx.csv"
    # R writes row names in a column without a name
    table.with_row_index("", offset=1).write_csv(path)
    data = read_orange_juice(path)
    table = table.sort("store", "brand", "week")
    assert len(BRANDS) == 11
    assert data.prices.shape == (660, 11)
    np.testing.assert_array_equal(data.brand, table["brand"].to_numpy() - 1)
    np.testing.assert_allclose(data.prices[:, 5], table["price6"].to_numpy() * 96)
    own = data.prices[np.arange(660), data.brand]
    np.testing.assert_array_equal(data.price, own)
    np.testing.assert_allclose(data.unit_cost, own * 0.7)
    ounces = data.units * np.array(OUNCES)[data.brand]
    np.testing.assert_allclose(ounces, np.exp(table["logmove"].to_numpy()))
    assert sum(data.dropped.values()) == 0


def test_the_elasticities_of_a_known_demand_come_back(tmp_path: Path) -> None:
    small(promotion=0.8).write_parquet(tmp_path / "yx.parquet")
    data = read_orange_juice(tmp_path / "yx.parquet")
    found = elasticities(data)
    np.testing.assert_array_equal(found.store, [5, 8])
    np.testing.assert_allclose(found.by_store, [-2, -3], atol=1e-9)
    np.testing.assert_allclose(found.by_brand, np.repeat([[-2.0], [-3.0]], 11, axis=1), atol=1e-9)
    assert (found.standard_error < 1e-9).all()
    # without promotions what they sold is noise
    assert (elasticities(data, promotions=False).standard_error > 0.01).all()


def test_a_brand_with_few_weeks_or_one_price_has_no_elasticity(tmp_path: Path) -> None:
    table = small().filter((pl.col("brand") != 2) | (pl.col("week") < 50))
    table = table.with_columns(pl.lit(0.03).alias("price4"))
    table.write_parquet(tmp_path / "yx.parquet")
    found = elasticities(read_orange_juice(tmp_path / "yx.parquet"))
    assert np.isnan(found.by_brand).nonzero()[1].tolist() == [1, 3, 1, 3]
    np.testing.assert_allclose(found.by_store, [-2, -3], atol=1e-9)
    table.filter(pl.col("week") < 50).write_parquet(tmp_path / "short.parquet")
    assert np.isnan(elasticities(read_orange_juice(tmp_path / "short.parquet")).by_store).all()


def test_the_second_of_two_equal_keys_is_dropped_and_named(tmp_path: Path) -> None:
    table = small()
    pl.concat([table, table[:2]]).write_parquet(tmp_path / "twice.parquet")
    data = read_orange_juice(tmp_path / "twice.parquet")
    assert data.store.size == 660
    assert data.dropped["store, brand and week occur twice"] == 2
    assert "row 661" in data.notes[0]
    with pytest.raises(TableError, match="2 rows of 662 cannot be used"):
        read_orange_juice(tmp_path / "twice.parquet", tolerance=0.001)


def test_the_real_file(orange_juice_path: Path) -> None:
    data = read_orange_juice(orange_juice_path)
    # The whole file has 83 stores; a part of it is at hand.
    assert data.store.size == 95_931
    assert np.unique(data.store).size == 75
    assert sum(data.dropped.values()) == 0
    # the file counts ounces: in packages of each brand's size they are whole, in every row
    assert np.abs(data.units - np.rint(data.units)).max() < 1e-5
    assert np.mean(data.unit_cost / data.price) == pytest.approx(0.72, abs=0.01)
    naive, controlled = (elasticities(data, promotions=p).by_store for p in (False, True))
    assert naive.mean() == pytest.approx(-2.96, abs=0.01)
    assert controlled.mean() == pytest.approx(-2.33, abs=0.01)
    assert (naive < 0).all()
    assert (controlled < 0).all()
