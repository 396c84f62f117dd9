"""Teaching the encoder what matters for price: LoRA on a sales history, judged on the unseen."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.augmentation import Augmentation
    from finetune.probes import Probe, embedding_probes, grouped_folds, lexical_probe
    from finetune.products import Products, products_of, read_products
    from finetune.recipe import Recipe
    from finetune.tuned import Hardware, Listener, Tuned
    from finetune.tuning import tune

_HOMES = {
    "Augmentation": "augmentation",
    "Hardware": "tuned",
    "Listener": "tuned",
    "Probe": "probes",
    "Products": "products",
    "Recipe": "recipe",
    "Tuned": "tuned",
    "embedding_probes": "probes",
    "grouped_folds": "probes",
    "lexical_probe": "probes",
    "products_of": "products",
    "read_products": "products",
    "tune": "tuning",
}

__all__ = [
    "Augmentation",
    "Hardware",
    "Listener",
    "Probe",
    "Products",
    "Recipe",
    "Tuned",
    "embedding_probes",
    "grouped_folds",
    "lexical_probe",
    "products_of",
    "read_products",
    "tune",
]


def __getattr__(name: str) -> object:
    # probes need neither torch nor peft
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
