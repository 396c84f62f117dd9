"""Packages that only the peers need, imported when a peer is made."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

EXTRA = "bench"
"""The extra that installs them."""


class MissingPackage(ImportError):
    """A peer was asked for whose package is not installed."""


def reason(package: str) -> str | None:
    """Why a package cannot be used, or None where it can."""
    if find_spec(package) is None:
        return f"{package} is not installed: pip install 'pricebandit[{EXTRA}]'"
    return None


def imported(package: str, module: str | None = None) -> Any:
    """The package, or a module of it.

    Raises:
        MissingPackage: it is not installed; the message names the extra to install.
    """
    missing = reason(package)
    if missing is not None:
        raise MissingPackage(missing, name=package)
    return import_module(module or package)
