"""A PEFT adapter put onto the transformer of a loaded model."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import AdapterError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["merge_adapter"]


def merge_adapter(model: "SentenceTransformer", folder: Path) -> None:
    """Load the adapter in ``folder`` and merge it into the model's transformer, in place.

    Merged, an adapted model encodes as fast as a plain one.

    Raises:
        AdapterError: the adapter was made for another model, misses weights, or is of a kind that
            cannot be merged (prompt and prefix tuning).
    """
    from peft import PeftModel

    transformer: Any = model[0]
    if getattr(transformer, "auto_model", None) is None:
        raise AdapterError(
            f"adapter {str(folder)!r}: the model's first module, {type(transformer).__name__}, "
            "has no transformer to adapt; give a transformer model or no adapter"
        )
    try:
        with warnings.catch_warnings():
            # peft only warns when weights are missing, and would then encode unadapted.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            adapted = PeftModel.from_pretrained(transformer.auto_model, str(folder))
            transformer.model = adapted.merge_and_unload()
    except Exception as error:
        # peft raises whatever its parsers and torch do; the caller needs to know which folder.
        raise AdapterError(
            f"adapter {str(folder)!r} does not fit the model: {type(error).__name__}: {error}. "
            "Give an adapter that was trained on this model and can be merged (LoRA and its kin)"
        ) from error
