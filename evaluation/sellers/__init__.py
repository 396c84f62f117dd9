"""Policies that compete, by name. Adding one is a file and a line in `SELLERS`."""

from evaluation.sellers.fixed import CostPlus, Fixed
from evaluation.sellers.pricebandit import PriceBandit
from evaluation.sellers.protocol import Maker, Sales, Seller, Today

SELLERS: dict[str, Maker] = {
    "pricebandit": PriceBandit,
    "fixed": Fixed,
    "cost-plus": CostPlus,
}

__all__ = ["SELLERS", "Maker", "Sales", "Seller", "Today"]
