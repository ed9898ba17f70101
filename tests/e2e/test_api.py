"""The OpenAI-compatible API on the real product: its documentation's examples run, and a stop reaches the engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import openai
import pytest

from tests.e2e.conftest import LONG, eventually
from tests.e2e.server import ROOT, Product

pytestmark = pytest.mark.e2e

MAKE_KEY = """
from accounts.models import ApiKey, User
from accounts.services import create_personal_tenant
user = User.objects.create_user("program@example.com", "a quiet green kettle")
key = ApiKey(tenant=create_personal_tenant(user=user), user=user, name="tests")
secret = key.draw_secret()
key.save()
print(secret)
"""
EXAMPLES = re.findall(r"```(sh|python)\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def environment(product: Product) -> dict[str, str]:
    """As the documentation has it set."""
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_", "DJANGO_"))
    }
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", MAKE_KEY]
    made = subprocess.run(
        command,
        cwd=ROOT,
        env=outside | {"CHATAPP_VAR": str(product.var)},
        capture_output=True,
        text=True,
        check=True,
    )
    return outside | {"OPENAI_BASE_URL": f"{product.url}/v1", "OPENAI_API_KEY": made.stdout.strip()}


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_in_the_documentation_run(environment, language, code):
    command = ["bash", "-euc", code] if language == "sh" else [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.search("demo|Lisbon|print", ran.stdout)


def test_a_caller_that_leaves_stops_the_engine_and_pays_for_what_was_written(environment, product):
    client = openai.OpenAI(base_url=environment["OPENAI_BASE_URL"], api_key=environment["OPENAI_API_KEY"])
    asked = [{"role": "user", "content": LONG}]
    with client, client.chat.completions.create(model="demo", messages=asked, stream=True) as stream:
        for number, _ in enumerate(stream):
            if number == 5:
                break
    last = "from chat_generation where kind = 'call' order by created_at desc limit 1"
    eventually(lambda: product.query(f"select state {last}"), [("stopped",)], seconds=5)
    ((tokens, most),) = product.query(f"select output_tokens, json_extract(sampling, '$.max_tokens') {last}")
    assert 0 < tokens < most
    paid = "select prompt_tokens + output_tokens from accounts_ledgerentry order by created_at desc limit 1"
    assert product.query(paid) == product.query(f"select prompt_tokens + output_tokens {last}")


def test_the_same_seed_gives_the_same_answer(environment):
    client = openai.OpenAI(base_url=environment["OPENAI_BASE_URL"], api_key=environment["OPENAI_API_KEY"])
    asked = [{"role": "user", "content": "Tell me a long story about a fox"}]

    def ask(seed: int) -> str | None:
        reply = client.chat.completions.create(model="demo", messages=asked, seed=seed, temperature=1.2, max_tokens=40)
        return reply.choices[0].message.content

    with client:
        assert ask(1) == ask(1)
        assert len({ask(seed) for seed in range(2, 6)}) > 1
