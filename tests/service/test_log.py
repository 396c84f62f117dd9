import contextlib
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from service import log
from service.evaluate import reader
from service.home import HomeInUse
from service.log import Log, LogInUse, LogNewer, LogUnreachable, Unsure

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP"}


@pytest.fixture
def url(database_url, tmp_path):
    """URL of an empty log as SQLAlchemy takes it."""
    if database_url is None:
        return f"sqlite:///{tmp_path / 'log.sqlite3'}"
    return database_url.replace("postgresql://", "postgresql+psycopg://")


def test_migrations_lead_to_the_schema_that_the_code_expects(url):
    source = Log(url)
    with source.engine.connect() as conn:
        context = MigrationContext.configure(conn)
        assert compare_metadata(context, log.metadata) == []
        scripts = ScriptDirectory("service/migrations")
        assert context.get_current_revision() == scripts.get_current_head()
    source.close()


def test_a_log_of_a_later_version_is_left_as_it_is(url):
    source = Log(url)
    with source.engine.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    source.close()
    with pytest.raises(LogNewer, match="has schema 9999, which this version does not know"):
        Log(url)
    engine = sa.create_engine(url)
    with engine.connect() as conn:
        assert conn.scalar(sa.text("SELECT version_num FROM alembic_version")) == "9999"
    engine.dispose()


@pytest.mark.parametrize("before", [None, "0001", "0003"])
def test_a_migration_that_is_broken_off_leaves_a_log_that_can_be_opened(tmp_path, before):
    from alembic import command
    from alembic.config import Config

    broken = 0
    for stop in range(1, 100):
        url = f"sqlite:///{tmp_path / f'{stop}.sqlite3'}"
        if before:
            config, engine = Config(), sa.create_engine(url)
            config.set_main_option("script_location", "service/migrations")
            with engine.begin() as conn:
                config.attributes["connection"] = conn
                command.upgrade(config, before)
            engine.dispose()
        left = iter(range(stop))

        def break_off(conn, cursor, statement, *_, left=left):
            if statement.split()[0] in ("CREATE", "ALTER", "INSERT", "UPDATE", "DROP"):
                next(left)

        sa.event.listen(sa.Engine, "before_cursor_execute", break_off)
        try:
            Log(url).close()
            break
        except (StopIteration, RuntimeError):
            broken += 1
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", break_off)
        Log(url).close()
    assert broken > 1


def test_migrations_can_be_taken_back(url):
    from alembic import command
    from alembic.config import Config

    source = Log(url)
    config = Config()
    config.set_main_option("script_location", "service/migrations")
    with source.engine.begin() as conn:
        config.attributes["connection"] = conn
        command.downgrade(config, "base")
        assert sa.inspect(conn).get_table_names() == ["alembic_version"]
        command.upgrade(config, "head")
        assert set(log.metadata.tables) <= set(sa.inspect(conn).get_table_names())
    source.close()


def test_a_log_keeps_its_name(url):
    first = Log(url)
    first.close()
    again = Log(url)
    assert again.id == first.id
    again.close()


def test_a_transaction_is_kept_whole_or_not_at_all(url):
    source = Log(url)

    def spoil():
        with source.transaction() as conn:
            conn.execute(log.meta.insert(), {"name": "a", "value": "1"})
            raise KeyError

    with pytest.raises(KeyError):
        spoil()
    with source.engine.connect() as conn:
        assert conn.scalar(sa.select(sa.func.count()).where(log.meta.c.name == "a")) == 0
    source.close()


def test_more_values_than_a_statement_takes_are_looked_up(url):
    source = Log(url)
    names = [f"n{i}" for i in range(45_000)]
    with source.transaction() as conn:
        conn.execute(log.meta.insert(), [{"name": n, "value": ""} for n in names[::9]])
        found = log.select_in(conn, sa.select(log.meta.c.name), log.meta.c.name, names)
    assert sorted(row.name for row in found) == sorted(names[::9])
    source.close()


def test_streams_come_in_parts(url):
    source = Log(url)
    with source.transaction() as conn:
        conn.execute(log.meta.insert(), [{"name": f"n{i}", "value": ""} for i in range(99)])
    parts = list(source.stream(sa.select(log.meta.c.name), log.meta.c.name, 30))
    own = 1 if url.startswith("sqlite") else 3  # its name, who has opened it, and the last commit
    assert [len(part) for part in parts] == [30, 30, 30, 9 + own]
    source.close()


def test_nothing_is_held_open_between_the_parts_of_a_stream(url):
    source, other = Log(url), sa.create_engine(url)
    looks = {
        # 1 where somebody still reads: what is written meanwhile is kept beside the file
        "sqlite": "PRAGMA wal_checkpoint(TRUNCATE)",
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state <> 'idle' AND pid <> pg_backend_pid()",
    }
    with source.transaction() as conn:
        conn.execute(log.meta.insert(), [{"name": f"n{i}", "value": ""} for i in range(99)])
    for _ in source.stream(sa.select(log.meta.c.name), log.meta.c.name, 30):
        with other.connect() as conn:
            assert conn.exec_driver_sql(looks[other.dialect.name]).first()[0] == 0
    other.dispose()
    source.close()


