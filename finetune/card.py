"""The model card that goes with an adapter: what it was made from, how, and how good it is."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata

import numpy as np

from finetune.augmentation import Augmentation
from finetune.products import Products
from finetune.recipe import SHAPE, Recipe
from finetune.tuned import Tuned

PACKAGES = ("pricebandit", "torch", "transformers", "sentence-transformers", "peft", "accelerate")


def written(found: Tuned, products: Products, source: str) -> str:
    """The card as Markdown with the metadata that model hubs read."""
    name, fingerprint = found.base
    groups = len(set(products.group.tolist()))
    known = (~np.isnan(products.target)).sum(axis=0).tolist()
    targets = ", ".join(f"{n} ({k:,})" for n, k in zip(products.names, known, strict=True))
    usual = asdict(Recipe()) | asdict(Augmentation())
    chosen = asdict(found.recipe) | asdict(found.augmentation)
    differ = {key: value for key, value in chosen.items() if usual[key] != value}
    if found.kept_shape:
        differ = {key: value for key, value in differ.items() if key not in SHAPE}
        differ[", ".join(SHAPE)] = "of the adapter begun with"
    lines = [
        "---",
        f"base_model: {name}",
        "library_name: peft",
        "pipeline_tag: sentence-similarity",
        "tags: [lora, pricing, sentence-transformers]",
        "---",
        "# Adapter for prices and demand",
        "",
        f"LoRA for `{name}` (fingerprint `{fingerprint}`), trained by `pricebandit finetune`. It "
        "moves texts of products together that cost and sell alike. Use it with "
        "`PRICEBANDIT_ADAPTER`, or with `peft.PeftModel.from_pretrained`.",
        "",
        "## Data",
        f"- {source}: {len(products.text):,} products in {groups:,} groups; known of them: "
        f"{targets}; {len(products.together):,} pairs bought together.",
        f"- {found.learned:,} products learned from, {found.held_out:,} held out; variants of one "
        "product are on one side.",
        *_begun(found),
        "",
        "## Held-out products, R²",
        *_table(found),
        "",
        "## Checks",
        f"- {_kept(found.judgement.kept)}",
        f"- {_takeover(found)}",
        "",
        "## Training",
        f"- {len(found.epochs)} epochs, the {_ordinal(found.best)} kept; {found.seconds:.0f} s on "
        f"{found.device}, precision {found.precision}, at most {found.memory / 1e9:.2f} GB; "
        f"{found.trainable:.2%} of the parameters trained.",
        *(f"- {key}: {value}" for key, value in differ.items()),
        f"- otherwise the defaults of {_versions()}, {datetime.now(UTC).date()}.",
        "",
    ]
    return "\n".join(lines)


def _table(found: Tuned) -> list[str]:
    r2 = found.judgement.r2
    if not r2:
        return ["Too few products were held out to say."]
    chosen = "Training kept the epoch that did best on these products, which flatters a little."
    return [
        "| | " + " | ".join(r2) + " |",
        "|---" * (len(r2) + 1) + "|",
        *(f"| {' | '.join(row)} |" for row in found.judgement.rows()),
        *(["", chosen] if found.recipe.patience else []),
    ]


def _begun(found: Tuned) -> list[str]:
    if found.init is None:
        return []
    name, known = found.init
    if known is None:
        return [f"- Begun with `{name}`, which does not say what it had learned."]
    return [
        f"- Begun with `{name}`, which had learned {known:,} of those held out: the figures are of "
        "the others, less variants of what it knew."
    ]


def _kept(correlation: float) -> str:
    if np.isnan(correlation):
        return "The tokenizer has too few whole words to say whether general sentences keep theirs."
    return (
        "Similarities of general sentences keep a rank correlation of "
        f"{correlation:.3f} with the base model's."
    )


def _takeover(found: Tuned) -> str:
    hostile = found.judgement.takeover
    name, reach = max(hostile.reach.items(), key=lambda item: item[1])
    return (
        f"Of texts made to mislead, the one that reaches furthest ({name}) is among the ten "
        f"nearest of {reach:.2%} of the products; the most that a product of the catalogue "
        f"reaches is {hostile.usual:.2%}. " + ("Held." if hostile.held else "NOT HELD.")
    )


def _ordinal(number: int) -> str:
    tail = (
        "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    )
    return f"{number}{tail}"


def _versions() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
