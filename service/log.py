"""The log of listings, decisions, sales and outcomes: the truth, over which the model is a fold."""

import fcntl
import re
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql

from service.log_tables import (
    answers,
    decisions,
    experiments,
    expressions,
    listings,
    meta,
    metadata,
    models,
    neighbourhoods,
    outcomes,
    sales,
    told_by_decision,
    unmatched,
)

__all__ = [
    "Ends",
    "Log",
    "LogInUse",
    "LogNewer",
    "LogUnreachable",
    "LogUnusable",
    "Unsure",
    "answers",
    "decisions",
    "experiments",
    "expressions",
    "listings",
    "meta",
    "metadata",
    "models",
    "neighbourhoods",
    "outcomes",
    "sales",
    "told_by_decision",
    "trouble_of",
    "unmatched",
]

_VALUE = sa.select(meta.c.value)

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}

_PARAMETERS = 20_000
"""Values in one IN list: below the 32,766 of SQLite and the 65,535 of PostgreSQL."""


_LOCK = 7072696365  # the bytes of "price" in hexadecimal: of whoever writes a PostgreSQL log

_ASKED, _ASKED_EVERY = 20, 0.5
"""How often a database that went away is asked what became of a transaction, and after how many
seconds again."""


class LogUnusable(RuntimeError):
    """The log cannot be opened by this process."""


class LogInUse(LogUnusable):
    """Another process writes this log."""


class LogNewer(LogUnusable):
    """The log has been brought up to date by a later version than this one."""


class LogUnreachable(LogUnusable):
    """No database answers at the URL, or none that a log can be kept in."""


class Unsure(RuntimeError):
    """The database went away at a commit: whether it was kept cannot be found out."""


def trouble_of(error: Exception) -> str:
    """What a database said, in one line and without the statement that it was asked."""
    return " ".join(str(getattr(error, "orig", error)).split())


@dataclass(frozen=True, slots=True)
class _Mark:
    """A row of `meta` that a transaction writes, and the number that PostgreSQL gave it."""

    name: str
    value: str
    number: int


@dataclass(frozen=True, slots=True)
class Ends:
    """The last rows of a log: numbers of an outcome and of a sale, id of a decision, and when a
    listing was changed.
    """

    outcomes: int
    sales: int
    decision: str
    changed: int


