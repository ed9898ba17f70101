"""What the admin's lists, the search in one's conversations and the watch of logins ask of a filled PostgreSQL.

``python -m benchmarks.admin --json FILE``. A server of its own, filled by SQL; each page is asked for through Django's
client, so that the time is that of the queries and of the rendering. Times are of this machine and for comparison
within one run: with the extension (``trigram``) and without it, with its indexes and without them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.workload import machine

PEOPLE, PER_PERSON, PER_CONVERSATION = 2_000, 10, 10  # 200,000 messages
SOCKETS = 300
ROUNDS = 5
WORDS = (
    *("the", "a", "of", "model", "answer", "question", "report", "table"),
    *("number", "green", "kettle", "quiet", "river", "stone"),
)
RARE, COMMON = "zanzibar", "kettle"

# What a column gets that the rows below do not name: columns come, and Django leaves no defaults in the database.
DEFAULTS = """
do $$ declare column_ record; begin
    for column_ in
        select table_name, column_name, data_type from information_schema.columns
        where table_schema = 'public' and is_nullable = 'NO' and column_default is null and is_identity = 'NO'
          and data_type in ('character varying', 'text', 'boolean', 'integer', 'bigint', 'jsonb')
    loop
        execute format('alter table %I alter column %I set default %L', column_.table_name, column_.column_name,
            case column_.data_type when 'boolean' then 'false' when 'jsonb' then '[]'
                 when 'integer' then '0' when 'bigint' then '0' else '' end);
    end loop;
end $$
"""

FILL = """
insert into accounts_user (id, password, email, is_superuser, is_staff, is_active, date_joined)
select gen_random_uuid(), 'x', 'person' || n || '@example.com', false, false, true, now()
from generate_series(1, {people}) n;
insert into accounts_tenant (id, name, slug, personal, is_active, created_at, plan_id)
select gen_random_uuid(), 'Workspace ' || n, 'workspace-' || n, true, true, now(), (select min(id) from accounts_plan)
from generate_series(1, {people}) n;
insert into accounts_membership (user_id, tenant_id, role, created_at)
select u.id, t.id, 'owner', now() from accounts_user u
join accounts_tenant t on 'person' || substr(t.slug, 11) || '@example.com' = u.email;
insert into chat_conversation (id, tenant_id, user_id, title, titled_by_hand, created_at, updated_at)
select gen_random_uuid(), m.tenant_id, m.user_id, 'About ' || n, false, now() - interval '1 year',
       now() - random() * interval '1 year'
from accounts_membership m, generate_series(1, {conversations}) n;
insert into chat_message (id, tenant_id, conversation_id, role, state, text, model, can_continue, error_code,
                          error_message, created_at, ended_at)
select gen_random_uuid(), c.tenant_id, c.id, case n % 2 when 0 then 'user' else 'assistant' end, 'done',
       (select string_agg(({words})[1 + floor(random() * {count})::int], ' ')
        from generate_series(1, 40 + (n + length(c.id::text)) * 0) w)
       || case when random() < 0.0005 then ' {rare}' else '' end,
       case n % 2 when 0 then '' else 'small' end, false, '', '', now() - n * interval '1 hour', now()
from chat_conversation c, generate_series(1, {messages}) n;
insert into chat_generation (id, tenant_id, user_id, message_id, kind, state, idempotency_key, submissions, model,
    prompt_version, sampling, resumed_characters, worker, model_revision, finish_reason, error_code, prompt_tokens,
    cached_tokens, output_tokens, dropped_messages, reserved_tokens, created_at, finished_at)
select gen_random_uuid(), m.tenant_id, c.user_id, m.id, 'answer', 'done', gen_random_uuid(), 1, 'small',
    'v1', '{{}}', 0, 'w', 'r', 'stop', '', 10, 0, 20, 0, 0, m.created_at, now()
from chat_message m join chat_conversation c on c.id = m.conversation_id where m.role = 'assistant';
insert into accounts_ledgerentry (id, generation_id, tenant_id, user_id, model, prompt_tokens, cached_tokens,
    output_tokens, day, created_at)
select gen_random_uuid(), id, tenant_id, user_id, model, 10, 0, 20, current_date, created_at from chat_generation;
insert into django_session (session_key, session_data, expire_date)
select 'session' || n, '', now() + interval '1 day' from generate_series(1, {people}) n;
"""

PAGES = {
    "conversations": "/admin/chat/conversation/",
    "generations": "/admin/chat/generation/",
    "generations of a state": "/admin/chat/generation/?state__exact=failed",
    "generations by address": "/admin/chat/generation/?q=person77@example.com",
    "generations by id": "/admin/chat/generation/?q={generation}",
    "ledger": "/admin/accounts/ledgerentry/",
    "ledger by address": "/admin/accounts/ledgerentry/?q=person77@example.com",
    "people": "/admin/accounts/user/",
    "people by address": "/admin/accounts/user/?q=person77@example.com",
    "workspaces": "/admin/accounts/tenant/",
    "ratings": "/admin/feedback/rating/",
}


def start() -> None:
    """A server of this run's own, with our tables and many rows."""
    from tests.services import start_postgresql, start_redis

    os.environ |= {"DATABASE_URL": start_postgresql(), "REDIS_URL": start_redis()}
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatapp.settings.test"
    _create_database()
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    _fill()


