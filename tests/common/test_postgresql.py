"""The database backend on a server of its own that is restarted, away, and cuts connections."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from django.db import OperationalError
from django.db.utils import ConnectionHandler

from chatapp.common.postgresql.base import DatabaseWrapper
from scripts.programs import Program, free_port, postgresql_programs, wait_for_port

THREADS = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A PostgreSQL as a program that can be stopped and started again."""
    folder = tmp_path_factory.mktemp("postgresql")
    for above in (folder, *folder.parents):
        above.chmod(above.stat().st_mode | 0o055) if str(above).startswith("/tmp/") else None
    user = "postgres" if os.geteuid() == 0 else None
    data, port = folder / "data", free_port()
    data.mkdir(mode=0o700)
    if user:
        shutil.chown(data, user, user)
    init = [postgresql_programs() / "initdb", "-D", data, "-U", "chatapp", "--auth=trust", "-E", "UTF8", "--no-sync"]
    as_user = ["runuser", "-u", user, "--"] if user else []
    subprocess.run([*as_user, *init], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    command = [postgresql_programs() / "postgres", "-D", data, "-p", port, "-k", data, "-c", "fsync=off"]
    server = Program("postgresql", [*command, "-c", "listen_addresses=127.0.0.1"], folder, {}, user, signal.SIGINT)
    server.port = port
    server.start()
    wait_until_it_answers(server)
    yield server
    server.stop()


def wait_until_it_answers(server):
    import psycopg

    wait_for_port(server.port)
    until = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=server.port, user="chatapp", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < until
            time.sleep(0.05)


def restart(server, how=signal.SIGQUIT):
    os.kill(server.pid, how)
    server.wait(20)
    server.start()
    wait_until_it_answers(server)


@pytest.fixture
def database(server, django_db_blocker):
    """``database()``: the connection of the thread that asks, as every request has one, from one pool."""
    pool = {"max_size": THREADS, "wait": 0.5}
    settings = {"ENGINE": "chatapp.common.postgresql", "NAME": "postgres", "USER": "chatapp", "HOST": "127.0.0.1"}
    handler = ConnectionHandler({"default": settings | {"PORT": str(server.port), "OPTIONS": {"pool": pool}}})
    before, DatabaseWrapper._connection_pools = DatabaseWrapper._connection_pools, {}
    with django_db_blocker.unblock():
        yield lambda: handler["default"]
    handler.close_all()
    for made in DatabaseWrapper._connection_pools.values():
        made.close()
    DatabaseWrapper._connection_pools = before


def ask(connection, sql="SELECT 1"):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def fill(database):
    """As many connections as the pool may have, all of them waiting."""
    together = threading.Barrier(THREADS)

    def request():
        ask(database())
        together.wait(10)
        database().close()

    threads = [threading.Thread(target=request) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database().pool._idle) == THREADS


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["at-once", "in-order"])
def test_after_a_restart_nobody_meets_a_dead_connection(server, database, how):
    fill(database)
    restart(server, how)
    for _ in range(3 * THREADS):
        began = time.monotonic()
        assert ask(database()) == 1
        database().close()
        assert time.monotonic() - began < 1


def test_a_transaction_after_a_restart_does_not_meet_one_either(server, database):
    fill(database)
    restart(server)
    database().set_autocommit(False)
    assert ask(database(), "CREATE TABLE IF NOT EXISTS t (n int)") is None
    database().rollback()


def test_a_server_that_is_away_is_said_to_be_at_once_and_is_found_at_once(server, database):
    fill(database)
    os.kill(server.pid, signal.SIGQUIT)
    server.wait(20)
    for _ in range(2 * THREADS):  # none of which is lost by failing
        began = time.monotonic()
        with pytest.raises(OperationalError):
            ask(database())
        assert time.monotonic() - began < 0.5
    server.start()
    wait_until_it_answers(server)
    began = time.monotonic()
    fill(database)
    assert time.monotonic() - began < 2


def cut(server, connection):
    """The server ends it, as an operator may."""
    import psycopg

    pid = ask(connection, "SELECT pg_backend_pid()")
    with psycopg.connect(host="127.0.0.1", port=server.port, user="chatapp", dbname="postgres") as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    time.sleep(0.2)
    return pid


def test_a_read_on_a_connection_that_dies_in_use_is_asked_again(server, database):
    pid = cut(server, database())
    assert ask(database(), "SELECT pg_backend_pid()") != pid


def test_a_write_is_not_and_the_connection_is_another_afterwards(server, database):
    ask(database(), "CREATE TABLE IF NOT EXISTS t (n int)")
    cut(server, database())
    with pytest.raises(OperationalError):
        ask(database(), "INSERT INTO t VALUES (1)")
    database().close()
    assert ask(database(), "SELECT count(*) FROM t") == 0


def test_a_read_inside_a_transaction_is_not(server, database):
    connection = database()
    connection.set_autocommit(False)
    connection.in_atomic_block = True
    cut(server, connection)
    with pytest.raises(OperationalError):
        ask(connection)
    connection.in_atomic_block = False
    connection.close()


def test_whoever_finds_every_connection_in_use_is_told_after_a_while(database):
    pool = database().pool
    held = [pool.getconn() for _ in range(THREADS)]
    with pytest.raises(Exception, match="in use"):
        pool.getconn()
    pool.putconn(held.pop())
    held.append(pool.getconn())
    for connection in held:
        pool.putconn(connection)


def test_a_transaction_that_was_left_open_is_taken_back(database):
    pool = database().pool
    connection = pool.getconn()
    connection.autocommit = False
    connection.execute("CREATE TABLE left_open (n int)")
    pool.putconn(connection)
    assert ask(database(), "SELECT count(*) FROM pg_tables WHERE tablename = 'left_open'") == 0
