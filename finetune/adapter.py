"""LoRA put into an encoder, new or from an earlier run, and taken out of it as a PEFT folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from encoders import base_weights, model_folder
from encoders.adapter import load_adapter
from encoders.model import load_model
from finetune.layers import adapted_modules
from finetune.recipe import Recipe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def prepared(
    base: str, recipe: Recipe, init: Path | None = None, *, checkpointing: bool = False
) -> SentenceTransformer:
    """The base model with an adapter that can be trained.

    Args:
        base: hub name or local folder. init: an earlier adapter's folder to go on from, with the
            recipe's `init_share` of what it changes; its rank and layers count, not the recipe's.
            checkpointing: layers' outputs are computed again in the backward pass, which takes
            less memory and more time.

    Raises:
        encoders.EncoderError: the base is nowhere, or cannot be loaded.
        encoders.AdapterError: `init` is none, or does not fit the base.
        finetune.layers.NotATransformer, ValueError: no layers to adapt, or not those asked for.
    """
    from peft import LoraConfig, get_peft_model

    folder = model_folder(base)
    if init is not None:
        base_weights.check(init, folder)
    encoder = load_model(folder, "cpu")
    transformer: Any = encoder[0].auto_model
    for parameter in encoder.parameters():
        parameter.requires_grad = False
    torch.manual_seed(recipe.seed)  # LoRA's A is drawn
    if init is not None:
        adapted = load_adapter(transformer, init, trainable=True)
        _shrink(adapted, recipe.init_share)
    else:
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules=adapted_modules(transformer, recipe.layers, recipe.modules),
            use_rslora=recipe.rslora,
            use_dora=recipe.dora,
        )
        logging.getLogger("peft").setLevel(logging.ERROR)
        adapted = get_peft_model(transformer, config)
    encoder[0].model = adapted
    if checkpointing:
        transformer.gradient_checkpointing_enable({"use_reentrant": False})
    return encoder


def _shrink(adapted: torch.nn.Module, share: float) -> None:
    """Leave so much of what an adapter changes of the weights."""
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name or "lora_embedding_B" in name:  # the change is B A
                parameter.mul_(share)
        for layer in adapted.modules():
            for magnitude in getattr(layer, "lora_magnitude_vector", {}).values():
                # DoRA's magnitudes were the lengths of the base's vectors before it was trained
                base: Any = layer.get_base_layer()  # type: ignore[operator]
                before = base.weight.norm(dim=0 if isinstance(base, torch.nn.Embedding) else 1)
                magnitude.weight.copy_(torch.lerp(before, magnitude.weight, share))


def trainable_share(encoder: SentenceTransformer) -> float:
    """Trained parameters of the encoder over all that it had before."""
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    return float(trained / (sum(p.numel() for p in encoder.parameters()) - trained))


def save(encoder: SentenceTransformer, folder: Path) -> None:
    """Write the adapter as PEFT does: `adapter_config.json`, `adapter_model.safetensors`."""
    encoder[0].auto_model.save_pretrained(str(folder))


def save_merged(encoder: SentenceTransformer, folder: Path) -> None:
    """Write the whole model with the adapter merged in, for users without PEFT. Ends training."""
    encoder[0].model = encoder[0].auto_model.merge_and_unload()
    encoder.save(str(folder))