def test_a_home_is_opened_once(open_bandit):
    first = open_bandit()
    with pytest.raises(HomeInUse, match="is in use by another pricebandit"):
        open_bandit()
    first.close()
    open_bandit()


def test_a_sqlite_log_is_open_in_one_home(open_bandit, tmp_path):
    shared = tmp_path / "shared.sqlite3"
    first = open_bandit(database_url=f"sqlite:///{shared}")
    linked = tmp_path / "linked.sqlite3"
    linked.symlink_to(shared)
    for path in (shared, linked):
        with pytest.raises(LogInUse, match="open in another process"):
            open_bandit(home=tmp_path / "other", database_url=f"sqlite:///{path}")
    first.close()
    other = open_bandit(home=tmp_path / "other", database_url=f"sqlite:///{linked}")
    assert other.log.id == first.log.id


def test_a_sqlite_log_that_cannot_be_brought_up_to_date_is_let_go(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'log.sqlite3'}"
    with monkeypatch.context() as patch:
        patch.setattr(Log, "_migrate", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError) as failed:
            Log(url)
    assert failed.tb is not None  # whatever still refers to the one that failed
    Log(url).close()


def test_a_sqlite_log_in_memory_needs_no_lock():
    first, second = Log("sqlite://"), Log("sqlite://")
    assert first.id != second.id
    first.close()
    second.close()


def test_a_home_held_by_another_process_is_refused(open_bandit, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, home / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(HomeInUse):
        open_bandit()
    holder.kill()
    holder.communicate()
    open_bandit()


def test_a_postgresql_log_is_written_by_one_home_alone(open_bandit, postgresql, tmp_path):
    url = postgresql()
    first = open_bandit(database_url=url)
    with pytest.raises(LogInUse, match="open in another process"):
        open_bandit(database_url=url, home=tmp_path / "other")
    first.close()
    open_bandit(database_url=url, home=tmp_path / "other")


def test_a_server_that_leaves_commits_for_later_is_told_to_write_them(postgresql):
    url = postgresql()
    for setting, kept in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"ALTER ROLE seller SET synchronous_commit = {setting}")
        try:
            source = Log(url.replace("postgresql://", "postgresql+psycopg://"))
            for _ in range(2):  # on the same connection, after what undoes a transaction's settings
                with contextlib.suppress(KeyError), source.transaction() as conn:
                    assert conn.scalar(sa.text("SHOW synchronous_commit")) == kept
                    raise KeyError
            source.close()
        finally:
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute("ALTER ROLE seller RESET synchronous_commit")


def test_a_server_that_ends_idle_connections_leaves_those_of_the_log(postgresql):
    url = postgresql()
    with psycopg.connect(url, autocommit=True) as admin:
        found = admin.execute("SELECT name FROM pg_settings WHERE name LIKE 'idle%session_timeout'")
        names = [name for (name,) in found]
        for name in names:
            admin.execute(f"ALTER ROLE seller SET {name} = '100ms'")
    try:
        source = Log(url.replace("postgresql://", "postgresql+psycopg://"))
        with source.transaction() as conn:
            time.sleep(0.5)  # the one that holds the lock has nothing to do meanwhile, either
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            assert conn.scalar(sa.text(held)) == 1
        source.close()
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            for name in names:
                admin.execute(f"ALTER ROLE seller RESET {name}")


def test_a_server_that_ends_long_statements_leaves_those_of_the_log(postgresql):
    url = postgresql()
    with psycopg.connect(url, autocommit=True) as admin:
        among = "SELECT name FROM pg_settings WHERE name IN"
        found = admin.execute(f"{among} ('statement_timeout', 'transaction_timeout')")
        names = [name for (name,) in found]
        for name in names:
            admin.execute(f"ALTER ROLE seller SET {name} = '200ms'")
    try:
        named = url.replace("postgresql://", "postgresql+psycopg://")
        source, look = Log(named), reader(named)
        for engine in (source.engine, look):
            with engine.connect() as conn:
                conn.execute(sa.text("SELECT pg_sleep(0.5)"))  # as reading a large log takes
        look.dispose()
        source.close()
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            for name in names:
                admin.execute(f"ALTER ROLE seller RESET {name}")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused(postgresql, encoding):
    url = postgresql()
    with psycopg.connect(url, autocommit=True) as admin:
        name = f"{admin.info.dbname}_{encoding.lower()}"
        admin.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        url = url.replace(f"/{admin.info.dbname}?", f"/{name}?")
    with pytest.raises(LogUnreachable, match=f"encoded in {encoding}.*ENCODING 'UTF8'"):
        Log(url.replace("postgresql://", "postgresql+psycopg://"))