def _create_database() -> None:
    import psycopg

    address, _, name = os.environ["DATABASE_URL"].rpartition("/")
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(f'create database "{name}"')  # type: ignore[call-overload]


def _fill() -> None:
    from django.db import connection

    quoted = ",".join(f"'{word}'" for word in WORDS)
    sizes = {"people": PEOPLE, "conversations": PER_PERSON, "messages": PER_CONVERSATION}
    sql = FILL.format(**sizes, words=f"array[{quoted}]", count=len(WORDS), rare=RARE)
    with connection.cursor() as cursor:
        cursor.execute(DEFAULTS)
        for statement in sql.split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        cursor.execute("vacuum analyze")


def timed(act: Callable[[], Any]) -> float:
    """Median milliseconds of ``ROUNDS``, after one that warms up."""
    act()
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        took.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(took), 1)


def measure_pages() -> dict[str, dict[str, float]]:
    from django.test import Client

    from accounts.models import User
    from chatapp.chat.models import Generation

    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com", "a quiet green kettle"))
    generation = Generation.everyone.first().pk
    took = {}
    for name, path in PAGES.items():
        ask = partial(_ask, client, path.format(generation=generation))
        took[name] = {"all": timed(ask), "database": round(_in_database(ask), 1)}
        print(f"  {name:<28}{took[name]['all']:>10,.1f} ms, database {took[name]['database']:>10,.1f}", flush=True)
    return took


def _ask(client: Any, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200, response.status_code


def _in_database(act: Callable[[], Any]) -> float:
    """Milliseconds that one more call waits for its queries."""
    from django.db import connection

    waited = 0.0

    def wait(execute: Callable[..., Any], *asked: Any) -> Any:
        nonlocal waited
        began = time.perf_counter()
        try:
            return execute(*asked)
        finally:
            waited += time.perf_counter() - began

    with connection.execute_wrapper(wait):
        act()
    return waited * 1000


def measure_search() -> dict[str, dict[str, float]]:
    """One person with few conversations, and one who has a quarter of them all, with and without the indexes."""
    from django.db import connection

    from accounts.models import User

    few, many = User.objects.get(email="person1@example.com"), User.objects.get(email="person2@example.com")
    with connection.cursor() as cursor:
        cursor.execute("update chat_conversation set user_id = %s where title in ('About 1', 'About 2')", [many.pk])
        cursor.execute("vacuum analyze chat_conversation")
    took = {"with": _search(few, many)}
    with connection.cursor() as cursor:
        cursor.execute("select indexname from pg_indexes where indexdef ilike '%gin_trgm_ops%'")
        for (name,) in cursor.fetchall():
            cursor.execute(f'drop index "{name}"')
    return took | {"without": _search(few, many)}


def _search(few: Any, many: Any) -> dict[str, float]:
    from accounts.scoping import all_tenants
    from chatapp.chat.models import Conversation
    from chatapp.chat.search import find_conversations

    took = {}
    with all_tenants():
        for name, person in (("few", few), ("many", many)):
            for words in (RARE, COMMON, "k", "%", "kettle quiet river stone"):
                label = f"{name} conversations, {words!r}"
                took[label] = timed(lambda p=person, w=words: find_conversations(Conversation.objects.of(p), w, 50))
                print(f"  {label:<40}{took[label]:>10,.1f} ms", flush=True)
    took["1,000 messages written"] = timed(_write)
    print(f"  {'1,000 messages written':<40}{took['1,000 messages written']:>10,.1f} ms", flush=True)
    return took


def _write() -> None:
    from django.db import connection

    columns = "tenant_id, conversation_id, role, state, model, can_continue, error_code, error_message, created_at"
    with connection.cursor() as cursor:
        cursor.execute(
            f"insert into chat_message (id, text, {columns}) "
            f"select gen_random_uuid(), reverse(text) || id, {columns} from chat_message limit 1000"
        )


def measure_logins() -> float:
    """One look of the watch at ``SOCKETS`` sockets of as many people."""
    from accounts.models import Membership
    from chatapp.web.login_watch import Login, find_ended

    members = Membership.objects.select_related("user", "tenant")[:SOCKETS]
    logins = [Login.of(member, f"session{number + 1}") for number, member in enumerate(members)]
    assert not find_ended(logins)
    took = timed(lambda: find_ended(logins))
    print(f"  {f'the logins of {SOCKETS} sockets':<40}{took:>10,.1f} ms", flush=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    around = machine()
    start()
    rows = PEOPLE * PER_PERSON * PER_CONVERSATION
    result = {"machine": around, "messages": rows, "conversations": PEOPLE * PER_PERSON, "generations": rows // 2}
    result |= {"pages_ms": measure_pages(), "logins_ms": measure_logins(), "sockets": SOCKETS}
    result |= {"search_ms": measure_search()}
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
