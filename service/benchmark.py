"""A benchmark run as planned, with its texts embedded, and its reports written."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation import scalars
from evaluation.benchmark import Progress
from evaluation.benchmark import run as run_trials
from evaluation.report_record import Record, write
from evaluation.report_terminal import show
from evaluation.sellers import SELLERS
from service.benchmark_plan import Plan
from service.settings import Settings

_PACKAGES = (
    "pricebandit",
    "numpy",
    "scipy",
    "polars",
    "scikit-learn",
    "torch",
    "sentence-transformers",
    "vowpalwabbit",
    "contextualbandits",
    "mabwiser",
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a report goes; None for nowhere. `tensorboard` is a folder, `wandb` a project."""

    json: Path | None = None
    html: Path | None = None
    tensorboard: Path | None = None
    wandb: str | None = None

    def check(self) -> None:
        """Find out before a long run what would go wrong after it.

        Raises:
            ValueError: a file or folder that cannot be written, or a folder that is not empty.
            scalars.MissingPackage: a report needs what is not installed.
        """
        for path in (self.json, self.html):
            if path is not None:
                _check_file(path)
        if self.html is not None:
            _require_matplotlib()
        if self.tensorboard is not None:
            scalars.require_tensorboard()
            _check_folder(self.tensorboard)
        if self.wandb is not None:
            scalars.require_wandb()


def run(
    plan: Plan, settings: Settings, jobs: int | None, command: Sequence[str], progress: Progress
) -> Record:
    """Embed the texts, hold the trials, and say how it was done.

    Args:
        settings: encoder and folder of embeddings. jobs: processes; None for one a processor.
        command: kept in the record.

    Raises:
        encoders.EncoderError: the texts cannot be embedded.
        ValueError, processes.CannotStart: as `evaluation.benchmark.run`.
    """
    start = time.monotonic()
    vectors, trained_on, embedded_by = embedded(plan, settings, progress)
    jobs = jobs if jobs is not None else _processors()
    sellers = {name: SELLERS[name] for name in plan.sellers}
    outcome = run_trials(
        plan.history, vectors, plan.markets, sellers, plan.seeds, jobs, progress, trained_on
    )
    currencies = plan.history.listings["currency"].unique().sort()
    name, digest = _identity(plan.asked.data)
    data: dict[str, Any] = {
        "name": name,
        "sha256": digest,
        "listings": plan.history.listings.height,
        "currency": ", ".join(currencies),
        "vectors": embedded_by,
    }
    made: dict[str, Any] = {
        "command": list(command),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "jobs": jobs,
        "seconds": time.monotonic() - start,
        "python": platform.python_version(),
        "packages": _versions(),
        "machine": f"{platform.system()} {platform.machine()}, {_processors()} processors",
    }
    return Record(plan.markets, plan.sellers, plan.seeds, outcome, data, made)


def deliver(record: Record, against: str, places: Places) -> list[Path]:
    """Write a record, print its tables, and write the other reports; the files written."""
    written = []
    if places.json is not None:
        write(record, places.json)
        written.append(places.json)
    show(record, against)
    if not record.outcome.runs:
        return written
    if places.html is not None:
        from evaluation.report_page import page

        places.html.write_text(page(record, against), encoding="utf-8")
        written.append(places.html)
    if places.tensorboard is not None:
        scalars.to_tensorboard(record, places.tensorboard)
    if places.wandb is not None:
        scalars.to_wandb(record, places.wandb, against)
    return written


def embedded(
    plan: Plan, settings: Settings, progress: Progress
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], str]:
    """Embeddings of the listings, float32 (n, d), which they were fitted to, bool (n,), and what
    they were made by.
    """
    listings = plan.history.listings
    if not plan.asked.embeddings:
        from markets.texts import text_vectors

        titles = listings["title"].to_list()
        by_words = "their words (TF-IDF, 64 dimensions)"
        return text_vectors(titles), np.zeros(len(titles), np.bool_), by_words
    from encoders import EmbeddingCache, Encoder, listing_texts

    encoder = Encoder(settings.encoder, adapter=settings.adapter, device=settings.device)
    folder = settings.embeddings or settings.home / "embeddings"
    columns = ("title", "description", "category", "brand")
    texts = listing_texts(*(listings[name].to_list() for name in columns))
    found = EmbeddingCache(folder / "listings", encoder).embed(
        texts, lambda done, total: progress("embedding", done, total)
    )
    by = f"{settings.encoder}, fingerprint {encoder.fingerprint[:16]}"
    return found.vectors, encoder.trained_on(texts), by


def _identity(path: Path | None) -> tuple[str, str]:
    """Name and SHA-256 of the data."""
    digest = hashlib.sha256()
    if path is not None:
        with path.open("rb") as file:
            return path.name, hashlib.file_digest(file, "sha256").hexdigest()
    for name in ("listings.csv", "sales.csv"):
        digest.update(resources.files("markets.catalogue").joinpath(name).read_bytes())
    return "the shipped catalogue", digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_file(path: Path) -> None:
    existed = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from error


def _check_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        filled = any(path.iterdir())
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from error
    if filled:
        raise ValueError(f"{path} is not empty: curves of two benchmarks would run into each other")


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        fix = "pip install 'pricebandit[report]'"
        raise scalars.MissingPackage(f"matplotlib is not installed ({error}): {fix}") from error
