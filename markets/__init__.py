"""Recorded sales, read and cleaned, and simulated buyers."""

from markets.buyers import Buyers
from markets.calendar import Calendar
from markets.catalogue import RECORD_DAYS, RECORD_SEED, load_catalogue
from markets.conditions import Conditions
from markets.demand import FAMILIES
from markets.environments import MARKETS, ListingEnv, ListingVectorEnv, register
from markets.history import LISTING_COLUMNS, SALES_COLUMNS, SALES_EXTRAS, History
from markets.knowledge import REGIMES, Knowledge, Regime
from markets.online_retail import read_online_retail
from markets.open_bandit import OpenBandit, read_open_bandit
from markets.orange_juice import BRANDS, Elasticities, OrangeJuice, elasticities, read_orange_juice
from markets.price_experiment import PriceExperiment, read_price_experiment
from markets.sales_table import read_sales_table
from markets.season import Day, Season
from markets.tables import TableError, read_table
from markets.world import World

__all__ = [
    "BRANDS",
    "FAMILIES",
    "LISTING_COLUMNS",
    "MARKETS",
    "RECORD_DAYS",
    "RECORD_SEED",
    "REGIMES",
    "SALES_COLUMNS",
    "SALES_EXTRAS",
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
    "Regime",
    "Season",
    "TableError",
    "World",
    "elasticities",
    "load_catalogue",
    "read_online_retail",
    "read_open_bandit",
    "read_orange_juice",
    "read_price_experiment",
    "read_sales_table",
    "read_table",
]

register()
