"""Texts to vectors: canonical texts, the transformer, the embedding cache and its neighbours."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encoders.adapter import adapter_folder
    from encoders.cache import Embedded, EmbeddingCache, TextEncoder
    from encoders.errors import (
        AdapterError,
        CacheWriteError,
        EncoderError,
        ModelNotFoundError,
        WeightsMismatchError,
    )
    from encoders.model import Encoder
    from encoders.neighbours import EXACT_ROWS
    from encoders.source import DEFAULT_MODEL, model_folder
    from encoders.texts import listing_texts, market_texts

_HOMES = {
    "AdapterError": "errors",
    "CacheWriteError": "errors",
    "DEFAULT_MODEL": "source",
    "EXACT_ROWS": "neighbours",
    "Embedded": "cache",
    "EmbeddingCache": "cache",
    "Encoder": "model",
    "EncoderError": "errors",
    "ModelNotFoundError": "errors",
    "TextEncoder": "cache",
    "WeightsMismatchError": "errors",
    "adapter_folder": "adapter",
    "listing_texts": "texts",
    "market_texts": "texts",
    "model_folder": "source",
}

__all__ = [
    "DEFAULT_MODEL",
    "EXACT_ROWS",
    "AdapterError",
    "CacheWriteError",
    "Embedded",
    "EmbeddingCache",
    "Encoder",
    "EncoderError",
    "ModelNotFoundError",
    "TextEncoder",
    "WeightsMismatchError",
    "adapter_folder",
    "listing_texts",
    "market_texts",
    "model_folder",
]


def __getattr__(name: str) -> object:
    # A command line that only prints its help should not wait for numpy, let alone torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
