"""A product with one place at the GPU, and a crowd in front of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

from playwright.sync_api import Page

from tests.e2e.server import ROOT, Product

MOST_WAITING = 160
SUBMIT = """
from chatapp.queue.transport import get_transport
from inference.messages import ChatMessage, Job, Sampling
story = (ChatMessage("user", "Tell me a long story about a fox"),)
longest = Sampling(max_tokens=800, min_tokens=800)
for number in range({count}):
    get_transport().submit(Job(f"{name}-{{number}}", "{tenant}", "", story, longest, prompt_tokens=20))
"""
CANCEL = """
from chatapp.queue.transport import get_transport
for number in reversed(range({count})):
    get_transport().cancel(f"{name}-{{number}}")
"""


def narrow_product(var: Path) -> Product:
    """One that writes a single answer at a time."""
    return Product(var, environment={"CHATAPP_SLOTS": "1", "CHATAPP_MOST_WAITING": str(MOST_WAITING)})


def lift_limits(product: Product) -> None:
    """Let a person wait as long as it takes, and ask several things at once."""
    product.execute("update accounts_plan set longest_wait = null, concurrent_answers = 4")


def tell(product: Product, code: str) -> None:
    """Run ``code`` in the product's own terms, beside it."""
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_", "DJANGO_"))
    }
    environment = outside | {"CHATAPP_VAR": str(product.var)}
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def crowd(product: Product, page: Page, count: int) -> Iterator[None]:
    """So many long answers, which the person's own workspace has asked for before."""
    slug = page.url.split("/")[4]
    ((tenant,),) = product.query("select id from accounts_tenant where slug = ?", slug)
    chosen = {"count": count, "tenant": UUID(tenant), "name": f"crowd-{uuid4()}"}
    tell(product, SUBMIT.format(**chosen))
    try:
        yield
    finally:
        tell(product, CANCEL.format(**chosen))
