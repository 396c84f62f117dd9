"""Recorded sales, read and cleaned, and simulated buyers."""

from markets.baskets import bought_together
from markets.buyers import Buyers
from markets.calendar import Calendar
from markets.catalogue import RECORD_DAYS, RECORD_SEED, load_catalogue
from markets.conditions import Conditions
from markets.demand import FAMILIES
from markets.environments import MARKETS, ListingEnv, ListingVectorEnv, register
from markets.history import (
    LINE_COLUMNS,
    LISTING_COLUMNS,
    SALES_COLUMNS,
    SALES_EXTRAS,
    History,
)
from markets.knowledge import REGIMES, Knowledge, Regime
from markets.online_retail import is_online_retail, read_online_retail, retail_lines
from markets.open_bandit import OpenBandit, read_open_bandit
from markets.orange_juice import BRANDS, Elasticities, OrangeJuice, elasticities, read_orange_juice
from markets.price_experiment import PriceExperiment, read_price_experiment
from markets.price_list import PRICE_COLUMNS, PriceList, price_list, read_price_list
from markets.sales_table import is_sales_table, read_sales_table, sales_lines
from markets.season import Day, Season
from markets.tables import SHEET, TableError, read_table
from markets.world import World

__all__ = [
    "BRANDS",
    "FAMILIES",
    "LINE_COLUMNS",
    "LISTING_COLUMNS",
    "MARKETS",
    "PRICE_COLUMNS",
    "RECORD_DAYS",
    "RECORD_SEED",
    "REGIMES",
    "SALES_COLUMNS",
    "SALES_EXTRAS",
    "SHEET",
    "Buyers",
    "Calendar",
    "Conditions",
    "Day",
    "Elasticities",
    "History",
    "Knowledge",
    "ListingEnv",
    "ListingVectorEnv",
    "OpenBandit",
    "OrangeJuice",
    "PriceExperiment",
    "PriceList",
    "Regime",
    "Season",
    "TableError",
    "World",
    "bought_together",
    "elasticities",
    "is_online_retail",
    "is_sales_table",
    "load_catalogue",
    "price_list",
    "read_online_retail",
    "read_open_bandit",
    "read_orange_juice",
    "read_price_experiment",
    "read_price_list",
    "read_sales_table",
    "read_table",
    "retail_lines",
    "sales_lines",
]

register()
