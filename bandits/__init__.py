"""Price ladders, limits, the demand model with its linear-UCB head, and the choice of a price."""

from bandits.alignment import Alignment
from bandits.amounts import amounts
from bandits.category_days import CategoryDays
from bandits.choice import best_arm, draw, inverse_gap, softmax, uniforms
from bandits.currencies import MINOR_DIGITS, minor_per_major
from bandits.curves import CurveBank
from bandits.evidence import Evidence, Posterior
from bandits.features import DIM, VERSION, Context
from bandits.guesses import (
    GuessModel,
    Sources,
    as_charged,
    beside_competitor,
    usual_markup,
    whole_numbers,
)
from bandits.ladders import Ladders, geometric_ladders
from bandits.limits import GUARDRAILS, Limits, limits
from bandits.linucb import LinearUCB
from bandits.objectives import Objective
from bandits.plans import Stock
from bandits.policy import Policy
from bandits.population import Effect, Known, Population
from bandits.records import Decisions, Estimates, Listings, Outcomes, Rules
from bandits.training import TrunkSettings
from bandits.trunk import Trunk
from bandits.words import word_ids

__all__ = [
    "DIM",
    "GUARDRAILS",
    "MINOR_DIGITS",
    "VERSION",
    "Alignment",
    "CategoryDays",
    "Context",
    "CurveBank",
    "Decisions",
    "Effect",
    "Estimates",
    "Evidence",
    "GuessModel",
    "Known",
    "Ladders",
    "Limits",
    "LinearUCB",
    "Listings",
    "Objective",
    "Outcomes",
    "Policy",
    "Population",
    "Posterior",
    "Rules",
    "Sources",
    "Stock",
    "Trunk",
    "TrunkSettings",
    "amounts",
    "as_charged",
    "beside_competitor",
    "best_arm",
    "draw",
    "geometric_ladders",
    "inverse_gap",
    "limits",
    "minor_per_major",
    "softmax",
    "uniforms",
    "usual_markup",
    "whole_numbers",
    "word_ids",
]