class Log:
    """One database, written by one process at a time.

    Args:
        url: SQLAlchemy URL, SQLite or PostgreSQL. The schema is made or brought up to date.

    Raises:
        LogInUse: another process has this log open for writing.
        LogNewer: its schema is a later version's.
        LogUnreachable: the URL names no database that can be used.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        sa.event.listen(self.engine, "connect", _CONFIGURE[self.engine.dialect.name])
        self._file: IO[str] | None = None
        self._writer: sa.Connection | None = None
        try:
            self._file = self._lock_sqlite()
            self._writer = self._lock_postgresql()
            self._open()
        except BaseException as error:
            self.close()  # whoever asks again may find the log free
            if not isinstance(error, sa.exc.SQLAlchemyError):
                raise
            raise LogUnreachable(
                f"the log at {self.engine.url!r} cannot be used ({trouble_of(error)}): check "
                "PRICEBANDIT_DATABASE_URL, or the home where it is unset, and that the database "
                "can be reached"
            ) from error

    def _open(self) -> None:
        self._migrate()
        self._token = str(uuid.uuid4())  # of the process that may write
        with self.engine.begin() as conn:
            if self._writer is not None:
                mine = {"value": self._token}
                taken = conn.execute(meta.update().where(meta.c.name == "opened_by"), mine)
                if not taken.rowcount:
                    conn.execute(meta.insert(), {"name": "opened_by", **mine})
            if conn.scalar(sa.select(meta.c.value).where(meta.c.name == "log_id")) is None:
                conn.execute(meta.insert(), {"name": "log_id", "value": str(uuid.uuid4())})
            self.id: str = conn.scalar(sa.select(meta.c.value).where(meta.c.name == "log_id")) or ""

    def _lock_sqlite(self) -> IO[str] | None:
        if self.engine.dialect.name != "sqlite":
            return None
        with self.engine.connect() as conn:
            # as SQLite found it: two names of one file are one log
            _, _, path = conn.exec_driver_sql("PRAGMA database_list").one()
        if not path:  # in memory, and nobody else's
            return None
        # not the database itself: to close it would undo SQLite's own locks
        file = open(f"{path}-lock", "w")  # noqa: SIM115  held as long as we live
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise self._in_use() from None
        return file

    def _lock_postgresql(self) -> sa.Connection | None:
        if self.engine.dialect.name != "postgresql":
            return None
        conn = self.engine.connect()
        encoding = conn.scalar(sa.text("SHOW server_encoding"))
        if encoding != "UTF8":
            conn.close()
            raise LogUnreachable(
                f"the log at {self.engine.url!r} is in a database encoded in {encoding}, which "
                "does not hold every text: give PRICEBANDIT_DATABASE_URL one made with "
                "ENCODING 'UTF8' TEMPLATE template0"
            )
        if not conn.scalar(sa.text(f"SELECT pg_try_advisory_lock({_LOCK})")):
            conn.close()
            raise self._in_use()
        conn.commit()
        return conn

    def _in_use(self) -> LogInUse:
        return LogInUse(
            f"the log at {self.engine.url!r} is open in another process: stop that one first"
        )

    def _taken(self) -> LogInUse:
        return LogInUse(
            f"the log at {self.engine.url!r} was opened by another process meanwhile: "
            "stop one of them, and start the other anew"
        )

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", _ini(Path(__file__).with_name("migrations")))
        with self.engine.begin() as conn:
            if self.engine.dialect.name == "sqlite":
                # the driver begins no transaction before DDL: a process that is killed would leave
                # half a migration, which nobody could go on from
                conn.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = conn
            scripts = ScriptDirectory.from_config(config)
            known = {script.revision for script in scripts.walk_revisions()}
            later = set(MigrationContext.configure(conn).get_current_heads()) - known
            if later:
                raise LogNewer(
                    f"the log at {self.engine.url!r} has schema {', '.join(sorted(later))}, which "
                    "this version does not know: run the version that wrote it, or a later one, "
                    "or go back to a copy from before the upgrade"
                )
            command.upgrade(config, "head")

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose writes are all durable when the block ends, or none of them.

        Raises:
            LogInUse: another process has opened this PostgreSQL log since.
            Unsure: the server went away at the commit, and for so long that nobody knows.
        """
        mark, done = None, False
        try:
            with self.engine.begin() as conn:
                mark = self._admitted(conn)
                yield conn
                done = True
        except sa.exc.DBAPIError as error:
            # a commit may have been carried out although nobody was left to say so
            if not (done and mark and error.connection_invalidated and self._was_kept(mark)):
                raise

    def _admitted(self, conn: sa.Connection) -> "_Mark | None":
        """What a transaction that may write leaves to be known by; None in SQLite, whose lock
        nobody cuts off.

        The connection that holds the lock may be cut off unseen, and another process let in. That
        one changes the token, and waits for those who share it to be done.
        """
        if self._writer is None:
            return None
        asked = sa.select(meta.c.value, sa.func.txid_current()).where(meta.c.name == "opened_by")
        token, number = conn.execute(asked.with_for_update(read=True)).one()
        if token != self._token:
            raise self._taken()
        # a row for each thread that writes: none waits for another's, nor overwrites it
        mark = _Mark(f"commit of {threading.current_thread().name}"[:64], str(uuid.uuid4()), number)
        row = postgresql.insert(meta).values(name=mark.name, value=mark.value)
        kept = row.on_conflict_do_update(index_elements=["name"], set_={"value": mark.value})
        conn.execute(kept)
        return mark

    def _was_kept(self, mark: "_Mark") -> bool:
        """What became of a transaction whose commit was not acknowledged.

        After a crash of the server its number may be another's: that tells whether to wait, and the
        mark alone what was kept.
        """
        # whoever runs holds the lock of its number, of which 32 bits are shown
        running = sa.text("SELECT count(*) FROM pg_locks WHERE transactionid = CAST(:n AS xid)")
        number = {"n": str(mark.number % 2**32)}
        for _ in range(_ASKED):
            with suppress(sa.exc.DBAPIError), self.engine.connect() as conn:
                if not conn.scalar(running, number):
                    return conn.scalar(_VALUE.where(meta.c.name == mark.name)) == mark.value
            time.sleep(_ASKED_EVERY)
        raise Unsure("the database went away at a commit, which it may have kept or not")

    def close(self) -> None:
        """Let go of the database."""
        if self._writer is not None and not self._writer.closed:
            # a server takes a moment to see that a connection is gone, and whoever opens next
            # would find the lock held
            with suppress(sa.exc.DBAPIError):
                self._writer.scalar(sa.text(f"SELECT pg_advisory_unlock({_LOCK})"))
            self._writer.close()
        self.engine.dispose()
        if self._file is not None:
            self._file.close()

    def check(self) -> None:
        """See that the database answers, and takes what is written; nothing is.

        Raises:
            LogUnusable: it is read only, as its settings say or as a replica, or another process
                has opened this PostgreSQL log since.
            sqlalchemy.exc.SQLAlchemyError: it does not answer.
        """
        with self.engine.connect() as conn:
            token = conn.scalar(_VALUE.where(meta.c.name == "opened_by"))
            if self._writer is None:
                return
            if conn.scalar(sa.text("SHOW transaction_read_only")) == "on":
                raise LogUnusable(
                    f"the log at {self.engine.url!r} is in a database that is read only: it is a "
                    "replica, or has default_transaction_read_only set; let it be written"
                )
            if token != self._token:
                raise self._taken()

    def ends(self) -> "Ends":
        """How far the log goes at the moment."""
        with self.engine.connect() as conn:
            return Ends(
                conn.scalar(sa.select(sa.func.max(outcomes.c.seq))) or 0,
                conn.scalar(sa.select(sa.func.max(sales.c.seq))) or 0,
                conn.scalar(sa.select(sa.func.max(decisions.c.id))) or "",
                conn.scalar(sa.select(sa.func.max(listings.c.updated_at))) or 0,
            )

    def stream(
        self, query: sa.Select[Any], key: sa.Column[Any], size: int = 20_000
    ) -> Iterator[Sequence[sa.Row[Any]]]:
        """Rows of `query` in parts of at most `size`, without holding all of them.

        None is read while another is worked on: what SQLite writes meanwhile would have to be kept
        beside its file until the last one is.

        Args:
            key: one of its columns, by which they rise, different in each.
        """
        part: Sequence[sa.Row[Any]] = []
        query = query.order_by(key).limit(size)
        while not part or len(part) == size:
            after = query.where(key > getattr(part[-1], key.name)) if part else query
            with self.engine.connect() as conn:
                part = conn.execute(after).all()
            if not part:
                return
            yield part


