"""What text tells of price and demand on unseen products: the figures an encoder has to beat.

Run: python benchmarks/text.py ONLINE_RETAIL_FILE [--cache DIR]
"""

import argparse
from pathlib import Path

import polars as pl

from encoders import EmbeddingCache, Encoder, listing_texts
from finetune import embedding_probes, lexical_probe
from markets import read_online_retail


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("pricebandit-demo/embeddings/listings"))
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--adapter")
    given = parser.parse_args()
    history = read_online_retail(given.data)
    products = (
        history.sales.group_by("listing_id")
        .agg(pl.col("price").median(), pl.len().alias("lines"))
        .filter(pl.col("lines") >= 5)
        .join(history.listings, on="listing_id")
        .sort("listing_id")
    )
    texts = listing_texts(products["title"].to_list())
    vectors = EmbeddingCache(given.cache, Encoder(given.model, adapter=given.adapter)).embed(texts)
    groups = products["family_group"].to_list()
    print(f"{products.height} products in {len(set(groups))} groups, 5 folds, R² on unseen groups")
    for name, column in (("log price", "price"), ("log demand", "lines")):
        target = products[column].log().to_numpy()
        probes = [lexical_probe(texts, target, groups)]
        probes += embedding_probes(vectors.vectors, target, groups)
        for probe in probes:
            print(f"  {name:10} {probe.name:22} {probe.r2:.3f}")


if __name__ == "__main__":
    main()
