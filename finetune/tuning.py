"""From products to an adapter's folder: trained, judged, written; resumed where it was killed."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders import base_weights, trained_texts
from encoders.disk import sync
from encoders.fingerprint import adapter_files, fingerprint_of, model_files
from encoders.source import DEFAULT_MODEL, model_folder
from finetune import adapter, card, checkpoint
from finetune.augmentation import Augmentation
from finetune.judging import judge
from finetune.products import ROUNDING, Products
from finetune.recipe import Recipe
from finetune.training import Epoch, Training, split
from finetune.tuned import Hardware, Listener, Tuned

if TYPE_CHECKING:
    from accelerate import Accelerator

WEIGHTS = "adapter_model.safetensors"
_MERGED = "merged.part"  # names the merged model that a killed run has put in place
_PART = "part"  # folder in which what is delivered is made ready
# What a run that was killed while it delivered may have left, beside its checkpoint.
_DELIVERED = (_PART, "README.md", "adapter_config.json", base_weights.FILE, trained_texts.FILE)


class OutputTaken(ValueError):
    """The output folder holds something that must not be overwritten."""


def tune(
    products: Products,
    output: Path,
    recipe: Recipe | None = None,
    augmentation: Augmentation | None = None,
    *,
    source: str = "a table",
    base: str = DEFAULT_MODEL,
    init: Path | None = None,
    hardware: Hardware | None = None,
    restart: bool = False,
    merged: Path | None = None,
    listener: Listener | None = None,
) -> Tuned:
    """Train an adapter on products and write it to `output`; a killed run goes on where it was.

    Args:
        source: name of the data, for the model card. base: hub name or local folder. init: an
            adapter to go on from. restart: throw away what a killed run left. merged: folder for
            the whole model with the adapter merged in.

    Raises:
        OutputTaken: `output` or `merged` holds files already.
        finetune.checkpoint.AnotherRun: what a killed run left is of another run.
        encoders.EncoderError: base or `init` cannot be used.
        ValueError: too few products, or options that do not fit the model.
        FloatingPointError: training diverged.
        OSError: `output` or `merged` cannot be written; the same call goes on where it was.
    """
    recipe, augmentation = recipe or Recipe(), augmentation or Augmentation()
    hardware, listener = hardware or Hardware(), listener or Listener()
    products = _chosen(products.distinct(), recipe.tasks)
    _check(output, merged, restart)
    accelerator = _accelerator(hardware)
    held = split(products, recipe.held_out, recipe.seed)
    folder = model_folder(base)
    known = np.concatenate([trained_texts.read(part) for part in (folder, init) if part])
    seen = np.isin(trained_texts.marks(products.text), known)
    encoder = adapter.prepared(base, recipe, init, checkpointing=hardware.checkpointing)
    trainable = adapter.trainable_share(encoder)
    fingerprint = fingerprint_of(model_files(folder), adapter_files(init) if init else {})
    training = Training(encoder, products, held, recipe, augmentation, accelerator)
    by = accelerator.num_processes, accelerator.mixed_precision
    identity = _identity(products, recipe, augmentation, fingerprint, by)
    with _written(output):
        output.mkdir(parents=True, exist_ok=True)
    if restart:
        _forget(output)
    if hardware.trackers:
        accelerator.init_trackers("pricebandit-finetune", config=_flat(recipe))
    seconds = _train(training, output, identity, accelerator, listener)
    progress = training.progress
    found = Tuned(
        folder=output,
        judgement=judge(encoder, products, held & ~_with_variants(products, seen), recipe.seed),
        epochs=[
            Epoch(i + 1, recipe.epochs, loss, error, progress.best)
            for i, (loss, error) in enumerate(progress.epochs)
        ],
        best=progress.best,
        learned=int((~held).sum()),
        held_out=int(held.sum()),
        init=_begun(init or folder, known, held & seen) if init or len(known) else None,
        kept_shape=init is not None,
        trainable=trainable,
        seconds=seconds,
        memory=_peak_memory(),
        base=(base, fingerprint_of(model_files(folder), {})),
        recipe=recipe,
        augmentation=augmentation,
        device=str(accelerator.device),
        precision=accelerator.mixed_precision,
        main=accelerator.is_main_process,
    )
    if found.main:
        learned = [
            trained_texts.marks([t for t, h in zip(products.text, held, strict=True) if not h])
        ]
        learned.append(known)
        with _written(*filter(None, (output, merged))):
            _deliver(encoder, found, products, source, folder, merged, learned)
        checkpoint.forget(output)
        (output / _MERGED).unlink(missing_ok=True)
    return found


def _forget(output: Path) -> None:
    """Take away what a killed run left; its checkpoint last, by which the rest is known as its."""
    for name in _DELIVERED:
        if (output / name).is_dir():
            shutil.rmtree(output / name, ignore_errors=True)
        else:
            (output / name).unlink(missing_ok=True)
    checkpoint.forget(output)


@contextmanager
def _written(*folders: Path) -> Iterator[None]:
    """Inside, what keeps a file from being written is said in one way, with the folders it is for.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"{' or '.join(map(str, folders))} cannot be written ({error}): make room, or give "
            "another place; the same command goes on where it was"
        ) from error