def insert(conn: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all with the same columns, their values of types that the driver takes as is.

    The statement is SQLAlchemy's; its work on each value of each row is left out, which for
    thousands of wide rows costs more than the database does.
    """
    if not rows:
        return
    statement, order = _insert_statement(conn.dialect.name, table, tuple(rows[0]))
    if order:
        conn.exec_driver_sql(statement, list(map(itemgetter(*order), rows)))
    else:
        conn.exec_driver_sql(statement, list(rows))


def update_listings(conn: sa.Connection, rows: Sequence[int], **columns: Sequence[Any]) -> None:
    """Set columns of listings, a value for each of `rows`."""
    if not rows:
        return
    named = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    conn.execute(
        listings.update().where(listings.c.row == sa.bindparam("b_row")),
        [{"b_row": row, **values} for row, values in zip(rows, named, strict=True)],
    )


@cache
def _insert_statement(
    dialect: str, table: sa.Table, columns: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """SQL text of an insert and, where its parameters go by position, their order."""
    kind = sa.create_mock_engine(f"{_DRIVERS[dialect]}://", lambda *_: None).dialect
    compiled = table.insert().compile(dialect=kind, column_keys=list(columns))
    return str(compiled), tuple(compiled.positiontup or ())


def select_in(
    conn: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], values: Sequence[Any]
) -> list[sa.Row[Any]]:
    """Rows of `query` whose `column` is among `values`, however many they are."""
    found: list[sa.Row[Any]] = []
    for start in range(0, len(values), _PARAMETERS):
        part = values[start : start + _PARAMETERS]
        found.extend(conn.execute(query.where(column.in_(part))).all())
    return found


def _engine(url: str) -> sa.Engine:
    """An engine for a log.

    Raises:
        LogUnreachable: the URL is none, or of a database that no log can be kept in.
    """
    fix = "give one such as postgresql://user@host/db, or leave it unset for SQLite"
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return sa.create_engine(parsed, hide_parameters=True)
        if parsed.get_backend_name() == "postgresql":
            spoken = {"client_encoding": "utf8"}  # else that of the database
            return sa.create_engine(parsed, hide_parameters=True, connect_args=spoken)
        trouble = f"{parsed!r}, neither PostgreSQL nor SQLite"
    except (sa.exc.ArgumentError, ValueError, ModuleNotFoundError):
        hidden = re.sub("//.*@", "//***@", url)
        trouble = f"{hidden!r}, which names no database that can be used"
    raise LogUnreachable(f"PRICEBANDIT_DATABASE_URL is {trouble}: {fix}")


def _ini(path: Path) -> str:
    # alembic keeps it in an ini file's terms, where % begins a reference
    return str(path).replace("%", "%%")


def _configure_sqlite(connection: sqlite3.Connection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a commit has reached the disk before it is acknowledged, power cut included
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _configure_postgresql(connection: Any, record: object) -> None:
    # as SQLite's FULL; whoever waits for replicas goes on waiting for them
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
    lift_time_limits(connection, record)


def lift_time_limits(connection: Any, _: object) -> None:
    """Let a PostgreSQL connection take its time, whatever its role or database was set to.

    The one that holds the lock is idle for as long as we live, texts are embedded while listings
    are read, and a large log takes minutes to migrate, to read and to report on.
    """
    with connection.cursor() as cursor:
        # which of these there are depends on the server's version
        cursor.execute(
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN"
            " ('idle_session_timeout', 'idle_in_transaction_session_timeout',"
            " 'statement_timeout', 'transaction_timeout')"
        )
    connection.commit()  # a rollback would take it back


_CONFIGURE = {"sqlite": _configure_sqlite, "postgresql": _configure_postgresql}
