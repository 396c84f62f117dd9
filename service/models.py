"""The models that a home has had: which adapter each is, which one is active."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from encoders import AdapterError, Encoder, adapter_folder, base_weights, trained_texts
from encoders.disk import sync
from encoders.fingerprint import adapter_files, fingerprint_of, model_files
from service import log
from service.settings import Settings

FOLDER = "adapters"
SPACE_DIGITS = 12
BASE_FILE = "base.version"
"""Beside a kept adapter's files: the version of the base model, alone, that it was kept for."""

NAME_FILE = "adapter.name"
"""Beside a kept adapter's files: the name of the folder that it was last taken from."""

_keeping = threading.Lock()  # a home is open in one process alone, whose threads take turns
_LOGGER = logging.getLogger("pricebandit")


@dataclass(frozen=True, slots=True)
class Model:
    """An encoder that prices are, were or may be decided with.

    Attributes:
        version: first 12 hex digits of its fingerprint. adapter: whether it has one, which then
            lies in the home. Times are microseconds since 1970 UTC, None for never: staged_at;
            wanted_at, when its activation was asked for that has not come yet; activated_at, last.
    """

    version: str
    adapter: bool
    staged_at: int
    wanted_at: int | None
    activated_at: int | None

    def folder(self, home: Path) -> str | None:
        """Its adapter's folder, None for the base model alone."""
        return str(home / FOLDER / self.version) if self.adapter else None

    def name(self, home: Path) -> str | None:
        """Name of the folder that its adapter was taken from, None where that is not known."""
        if not self.adapter:
            return None
        try:
            path = home / FOLDER / self.version / NAME_FILE
            return path.read_text("utf-8", "replace").strip() or None
        except OSError:
            return None


def version_of(encoder: Encoder) -> str:
    """Version of an encoder: the name of its embedding space."""
    return encoder.fingerprint[:SPACE_DIGITS]


def all_of(source: log.Log) -> list[Model]:
    """Models in the order in which they were staged."""
    return _all_in(source.engine)


def _all_in(engine: sa.Engine) -> list[Model]:
    table = log.models
    with engine.connect() as conn:
        rows = conn.execute(table.select().order_by(table.c.staged_at, table.c.version)).all()
    return [
        Model(r.version, r.adapter is not None, r.staged_at, r.wanted_at, r.activated_at)
        for r in rows
    ]


def active(source: log.Log) -> Model | None:
    """The model activated last, None in a new home."""
    return _last_activated(all_of(source))


def _last_activated(known: list[Model]) -> Model | None:
    found = [model for model in known if model.activated_at is not None]
    return max(found, key=lambda model: model.activated_at or 0, default=None)


def _was_active(version: str, known: list[Model]) -> bool:
    return any(version == model.version and model.activated_at for model in known)


def at_next_start(settings: Settings) -> tuple[str, str | None]:
    """The model that a home prices with from its next start on: its version, and the folder of its
    adapter, None for the base model alone.

    The log is only read, beside a service that may have it open.
    """
    named = Encoder(settings.encoder, adapter=settings.adapter, device=settings.device)
    version = version_of(named)
    known: list[Model] = []
    if settings.holds_a_log:
        engine = sa.create_engine(settings.url)
        try:
            if sa.inspect(engine).has_table(log.models.name):  # else nobody has used it yet
                known = _all_in(engine)
        finally:
            engine.dispose()
    last = _last_activated(known)
    if last is None or last.version == version or not _was_active(version, known):
        return version, settings.adapter
    return last.version, last.folder(settings.home)


def opened(
    source: log.Log, home: Path, encoder: str, adapter: str | None, device: str | None, at_us: int
) -> Encoder:
    """The encoder that a home prices with.

    What the settings name, where the home has never had it, or where the model activated last was
    made for another base model: it is active from now on. Otherwise the model activated last, which
    may have been rolled out since.

    Raises:
        AdapterError: the files kept of the model activated last are damaged or missing.
    """
    named = Encoder(encoder, adapter=adapter, device=device)
    known = all_of(source)
    current, version = _last_activated(known), version_of(named)
    if _was_active(version, known):
        assert current is not None
        if current.version == version:
            keep(home, adapter, named)  # what is kept may be damaged, and is mended here
            return named
        if _is_kept(source, home, named.folder, current):
            return Encoder(encoder, adapter=current.folder(home), device=device)
        _LOGGER.error(
            "model %s is left and %s taken in its place: the base model is another one by now, or "
            "the adapter's files are lost", current.version, version,
        )  # fmt: skip
    keep(home, adapter, named)
    with source.transaction() as conn:
        stage(conn, version, adapter is not None, at_us)
        activate(conn, version, at_us)
    return named


def _is_kept(source: log.Log, home: Path, base: Path, model: Model) -> bool:
    """Whether a model can be had as it was with the base model in a folder; not with another one.

    Raises:
        AdapterError: the base model is the same, but the files kept of the adapter are not.
    """
    if not model.adapter:
        return _made(base, None) == model.version
    folder = home / FOLDER / model.version
    made, why = None, ""
    try:
        made = _made(base, folder)
        why = f"with the base model they make {made}, not {model.version}"
    except AdapterError as error:
        why = str(error)
    if made == model.version:
        return True
    present, noted = _made(base, None), _noted_base(folder)
    if noted is None:  # kept by an earlier version, or all of it is gone
        # where files are missing it is plain that they are not what they were
        other_base = made is not None and present != _last_alone(source)
    else:
        other_base = present != noted
    lost = folder.with_name(f"{folder.name}.lost")
    if other_base or (lost.exists() and not folder.exists()):
        return False
    raise AdapterError(
        f"{folder} lacks or has damaged files of the model in use ({why}). Put the adapter's files "
        "back there, or start once with PRICEBANDIT_ADAPTER naming a whole copy of it, from which "
        f"that is done. If there is none, rename that folder to {lost.name}, or make an empty one "
        "of this name in its place: the model that the settings name is then in use instead"
    )