def cut_off(source):
    """Let the server close the connection that holds the lock."""
    held = sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    with source.engine.connect() as conn:
        assert conn.scalars(held).all() == [True]


def test_a_writer_whose_lock_was_lost_and_taken_writes_no_more(postgresql):
    url = postgresql().replace("postgresql://", "postgresql+psycopg://")
    first = Log(url)
    cut_off(first)
    for _ in range(100):  # the server takes a moment
        with contextlib.suppress(LogInUse):
            second = Log(url)
            break
        time.sleep(0.1)
    with pytest.raises(LogInUse, match="by another process meanwhile"), first.transaction():
        pass
    with second.transaction() as conn:
        conn.execute(log.meta.insert(), {"name": "a", "value": "1"})
    second.close()


@pytest.mark.parametrize("kept", [True, False])
def test_a_commit_whose_answer_is_lost_is_asked_for(postgresql, monkeypatch, kept):
    source = Log(postgresql().replace("postgresql://", "postgresql+psycopg://"))
    commit = source.engine.dialect.do_commit

    def lost(connection):
        if kept:
            commit(connection)
        connection.driver_connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def write():
        with source.transaction() as conn:
            conn.execute(log.meta.insert(), {"name": "a", "value": "1"})
            monkeypatch.setattr(source.engine.dialect, "do_commit", lost)

    if kept:
        write()
    else:
        with pytest.raises(sa.exc.OperationalError):
            write()
    monkeypatch.undo()
    with source.engine.connect() as conn:
        found = conn.scalar(sa.select(sa.func.count()).where(log.meta.c.name == "a"))
    assert found == kept
    source.close()


def test_what_was_kept_is_told_by_what_was_written_and_not_by_its_number(postgresql, monkeypatch):
    """A server that crashed gives numbers of transactions it has lost to others."""
    url = postgresql()
    source = Log(url.replace("postgresql://", "postgresql+psycopg://"))
    with source.transaction() as conn:
        number = conn.scalar(sa.select(sa.func.txid_current()))
        row = sa.select(log.meta.c.name, log.meta.c.value).where(log.meta.c.name.like("commit %"))
        name, value = conn.execute(row).one()
    kept = log._Mark(name, value, number)
    lost = log._Mark(name, "another's", number)
    with source.engine.connect() as conn:
        assert conn.scalar(sa.select(sa.func.txid_status(number))) == "committed"
    for far in (0, 1_000_000):  # a number not given yet, and so never of a transaction kept
        assert source._was_kept(replace(kept, number=number + far))
        assert not source._was_kept(replace(lost, number=number + far))
    monkeypatch.setattr(log, "_ASKED_EVERY", 0.01)
    with psycopg.connect(url) as other:
        running = other.execute("SELECT txid_current()").fetchone()[0]
        with pytest.raises(Unsure):
            source._was_kept(replace(kept, number=running))
    source.close()


def test_writers_of_one_log_do_not_wait_for_each_other(postgresql):
    source = Log(postgresql().replace("postgresql://", "postgresql+psycopg://"))

    def write(name):
        with source.transaction() as conn:
            conn.execute(log.meta.insert(), {"name": name, "value": ""})

    with source.transaction():
        other = threading.Thread(target=write, args=("a",), name="another")
        other.start()
        other.join(20)
        assert not other.is_alive()
    source.close()


def test_a_commit_that_nobody_can_tell_of_is_unsure(postgresql, monkeypatch):
    source = Log(postgresql().replace("postgresql://", "postgresql+psycopg://"))
    monkeypatch.setattr(log, "_ASKED_EVERY", 0.01)

    def gone(*_, **__):
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def lost(connection):
        connection.driver_connection.close()
        monkeypatch.setattr(source.engine.dialect, "connect", gone)
        gone()

    def write():
        with source.transaction():
            monkeypatch.setattr(source.engine.dialect, "do_commit", lost)

    with pytest.raises(Unsure):
        write()
    monkeypatch.undo()
    source.close()


def test_a_killed_writer_lets_go_of_a_postgresql_log(open_bandit, postgresql):
    url = postgresql()
    open_bandit(database_url=url).close()
    script = (
        "import psycopg, sys; c = psycopg.connect(sys.argv[1]); "
        "c.execute('SELECT pg_advisory_lock(7072696365)'); print('held', flush=True); "
        "sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout.readline() == b"held\n"
    with pytest.raises(LogInUse):
        open_bandit(database_url=url)
    writer.kill()
    writer.communicate()
    time.sleep(0.5)  # the server is told by the closed connection
    open_bandit(database_url=url)


def test_a_home_whose_path_has_odd_characters_is_opened(open_bandit, tmp_path, drive):
    bandit = open_bandit(home=tmp_path / "50% öff & more")
    drive.listings(bandit, MUG)
    assert (tmp_path / "50% öff & more" / "log.sqlite3").stat().st_size > 0
