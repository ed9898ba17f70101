"""Measures the demo model: ``python -m inference.demo.evaluate`` prints, writes ``results.json``
and the table of the model card.

Held-out loss is the mean over the assistant's tokens of conversations from the held-out side of the corpus;
the share right is counted over the held-out question list, decoded greedily.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
)

from . import MODEL_PATH
from .batches import batches
from .heldout import Question, is_right, questions
from .train import loss_of

RESULTS = Path(__file__).parent / "results.json"
CARD = Path(__file__).parent / "README.md"
START_MARK, END_MARK = "<!-- results -->", "<!-- end of results -->"
LOSS_SEED = 30_000
LOSS_BATCHES = 40
BATCH_TOKENS = 4096
AT_ONCE = 24  # questions decoded together
LONGEST_ANSWER = 420  # tokens


def revision(folder: Path) -> str:
    """SHA-256 of the weights: results belong to exactly one model file."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@torch.no_grad()
def heldout_loss(model: Any, tokenizer: Any) -> float:
    """Nats per token of the assistant, each token counted once."""
    total, count = 0.0, 0
    for batch in islice(batches(tokenizer, LOSS_SEED, BATCH_TOKENS, held_out=True), LOSS_BATCHES):
        learned = int((batch[1] != -100).sum())
        total += loss_of(model, batch).item() * learned
        count += learned
    return total / count


def load_tokenizer(folder: Path) -> Any:
    """Padded on the left, as prompts decoded together must be."""
    return AutoTokenizer.from_pretrained(folder, padding_side="left")


def answer(model: Any, tokenizer: Any, asked: Sequence[Question]) -> list[str]:
    """Greedy answers to several questions at once, padded on the left."""
    chats = [question.chat() for question in asked]
    prompt: Any = tokenizer.apply_chat_template(
        chats,
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    greedy = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, max_new_tokens=LONGEST_ANSWER, eos_token_id=tokenizer.eos_token_id
    )
    greedy.pad_token_id = tokenizer.pad_token_id
    output = model.generate(**prompt, generation_config=greedy)
    fresh = output[:, prompt["input_ids"].shape[1] :]
    return list(tokenizer.batch_decode(fresh, skip_special_tokens=True))


def answers(model: Any, tokenizer: Any) -> Iterator[tuple[Question, str]]:
    """Every question of the list with its answer; like lengths are decoded together."""
    asked = sorted(questions(), key=lambda question: sum(map(len, question.messages)))
    for start in range(0, len(asked), AT_ONCE):
        group = asked[start : start + AT_ONCE]
        yield from zip(group, answer(model, tokenizer, group), strict=True)
        print(f"{start + len(group)}/{len(asked)} questions answered", flush=True)


def summary(answered: Sequence[tuple[Question, str]]) -> dict[str, Any]:
    """Right and total by category and overall, and the wrong ones in full."""
    right = Counter(question.category for question, text in answered if is_right(question, text))
    total = Counter(question.category for question, _ in answered)
    wrong = [
        {
            "category": question.category,
            "question": question.messages[-1],
            "answer": text,
            "accepted": question.accept,
        }
        for question, text in answered
        if not is_right(question, text)
    ]
    by_category = {name: {"right": right[name], "total": total[name]} for name in sorted(total)}
    return {"right": right.total(), "total": total.total(), "categories": by_category, "wrong": wrong}


def evaluate(folder: Path) -> dict[str, Any]:
    tokenizer = load_tokenizer(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    loss = heldout_loss(model, tokenizer)
    measured = {
        "revision": revision(folder),
        "parameters": model.num_parameters(),
        "heldout_loss": round(loss, 4),
    }
    return measured | summary(list(answers(model, tokenizer)))


def show(results: dict[str, Any]) -> None:
    print(f"held-out loss {results['heldout_loss']:.3f} nats per token, {results['parameters']:,} parameters")
    for name, counts in (results["categories"] | {"all": results}).items():
        share = counts["right"] / counts["total"]
        print(f"{name:14}{counts['right']:4} of {counts['total']:4} right  {share:6.1%}")


def table(results: dict[str, Any]) -> str:
    """The numbers as the model card shows them."""
    counted = (results["categories"] | {"**all**": results}).items()
    rows = [
        f"| {name.replace('_', ' ')} | {it['right']} of {it['total']} | {it['right'] / it['total']:.0%} |"
        for name, it in counted
    ]
    loss = f"Held-out loss: {results['heldout_loss']:.3f} nats per token of the assistant."
    return "\n".join([loss, "", "| questions | right | share |", "|---|---|---|", *rows])


def write_card(results: dict[str, Any]) -> None:
    """Puts the numbers between the two marks of the model card."""
    before, _, rest = CARD.read_text("utf-8").partition(START_MARK)
    after = rest.partition(END_MARK)[2]
    CARD.write_text(f"{before}{START_MARK}\n{table(results)}\n{END_MARK}{after}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the demo model on held-out questions.")
    parser.add_argument("--model", type=Path, default=MODEL_PATH)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = evaluate(options.model)
    show(results)
    options.out.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if options.out == RESULTS:
        write_card(results)


if __name__ == "__main__":
    main()
