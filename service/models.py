"""The models that a home has had: which adapter each is, which one is active."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from encoders import Encoder, base_weights, trained_texts
from encoders.fingerprint import adapter_files
from service import log

FOLDER = "adapters"
SPACE_DIGITS = 12


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


def version_of(encoder: Encoder) -> str:
    """Version of an encoder: the name of its embedding space."""
    return encoder.fingerprint[:SPACE_DIGITS]


def all_of(source: log.Log) -> list[Model]:
    """Models in the order in which they were staged."""
    table = log.models
    with source.engine.connect() as conn:
        rows = conn.execute(table.select().order_by(table.c.staged_at, table.c.version)).all()
    return [
        Model(r.version, r.adapter is not None, r.staged_at, r.wanted_at, r.activated_at)
        for r in rows
    ]


def active(source: log.Log) -> Model | None:
    """The model activated last, None in a new home."""
    found = [model for model in all_of(source) if model.activated_at is not None]
    return max(found, key=lambda model: model.activated_at or 0, default=None)


def opened(
    source: log.Log, home: Path, encoder: str, adapter: str | None, device: str | None, at_us: int
) -> Encoder:
    """The encoder that a home prices with.

    What the settings name, where the home has never had it: it is active from now on. Otherwise
    the model activated last, which may have been rolled out since.
    """
    named = Encoder(encoder, adapter=adapter, device=device)
    current = active(source)
    version = version_of(named)
    if any(version == model.version and model.activated_at for model in all_of(source)):
        assert current is not None
        if current.version == version:
            return named
        recorded = Encoder(encoder, adapter=current.folder(home), device=device)
        if version_of(recorded) == current.version:
            return recorded
        # the base model is another one by now, and no adapter was made for it
    keep(home, adapter, version)
    with source.transaction() as conn:
        stage(conn, version, adapter is not None, at_us)
        activate(conn, version, at_us)
    return named


def keep(home: Path, adapter: str | None, version: str) -> None:
    """Copy an adapter into the home, whole or not at all, so that it can be gone back to."""
    if adapter is None:
        return
    folder = home / FOLDER / version
    if folder.exists():
        return
    aside = folder.with_name(f"{version}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    source = Path(adapter).expanduser()
    files = adapter_files(source)
    for name in (trained_texts.FILE, base_weights.FILE):
        if (source / name).is_file():
            files[name] = source / name
    for name, path in files.items():
        shutil.copyfile(path, aside / name)
        with (aside / name).open("rb") as file:
            os.fsync(file.fileno())
    os.replace(aside, folder)


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