def _with_variants(products: Products, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Products, and all that are variants of them, bool (n,)."""
    variant = products.variants()
    return np.asarray(np.isin(variant, variant[rows]))


def _begun(
    folder: Path, known: NDArray[np.uint64], again: NDArray[np.bool_]
) -> tuple[str, int | None]:
    """`Tuned.init` of a run that goes on from what lies in `folder`: its name, and how many of
    those held out it had learned, `again`; None where no text is `known` of it.
    """
    return folder.name, int(again.sum()) if len(known) else None


def _train(
    training: Training,
    output: Path,
    identity: str,
    accelerator: Accelerator,
    listener: Listener,
) -> float:
    """Train to the end, from where a killed run of the same identity was; seconds it took,
    the killed run's until its last checkpoint included.
    """
    before = 0.0
    if (state := checkpoint.load(output, identity)) is not None:
        training.resume(state)
        before = state.get("seconds", 0.0)
    start = time.monotonic()

    def save(state: dict[str, Any]) -> None:
        if accelerator.is_main_process:
            so_far = before + time.monotonic() - start
            with _written(output):
                checkpoint.save(output, {"identity": identity, "seconds": so_far, **state})

    def watch(epoch: Epoch) -> None:
        figures = {"loss": epoch.loss, "held-out error": epoch.held_out}
        accelerator.log(figures, step=epoch.number)
        listener.epoch(epoch)

    training.run(save, watch, lambda step: listener.step(step, training.total_steps))
    seconds = before + time.monotonic() - start
    accelerator.end_training()
    return seconds


def _deliver(
    encoder: Any,
    found: Tuned,
    products: Products,
    source: str,
    base: Path,
    merged: Path | None,
    learned: list[NDArray[np.uint64]],
) -> None:
    """Write the adapter, its card, its base and the marks of what it learned from; the weights
    come last, whole or not at all. Done again after a kill, it ends in the same.
    """
    aside = found.folder / _PART
    shutil.rmtree(aside, ignore_errors=True)
    adapter.save(encoder, aside)
    (aside / "README.md").write_text(card.written(found, products, source), encoding="utf-8")
    base_weights.write(aside, base)
    trained_texts.write(aside, learned)
    if merged is not None:  # before the weights, which say that all is done
        half = _half(merged)
        shutil.rmtree(half, ignore_errors=True)
        adapter.save_merged(encoder, half)
        trained_texts.write(half, learned)
        # killed from here on, the run goes on into what is its own
        (found.folder / _MERGED).write_text(f"{merged.resolve()}\n", "utf-8")
        sync(found.folder)
        shutil.rmtree(merged, ignore_errors=True)
        os.replace(half, merged)
    names = sorted(path.name for path in aside.iterdir())
    for name in sorted(names, key=lambda name: name == WEIGHTS):
        sync(aside / name)
        os.replace(aside / name, found.folder / name)
    sync(found.folder)
    aside.rmdir()


def _chosen(products: Products, tasks: tuple[str, ...]) -> Products:
    """Products with the targets asked for, of which something is known that differs.

    Raises:
        ValueError: a target that the data do not have, or that is the same everywhere.
    """
    known = {n: c[~np.isnan(c)] for n, c in zip(products.names, products.target.T, strict=True)}
    there = [name for name, some in known.items() if some.size and np.ptp(some) > ROUNDING]
    if same := [name for name in tasks if known.get(name, np.empty(0)).size and name not in there]:
        raise ValueError(
            f"tasks: {', '.join(same)} is the same for all products, so that nothing can be "
            "learned of it: give a table in which it differs, or other tasks"
        )
    if unknown := set(tasks) - set(there):
        raise ValueError(
            f"tasks: the data say nothing of {', '.join(sorted(unknown))}; "
            f"choose among {', '.join(there)}"
        )
    if not there:
        raise ValueError("the data say nothing in which products differ: give more of them")
    names = tasks or tuple(there)
    columns = [products.names.index(name) for name in names]
    return replace(
        products,
        names=names,
        target=products.target[:, columns],
        weight=products.weight[:, columns],
    )


def _check(output: Path, merged: Path | None, restart: bool) -> None:
    begun = (output / checkpoint.NAME).exists()  # else a README.md, say, is somebody's own
    if (output / WEIGHTS).exists() and (restart or not begun):
        raise OutputTaken(f"{output} holds an adapter already: give another --output")
    ours = [checkpoint.NAME, f"{checkpoint.NAME}.part", _MERGED]
    ours += [*_DELIVERED, WEIGHTS] if begun else []
    there = output.iterdir() if output.is_dir() else ()
    strangers = [path.name for path in there if path.name not in ours]
    if strangers:
        raise OutputTaken(
            f"{output} holds {strangers[0]!r}, which is none of a training run's files: "
            "give an empty or new folder as --output"
        )
    if merged is None:
        return
    note, half, outside = output / _MERGED, _half(merged), output.resolve()
    delivered = note.is_file() and note.read_text("utf-8").strip() == str(merged.resolve())
    if merged.is_dir() and any(merged.iterdir()) and not delivered:
        raise OutputTaken(f"{merged} is not empty: give another --merged")
    for inside in (merged.resolve(), half.resolve()):
        if inside.is_relative_to(outside) or outside.is_relative_to(inside):
            raise OutputTaken(f"{merged} and {output} lie in each other: give another --merged")
    if half.exists() and not begun:
        raise OutputTaken(f"{half} is in the way of {merged}: move it, or give another --merged")
    try:  # now, and not after hours
        merged.mkdir(parents=True, exist_ok=True)
        if not delivered:
            _check_replaceable(merged)
    except OSError as error:
        raise OutputTaken(
            f"{merged} cannot be a folder that a finished one takes the place of ({error}): "
            "give another --merged, no link and not the top of a mount"
        ) from None


def _check_replaceable(folder: Path) -> None:
    """Try what is done in the end: put another folder in the place of an empty one.

    Raises:
        OSError: none can be put there.
    """
    other = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        other.chmod(folder.stat().st_mode)
        os.replace(other, folder)
    except OSError:
        other.rmdir()
        raise


def _half(merged: Path) -> Path:
    """Where the merged model lies until it is whole."""
    return merged.with_name(f"{merged.name}.part")


def _accelerator(hardware: Hardware) -> Accelerator:
    import torch
    from accelerate import Accelerator, DistributedDataParallelKwargs

    on_gpu = torch.cuda.is_available() and not hardware.cpu
    return Accelerator(
        cpu=hardware.cpu,
        mixed_precision=hardware.precision or ("bf16" if on_gpu else "no"),
        log_with=list(hardware.trackers) or None,
        project_dir=None if hardware.logs is None else str(hardware.logs),
        # a loss of weight 0 leaves its parameters without a gradient
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _identity(
    products: Products,
    recipe: Recipe,
    augmentation: Augmentation,
    fingerprint: str,
    by: tuple[int, str],
) -> str:
    """What a run is a run of, as a hash: another of it must not be mixed with this.

    Args:
        by: number of processes, and the precision that they multiply in.
    """
    digest = hashlib.sha256(
        json.dumps(
            [asdict(recipe), asdict(augmentation), fingerprint, by, products.names,
             products.text, products.group.tolist()]
        ).encode("utf-8", "surrogatepass")
    )  # fmt: skip
    for array in (products.target, products.weight, products.together):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _flat(recipe: Recipe) -> dict[str, Any]:
    """A recipe as trackers take it: numbers and texts."""
    return {
        name: ", ".join(value) if isinstance(value, tuple) else value
        for name, value in asdict(recipe).items()
    }


def _peak_memory() -> int:
    """Most memory that this process has used, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
