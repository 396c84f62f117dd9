"""Recorded sales, read and cleaned, and simulated buyers."""

from markets.buyers import FAMILIES, Buyers
from markets.catalogue import RECORD_DAYS, RECORD_SEED, load_catalogue
from markets.history import LISTING_COLUMNS, SALES_COLUMNS, History
from markets.online_retail import read_online_retail

__all__ = [
    "FAMILIES",
    "LISTING_COLUMNS",
    "RECORD_DAYS",
    "RECORD_SEED",
    "SALES_COLUMNS",
    "Buyers",
    "History",
    "load_catalogue",
    "read_online_retail",
]
