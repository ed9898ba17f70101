"""What opening a conversation costs: bytes over the wire, queries, and the first paint.

``python -m benchmarks.page --json FILE``. A real server, a conversation of 200 messages, a real
browser without a cache. Times are of this machine and for comparison within one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import uuid
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Response, sync_playwright

from benchmarks.workload import machine
from tests.e2e.conftest import CHROMIUM, QUIET, sign_up
from tests.e2e.server import Product

MESSAGES = 200
ANSWER = "A paragraph with **bold** words and `code`.\n\n- one\n- two\n\n```python\nprint('hello')\n```\n"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
READY = f"document.querySelectorAll('[data-message-id]').length >= {MESSAGES}"


def fill(product: Product, slug: str) -> str:
    """A conversation of ``MESSAGES`` messages, straight into the database. Returns its id."""
    tenant, user = product.query(
        "select tenant_id, user_id from accounts_membership "
        "where tenant_id = (select id from accounts_tenant where slug = ?)",
        slug,
    )[0]
    conversation, now = uuid.uuid4().hex, "2026-01-01 00:00:00"
    product.execute(
        "insert into chat_conversation "
        "(id, tenant_id, user_id, title, titled_by_hand, created_at, updated_at) "
        "values (?, ?, ?, 'Long', 0, ?, ?)",
        *(conversation, tenant, user, now, now),
    )
    parent = None
    for number in range(MESSAGES):
        message, role = uuid.uuid4().hex, "assistant" if number % 2 else "user"
        product.execute(
            "insert into chat_message (id, tenant_id, conversation_id, parent_id, role, state, text, thought, model, "
            "can_continue, error_code, error_message, created_at) "
            "values (?, ?, ?, ?, ?, 'done', ?, '', '', 0, '', '', ?)",
            *(message, tenant, conversation, parent, role, ANSWER if number % 2 else f"Question {number}", now),
        )
        parent = message
    product.execute("update chat_conversation set leaf_id = ? where id = ?", parent, conversation)
    return conversation


def visit(page: Page, url: str) -> dict[str, float]:
    """One cold visit: bytes as transferred by kind, and milliseconds."""
    sizes: dict[str, int] = {}

    def count(response: Response) -> None:
        kind = response.request.resource_type
        sizes[kind] = sizes.get(kind, 0) + response.request.sizes()["responseBodySize"]

    page.on("response", count)
    page.goto(url, wait_until="load")
    eager = dict(sizes)  # what follows the load event is lazy
    page.wait_for_function(READY)
    shown = page.evaluate("performance.now()")
    paint = page.evaluate(PAINT)
    return {
        "script_kb": eager.get("script", 0) / 1000,
        "style_kb": eager.get("stylesheet", 0) / 1000,
        "font_kb": eager.get("font", 0) / 1000,
        "document_kb": eager.get("document", 0) / 1000,
        "first_paint_ms": paint,
        "all_messages_ms": shown,
    }


def run(visits: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        product = Product(Path(folder) / "var")
        product.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            first = browser.new_context(base_url=product.url)
            page = first.new_page()
            slug = sign_up(page)
            url = f"{product.url}/w/{slug}/chat/{uuid.UUID(fill(product, slug))}/"
            cookies = first.cookies()
            rows = []
            for _ in range(visits):
                context = browser.new_context(base_url=product.url)
                context.add_cookies(cookies)
                rows.append(visit(context.new_page(), url))
                context.close()
        finally:
            browser.close()
            product.stop()
    medians = {name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]}
    return {"machine": machine(), "messages": MESSAGES, "visits": visits, **medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = run(options.visits)
    for name, value in result.items():
        print(f"{name:>18}  {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
