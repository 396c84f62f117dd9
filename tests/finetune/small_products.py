"""A made-up catalogue whose prices are in its words."""

import numpy as np

from finetune import Products

THINGS = {"mug": 1.0, "lamp": 3.0, "bag": 2.0, "clock": 2.8, "card": -0.5, "vase": 2.2}
LOOKS = {"red": 0.0, "blue": 0.0, "large": 0.8, "mini": -0.8, "silver": 0.5, "paper": -0.5}


def small_products(n=64, seed=0):
    """n products of one thing and two looks each, two variants a group."""
    rng = np.random.default_rng(seed)
    things = rng.choice(list(THINGS), n)
    looks = [rng.choice(list(LOOKS), 2, replace=False) for _ in range(n)]
    text = [f"{' '.join(look)} {thing} {i}" for i, (thing, look) in enumerate(
        zip(things, looks, strict=True))]  # fmt: skip
    price = np.array([THINGS[t] + LOOKS[a] + LOOKS[b] for t, (a, b) in
                      zip(things, looks, strict=True)])  # fmt: skip
    price += rng.normal(0, 0.05, n)
    demand = np.where(np.arange(n) % 3 == 0, np.nan, 4.0 - 0.5 * price)
    target = np.stack([price, demand], axis=1)
    return Products(
        [str(i) for i in range(n)],
        text,
        np.array([str(i // 2) for i in range(n)], object),
        ("log price", "log demand"),
        target,
        np.where(np.isnan(target), 0.0, 1.0),
        np.array([[i, i + 1] for i in range(0, n - 1, 2)], np.int64),
        price,
        np.full(n, 9.0),
    )
