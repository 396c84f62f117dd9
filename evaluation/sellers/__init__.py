"""Policies that compete, by name. Adding one is a file and a line in `SELLERS`."""

from evaluation.sellers.fitted_programme import FittedProgramme
from evaluation.sellers.fixed import CostPlus, Fixed
from evaluation.sellers.linucb import LinUCB
from evaluation.sellers.peers import PEERS, unavailable
from evaluation.sellers.predictive import Predictive
from evaluation.sellers.pricebandit import PriceBandit
from evaluation.sellers.protocol import Maker, Sales, Seller, Today
from evaluation.sellers.rules import Rules
from evaluation.sellers.semiparametric import Semiparametric
from evaluation.sellers.stock_aware import ActorCriticSeller, BayesProgramme, DeepQSeller
from evaluation.sellers.thompson import Thompson
from evaluation.sellers.ucb1 import UCB1

SELLERS: dict[str, Maker] = {
    "pricebandit": PriceBandit,
    "fixed": Fixed,
    "cost-plus": CostPlus,
    "rules": Rules,
    "predictive": Predictive,
    "ucb1": UCB1,
    "thompson": Thompson,
    "linucb": LinUCB,
    "semiparametric": Semiparametric,
    "fitted-programme": FittedProgramme,
    "bayes-programme": BayesProgramme,
    "deep-q": DeepQSeller,
    "actor-critic": ActorCriticSeller,
    **PEERS,
}

__all__ = ["SELLERS", "Maker", "Sales", "Seller", "Today", "unavailable"]
