"""Made-up titles for benchmarks: short, distinct, the same for the same seed."""

import numpy as np

_LOOKS = (
    "red", "blue", "vintage", "large", "small", "striped", "oak", "ceramic", "folding", "hand made",
    "retro spot", "pink polka dot", "antique silver", "glow in the dark", "set of 3", "set of 6",
    "regency", "woodland", "french floral", "cream enamel", "travel", "mini", "giant", "organic",
)  # fmt: skip
_THINGS = (
    "mug", "lunch bag", "cake stand", "table lamp", "water bottle", "photo frame", "door mat",
    "heart decoration", "night light", "cushion cover", "storage jar", "tea towel", "wall clock",
    "card holder", "party bunting", "sewing kit", "bird feeder", "wicker basket", "alarm clock",
    "colouring book", "mixing bowl", "hot water bottle", "bath mat", "paper chain kit",
)  # fmt: skip
_EXTRAS = (
    "", "with lid", "in a gift box", "for the garden", "for children", "with drawstring", "250 ml",
    "30 x 40 cm", "two sided", "machine washable", "with battery", "for christmas", "cotton",
)  # fmt: skip


def titles(n: int, seed: int = 1) -> list[str]:
    """n distinct titles of some seven words."""
    chance = np.random.default_rng(seed)
    words = zip(
        *(chance.choice(w, n).tolist() for w in (_LOOKS, _LOOKS, _THINGS, _EXTRAS)), strict=True
    )
    # a model number, as many catalogues have them, keeps every title apart from the others
    return [f"{' '.join(filter(None, w))} {1000 + i}" for i, w in enumerate(words)]
