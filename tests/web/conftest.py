"""Tabs of people over the real consumer, and a worker moved by hand."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from accounts.models import Membership
from tests.hand_worker import HandWorker
from tests.web.tabs import Tab


@pytest.fixture
async def tab_of():
    tabs = []

    async def make(membership: Membership, slug: str = "") -> Tab:
        def cookie() -> str:
            client = Client()
            client.force_login(membership.user)
            return client.session.session_key

        tabs.append(Tab(slug or membership.tenant.slug, await sync_to_async(cookie)()))
        return tabs[-1]

    yield make
    for tab in tabs:
        await tab.close()


@pytest.fixture
async def tab(member, tab_of):
    tab = await tab_of(member)
    await tab.open()
    return tab


@pytest.fixture
def work(hand: HandWorker):
    """Call the hand worker from a thread, as a worker would be."""

    async def call(verb: str, *args, **kwargs):
        return await asyncio.to_thread(getattr(hand, verb), *args, **kwargs)

    return call
