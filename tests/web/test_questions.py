"""How often one answer asks the database: each question costs the web as much as dozens of tokens."""

from __future__ import annotations

import pytest
from django.db.backends.utils import CursorWrapper

from accounts.models import UsageDay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transport", "no_titles")]

FIRST = [
    "SELECT accounts_membership",
    "INSERT chat_conversation",
    "INSERT chat_message",
    "UPDATE chat_conversation",
    "INSERT chat_generation",
    "INSERT accounts_usageday",
    "SELECT chat_generation",  # how many are being written
]
NEXT = [
    "SELECT accounts_membership",
    "SELECT chat_conversation",
    "SELECT chat_message",  # whether one is being written
    "WITH chat_message",
    *FIRST[2:],
]
END = [
    "SELECT chat_generation",
    "UPDATE chat_generation",
    "UPDATE chat_message",
    "INSERT accounts_ledgerentry",
    "UPDATE accounts_usageday",
]


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The verb and first table of every statement, whichever thread asks."""
    kept: list[str] = []
    execute = CursorWrapper._execute_with_wrappers

    def keep(self, sql, *arguments, **options):
        words = sql.replace('"', " ").replace(".", " ").split()
        tables = [word for word in words if word.startswith(("accounts_", "chat_", "django_", "feedback_"))]
        if "queue_offeredmodel" not in words:  # remembered for a while
            kept.append(f"{words[0]} {tables[0]}")
        return execute(self, sql, *arguments, **options)

    monkeypatch.setattr(CursorWrapper, "_execute_with_wrappers", keep)
    return kept


async def test_a_question_and_its_answer_ask_no_more_than_they_must(tab, work, asked):
    conversation = (await tab.ask())["conversation"]["id"]
    assert asked == FIRST
    for _ in range(2):
        asked.clear()
        await work("answer", "Yes.")
        await tab.until("end")
        assert (await tab.next())["type"] == "usage"
        assert asked == END
        asked.clear()
        await tab.ask("And then?", conversation=conversation)
        assert asked == NEXT


async def test_the_end_tells_the_usage_that_the_database_has(tab, work, member):
    await tab.ask()
    await work("answer", "Yes.", " No.")
    await tab.until("end")
    usage = (await tab.next())["usage"]
    day = await UsageDay.everyone.aget(tenant=member.tenant)
    assert (usage["used"], usage["reserved"]) == (day.used, day.reserved) == (12, 0)
    assert usage["plan"] == member.tenant.plan.name
