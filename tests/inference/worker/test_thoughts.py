"""What an engine of ours thinks is no part of its answer, wherever a worker takes it over."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from transformers import PreTrainedTokenizerFast

from inference.messages import ChatMessage, Claim, Text
from inference.writers.text import MARKS
from inference.writers.torch import TorchWriter
from inference.writers.torch.prompt_tokens import fit_prompt
from tests.inference.conftest import TEMPLATE
from tests.inference.logs import ended, text_of
from tests.inference.worker.jobs import SAMPLING, job

OPENING = TEMPLATE.replace("<|assistant|>", "<|assistant|><think>\n")
STRICT = (
    "{% for m in messages %}{% if m.role == 'system' and not (SYSTEM and loop.first) %}"
    "{{ raise_exception('System role not supported') }}"
    "{% elif m.role != 'system' and (m.role == 'user') != ((loop.index0 - (messages[0].role == 'system')) % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}<|assistant|>"
)


@pytest.fixture
def with_template(llama, tokenizer, tmp_path):
    """A folder of the Llama with another chat template, and special tokens besides its own."""

    def make(template, *specials):
        folder = shutil.copytree(llama, tmp_path / "model", dirs_exist_ok=True)
        fast = PreTrainedTokenizerFast.from_pretrained(folder)
        fast.add_tokens(list(specials), special_tokens=True)
        fast.chat_template = template
        fast.save_pretrained(folder)
        (folder / "chat_template.jinja").write_text(template)
        return folder

    return make


def written_after(engine, spelled, **fields):
    """Thought and text of what follows the tokens of ``spelled``, which an earlier worker wrote."""
    writer = TorchWriter(engine)
    ids = tuple(engine.tokenizer.encode(spelled, add_special_tokens=False)) if spelled else ()
    writer.begin(Claim(job(**fields), token_ids=ids, tokens=len(ids), attempt=2 if ids else 1))
    thought = text = ""
    while writer.busy:
        for one in writer.advance(0.0):
            thought, text = thought + one.thought, text + one.text
    return thought, text


@pytest.mark.parametrize(
    ("template", "spelled", "kind"),
    [
        (TEMPLATE, "", "text"),
        (TEMPLATE, "Yes: <think> is", "text"),
        (TEMPLATE, "<think>Hm", "thought"),
        (TEMPLATE, "<think>Hm</thi", "thought"),
        (TEMPLATE, "<think>Hm</think>\n\nYes", "text"),
        (OPENING, "", "thought"),
        (OPENING, "Hm", "thought"),
        (OPENING, "Hm</think>Yes", "text"),
    ],
)
def test_a_worker_goes_on_where_the_thought_or_the_answer_was(make_engine, with_template, template, spelled, kind):
    thought, text = written_after(make_engine(with_template(template)), spelled)
    assert bool(thought) == (kind == "thought")
    assert bool(text) == (kind == "text")


def test_a_mark_cut_by_the_change_of_workers_does_not_leak(make_engine, with_template):
    thought, _ = written_after(make_engine(with_template(OPENING)), "Hm</thi")
    assert thought.startswith("</thi"), "held back by the first worker, and no mark after all"


def test_an_answer_that_goes_on_is_no_thought_and_its_prompt_says_so(make_engine, with_template):
    engine = make_engine(with_template(OPENING))
    assert written_after(engine, "", resume_text="Yes, ")[0] == ""
    prompt, _ = fit_prompt(engine, job(resume_text="Yes, "), TorchWriter(engine)._opened)
    assert engine.tokenizer.decode(prompt).endswith("<|assistant|><think>\n\n</think>\n\nYes, ")


def test_an_answer_held_to_a_schema_has_no_thoughts(make_engine, with_template):
    sampling = replace(SAMPLING, max_tokens=60, json_schema='{"enum":["a"]}')
    assert written_after(make_engine(with_template(OPENING)), "", sampling=sampling) == ("", '"a"')


def test_what_a_relay_had_only_thought_is_begun_anew_here(make_engine):
    writer = TorchWriter(make_engine())
    log = (Text(2, "", (), 3, thought="Hm"),)
    writer.begin(Claim(job(), tokens=3, log=log, attempt=2))
    text = "".join(one.text for _ in range(30) if writer.busy for one in writer.advance(0.0))
    assert text == written_after(make_engine(), "")[1][: len(text)]


def test_marks_that_are_special_tokens_are_seen_where_they_are_wanted(make_engine, with_template):
    folder = with_template(TEMPLATE, "[THINK]", "[/THINK]", "<|end|>")
    spelled = "[THINK]Hm[/THINK]Yes<|end|>"
    for marks, shown in ((MARKS, "[THINK]Hm[/THINK]Yes"), ((), "HmYes")):
        engine = make_engine(folder, visible_tokens=marks)
        ids = engine.tokenizer.encode(spelled, add_special_tokens=False)
        told = engine.add_request("r", [40], engine.sampling_params(max_tokens=40), resume_token_ids=ids)
        assert told == shown, "an end of a turn is no mark where there are no channels"


CHATS = {
    "one system": (("system", "user"), 0),
    "two users": (("user", "user"), 1),
    "a later system": (("user", "assistant", "system", "user"), 1),
    "two systems": (("system", "system", "user"), 1),
    "system, then assistant": (("system", "assistant", "user"), 2),
}


@pytest.mark.parametrize("takes_system", [True, False])
@pytest.mark.parametrize("name", CHATS)
def test_strict_templates_get_turns_that_they_take(
    transport, run_worker, with_template, make_engine, name, takes_system
):
    folder = with_template("{% set SYSTEM = " + str(takes_system).lower() + " %}" + STRICT)
    run_worker(load=lambda progress: make_engine(folder))
    chat = tuple(ChatMessage(role, f"{role} {number}") for number, role in enumerate(CHATS[name][0]))
    transport.submit(replace(job(trim=False), messages=chat))
    log = ended(transport)
    assert (log[-1].reason, log[-1].error_code) == ("length", "")
    engine = make_engine(folder)
    prompt = engine.tokenizer.decode(fit_prompt(engine, replace(job(), messages=chat))[0])
    for message in chat:
        assert prompt.count(message.content) == 1, "no word is lost, and none said twice"


def test_turns_that_no_form_helps_are_refused_by_name(transport, run_worker, with_template, make_engine):
    folder = with_template("{% set SYSTEM = true %}" + STRICT)
    run_worker(load=lambda progress: make_engine(folder))
    transport.submit(replace(job(), messages=(ChatMessage("assistant", "Hello."), ChatMessage("user", "Hi"))))
    end = ended(transport)[-1]
    assert (end.reason, end.error_code) == ("failed", "invalid_messages")
    assert "alternate" in end.error_message


@pytest.mark.parametrize("trim", [True, False])
def test_a_system_message_alone_is_a_prompt(transport, run_worker, trim):
    run_worker()
    transport.submit(replace(job(trim=trim), messages=(ChatMessage("system", "hello"),)))
    log = ended(transport)
    assert (log[-1].reason, log[0].dropped_messages, bool(text_of(log))) == ("length", 0, True)


def test_an_answer_goes_on_to_the_end_of_the_context_and_ends_there(transport, run_worker):
    run_worker(max_model_len=64)
    so_far = "the quick brown fox jumps over the lazy dog and runs away " * 4
    transport.submit(job("some", resume_text=so_far, sampling=replace(SAMPLING, max_tokens=64)))
    log = ended(transport, "some")
    assert (log[-1].reason, text_of(log) != "") == ("length", True), "there is room for some words, if not for many"
    transport.submit(job("none", resume_text=so_far * 2))
    end = ended(transport, "none")[-1]
    assert (end.reason, end.error_code, end.output_tokens) == ("length", "", 0)
