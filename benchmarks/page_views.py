"""What it costs to tell who opened a page for who was shown the price, or robots for buyers.

Run: python benchmarks/page_views.py ONLINE_RETAIL_FILE [--seeds 2] [--days 40] [--only fall]
200 listings nobody has sold, costs known, beside 300 whose prices are recorded. Prices are shown in
lists, too, and the dearer a listing, the fewer open its page; or robots open pages now and then.
Share of the gain of one who knows the buyers, over all days and over the last ten: told who was
shown the price, who opened the page, and 1,000 for each listing and day. Texts are read by their
words, for speed. A minute for each row and seed.
"""

from dataclasses import replace

import numpy as np
from moving_demand import MovingStage
from numpy.typing import NDArray
from small_shop import parts_of, shares_of, show, vectors_of

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.sellers.protocol import Sales
from evaluation.trial import hold
from markets import History

SAME = 1000  # impressions, where nobody counts them
MOST = 20.0  # times as many open a page as at the usual price, at most
ROBOTS = 20.0  # times as many open a page as usual where robots do

VIEWS = {
    "page views are all": (0.0, 0.0),
    "page views fall as 1 / √price": (0.5, 0.0),
    "page views fall as 1 / price": (1.0, 0.0),
    "robots on one day in a hundred": (0.0, 0.01),
}
"""Elasticity of page views, and the share of days on which robots open a listing's, by name."""


def told_views(elasticity: float, robots: float) -> type[PriceBandit]:
    """The seller, told page views for impressions."""

    class Views(PriceBandit):
        def learn(self, sales: Sales) -> None:
            dearer = sales.price / np.exp(self._knowledge.guess[sales.rows])
            open_it = np.minimum(dearer**-elasticity, MOST)
            drawn = np.random.default_rng((int(sales.day[0]), 95))
            times = np.where(drawn.random(len(dearer)) < robots, ROBOTS, 1.0)
            views: NDArray[np.int64] = drawn.poisson(sales.impressions * open_it * times)
            super().learn(replace(sales, impressions=views))

    return Views


class Same(PriceBandit):
    """The seller, told the same number for every listing and day."""

    def learn(self, sales: Sales) -> None:
        shown = np.where(sales.impressions > 0, SAME, 0)
        super().learn(replace(sales, impressions=shown))


def shares(history: History, days: int, name: str, seed: int) -> list[tuple[float, float]]:
    """Shares of the clairvoyant's gain, all days' and the last ten's, of each seller."""
    stays = np.ones((days, len(vectors_of(history))))
    here = MovingStage(**parts_of(history, days, seed), conversion=stays, value=stays)
    makers = PriceBandit, told_views(*VIEWS[name]), Same
    return [shares_of(hold(here, maker)) for maker in makers]


if __name__ == "__main__":
    head = (
        f"{'':30} {'who was shown the price':>24} {'who opened the page':>24}"
        f" {'1,000 a day':>24}   (each seed: all days, last ten)"
    )
    show(__doc__, head, VIEWS, shares, (30, 24), fewest=10)
