"""Indexes for the search in titles and messages, where PostgreSQL has trigrams; without them it reads more.

Not in the models: SQLite has none, and whether the extension may be created is up to the operator.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

CREATE_EXTENSION = """
do $$ begin
    create extension if not exists pg_trgm;
exception when insufficient_privilege or undefined_file or feature_not_supported then
    raise notice 'pg_trgm cannot be created; the search in conversations goes without an index';
end $$
"""
HAS_EXTENSION = "select exists (select from pg_extension where extname = 'pg_trgm')"
INDEXES = (
    "create index if not exists message_text_trigrams on chat_message using gin (upper(text) gin_trgm_ops)",
    "create index if not exists conversation_title_trigrams on chat_conversation using gin (upper(title) gin_trgm_ops)",
)


def create_search_indexes(connection: BaseDatabaseWrapper) -> bool:
    """True when they are there. An index that exists is left alone."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute(CREATE_EXTENSION)
        cursor.execute(HAS_EXTENSION)
        (has_extension,) = cursor.fetchone()
        for index in INDEXES if has_extension else ():
            cursor.execute(index)
    return bool(has_extension)
