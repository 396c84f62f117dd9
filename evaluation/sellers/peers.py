"""Public packages as sellers, each with its defaults and with settings tuned for this market.

The tuned settings are the best of `benchmarks/peers.py` over all three regimes on seeds that no
reported figure uses; docs/sellers.md has the table.
"""

from __future__ import annotations

from functools import partial

from evaluation.sellers.contextual_bandits import (
    BootstrappedTS,
    BootstrapSettings,
    LinTS,
    LinTSSettings,
)
from evaluation.sellers.mabwiser_linucb import LinUCB, LinUCBSettings
from evaluation.sellers.packages import reason
from evaluation.sellers.protocol import Maker
from evaluation.sellers.vowpal import Cats, CatsSettings, SquareCB, SquareCBSettings

TUNED_SQUARECB = SquareCBSettings(gamma_scale=100.0, learning_rate=5.0)
TUNED_CATS = CatsSettings(actions=4, bandwidth=0.2, best=1.0)
TUNED_LINUCB = LinUCBSettings(alpha=0.3)
TUNED_LINTS = LinTSSettings(v_sq=1.0, lambda_=10.0)
TUNED_BOOTSTRAP = BootstrapSettings(demand=True)

PEERS: dict[str, Maker] = {
    "vw-squarecb": SquareCB,
    "vw-squarecb-tuned": partial(SquareCB, settings=TUNED_SQUARECB),
    "vw-cats": Cats,
    "vw-cats-tuned": partial(Cats, settings=TUNED_CATS),
    "mabwiser-linucb": LinUCB,
    "mabwiser-linucb-tuned": partial(LinUCB, settings=TUNED_LINUCB),
    "cb-lints": LinTS,
    "cb-lints-tuned": partial(LinTS, settings=TUNED_LINTS),
    "cb-bootstrapped-ts": BootstrappedTS,
    "cb-bootstrapped-ts-tuned": partial(BootstrappedTS, settings=TUNED_BOOTSTRAP),
}

_PACKAGES = {"vw": "vowpalwabbit", "mabwiser": "mabwiser", "cb": "contextualbandits"}


def package(name: str) -> str:
    """The package that a peer is of."""
    return _PACKAGES[name.split("-")[0]]


def unavailable() -> dict[str, str]:
    """Peers that cannot be made here, by name, and why."""
    reasons = {name: reason(package(name)) for name in PEERS}
    return {name: why for name, why in reasons.items() if why is not None}