def _made(base: Path, adapter: Path | None) -> str:
    """Version that a base model makes, with the adapter in a folder or alone."""
    files = {} if adapter is None else adapter_files(adapter)
    return fingerprint_of(model_files(base), files)[:SPACE_DIGITS]


def _noted_base(folder: Path) -> str | None:
    try:
        return (folder / BASE_FILE).read_text("ascii", "replace").strip() or None
    except FileNotFoundError:
        return None


def _last_alone(source: log.Log) -> str | None:
    """Version of the base model that was staged or activated last without an adapter."""
    alone = [model for model in all_of(source) if not model.adapter]
    last = max(alone, key=lambda model: model.activated_at or model.staged_at, default=None)
    return last.version if last else None


def keep(home: Path, adapter: str | None, encoder: Encoder) -> None:
    """Copy an encoder's adapter into the home, whole or not at all, to go back to; for any thread.

    What is kept of it already stays, unless it is damaged.

    Raises:
        AdapterError: the adapter is not the one that the encoder was made of.
    """
    if adapter is None:
        return
    folder = home / FOLDER / version_of(encoder)
    with _keeping:
        if makes(folder, encoder):
            _note_name(adapter, folder)
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob("*.part"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        aside = folder.with_name(f"{folder.name}.{uuid4().hex}.part")
        try:
            _copy(adapter_folder(adapter), aside, encoder.folder)
            _note_name(adapter, aside)
            if not makes(aside, encoder):
                raise AdapterError("its files changed while they were copied: send it again")
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sync(folder.parent)


def _note_name(adapter: str, folder: Path) -> None:
    """Note which folder a kept adapter was taken from, unless it is the kept one itself."""
    source = adapter_folder(adapter)
    if source == folder.resolve():
        return
    try:
        (folder / NAME_FILE).write_text(f"{source.name}\n", "utf-8", "replace")
    except OSError as error:  # a home that cannot be written to says so soon enough
        _LOGGER.warning("the name of adapter %s is not kept: %s", source, error)


def makes(folder: Path, encoder: Encoder) -> bool:
    """Whether the adapter in a folder is an encoder's."""
    try:
        return _made(encoder.folder, folder) == version_of(encoder)
    except AdapterError:
        return False


def _copy(source: Path, folder: Path, base: Path) -> None:
    """Copy an adapter into a new folder, with a note of its base model; durable on return."""
    files = adapter_files(source)
    for name in (trained_texts.FILE, base_weights.FILE):
        if (source / name).is_file():
            files[name] = source / name
    folder.mkdir()
    for name, path in files.items():
        shutil.copyfile(path, folder / name)
    (folder / BASE_FILE).write_text(f"{_made(base, None)}\n", "ascii")
    for path in [*folder.iterdir(), folder]:
        sync(path)


def stage(conn: sa.Connection, version: str, adapter: bool, at_us: int) -> None:
    """Note a model that is not yet known."""
    table = log.models
    if conn.execute(table.select().where(table.c.version == version)).first() is None:
        conn.execute(
            table.insert(),
            {
                "version": version,
                "adapter": version if adapter else None,
                "staged_at": at_us,
                "expressed_until": "",
            },
        )


def want(conn: sa.Connection, version: str | None, at_us: int) -> None:
    """Note that a model, or none, is to be activated as soon as it is ready, and no other."""
    table = log.models
    conn.execute(table.update().values(wanted_at=None))
    if version is not None:
        conn.execute(table.update().where(table.c.version == version).values(wanted_at=at_us))


def give_up(conn: sa.Connection, version: str) -> None:
    """Note that a model is not to be activated any more; what is wanted of others stays."""
    table = log.models
    conn.execute(table.update().where(table.c.version == version).values(wanted_at=None))


def activate(conn: sa.Connection, version: str, at_us: int) -> None:
    """Make a model the active one: the whole switch, as far as the log is concerned."""
    table = log.models
    # it is the last one also where the clock was ahead when another was activated
    newest = conn.scalar(sa.select(sa.func.max(table.c.activated_at))) or 0
    at_us = max(at_us, newest + 1)
    conn.execute(
        table.update().where(table.c.version == version).values(activated_at=at_us, wanted_at=None)
    )


def expressed_until(source: log.Log, version: str) -> str:
    """Id of the last decision that is known to need no expressing in a model's space any more."""
    with source.engine.connect() as conn:
        query = sa.select(log.models.c.expressed_until).where(log.models.c.version == version)
        return conn.scalar(query) or ""


def note_expressed(conn: sa.Connection, version: str, until: str) -> None:
    """Note how far decisions are expressed in a model's space."""
    table = log.models
    conn.execute(table.update().where(table.c.version == version).values(expressed_until=until))
