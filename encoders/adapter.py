"""A PEFT adapter put onto the transformer of a loaded model."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import AdapterError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["adapter_folder", "load_adapter", "merge_adapter"]


def adapter_folder(adapter: str | Path) -> Path:
    """An adapter's folder in full, whether it is there or not.

    Raises:
        AdapterError: it is no path that can be followed.
    """
    try:
        return Path(adapter).expanduser().resolve()
    except RuntimeError as error:  # ~ of a user who is not there, links in a circle
        raise AdapterError(f"adapter {adapter} is no path ({error}): give one in full") from None


def load_adapter(transformer: Any, folder: Path, *, trainable: bool = False) -> Any:
    """The transformer with the adapter in ``folder`` put onto it, a ``PeftModel``.

    Raises:
        AdapterError: the adapter was made for another model, or misses weights.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    try:
        with warnings.catch_warnings():
            # peft only warns when weights are missing, and would then encode unadapted.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            adapted = PeftModel.from_pretrained(transformer, str(folder), is_trainable=trainable)
        with safe_open(folder / "adapter_model.safetensors", "pt") as file:
            # and passes over what belongs to layers that the model does not have
            # (with embeddings, which PEFT may have written; asked to find out, it asks the hub)
            taken = get_peft_model_state_dict(adapted, save_embedding_layers=True)
            left = sorted(set(file.keys()) - taken.keys())
        if left:
            raise ValueError(
                f"the model has no place for {len(left)} of its weights, {left[0]} ..."
            )
    except Exception as error:
        # peft raises whatever its parsers and torch do; the caller needs to know which folder.
        raise AdapterError(
            f"adapter {str(folder)!r} does not fit the model: {type(error).__name__}: {error}. "
            "Give an adapter that was trained on this model"
        ) from error
    return adapted


def merge_adapter(model: "SentenceTransformer", folder: Path) -> None:
    """Load the adapter in ``folder`` and merge it into the model's transformer, in place.

    Merged, an adapted model encodes as fast as a plain one.

    Raises:
        AdapterError: the adapter was made for another model, misses weights, or is of a kind that
            cannot be merged (prompt and prefix tuning).
    """
    transformer: Any = model[0]
    if getattr(transformer, "auto_model", None) is None:
        raise AdapterError(
            f"adapter {str(folder)!r}: the model's first module, {type(transformer).__name__}, "
            "has no transformer to adapt; give a transformer model or no adapter"
        )
    adapted = load_adapter(transformer.auto_model, folder)
    try:
        transformer.model = adapted.merge_and_unload()
    except Exception as error:  # whatever peft's kinds of adapters raise
        raise AdapterError(
            f"adapter {str(folder)!r} cannot be merged: {type(error).__name__}: {error}. "
            "Give one that can (LoRA and its kin)"
        ) from error
