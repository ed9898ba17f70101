"""The database backend: Django's own, with a pool that outlives a restart of the server, and reads tried once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base

from .pool import Connection, Pool

WAIT_SECONDS = 10.0  # for a connection that others use


class DatabaseWrapper(base.DatabaseWrapper):
    """``OPTIONS["pool"]["max_size"]``: connections of this process at once; no pool without it."""

    _connection_pools: dict[str, Pool] = {}  # noqa: RUF012 -- Django's, of the process

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execute_wrappers.append(_read_again)

    @property
    def pool(self) -> Pool | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            pool = Pool(self._connect, size=options["max_size"], wait=options.get("wait", WAIT_SECONDS))
            self._connection_pools.setdefault(self.alias, pool)
        return self._connection_pools[self.alias]

    def _connect(self) -> Connection:
        connection: Connection = self.Database.connect(**self.get_connection_params(), autocommit=True)
        self._configure_connection(connection)  # type: ignore[attr-defined]  # the stubs leave it out
        return connection


def _read_again(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """A query whose connection turns out to be dead is asked again on another, when that can change nothing."""
    try:
        return execute(sql, params, many, context)
    except (OperationalError, InterfaceError):
        wrapper = context["connection"]
        if many or wrapper.in_atomic_block or not _is_read(sql) or not _is_dead(wrapper):
            raise
        wrapper.close()
        wrapper.ensure_connection()
        context["cursor"].cursor = wrapper.create_cursor()
        return execute(sql, params, many, context)


def _is_read(sql: Any) -> bool:
    return isinstance(sql, str) and sql.startswith("SELECT")


def _is_dead(wrapper: Any) -> bool:
    return wrapper.connection is not None and wrapper.connection.closed
