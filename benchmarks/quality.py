"""What our engine's weights cost in quality, against transformers in float32: ``python -m benchmarks.quality MODEL``.

agreement: tokens that a greedy answer shares with the reference's from its start. top1: positions of a given
text at which both find the same token likeliest. perplexity: of both on that text, the demo model's held-out
conversations; other models get text of random ids, on which only ``top1`` means something.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from benchmarks.loads import Lengths
from benchmarks.models import config_of, find_model
from inference.demo import MODEL_PATH
from inference.engine import EngineConfig, LLMEngine, SamplingParams
from inference.engine.check import all_logits

TEXTS, PROMPT, OUTPUT = 8, 40, 64


def texts(folder: Path) -> list[list[int]]:
    if folder == MODEL_PATH:
        from inference.demo.corpus import conversations
        from inference.demo.tokenizer import encode

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        held = (encode(tokenizer, item)[0] for item in conversations(30_000, held_out=True))
        return list(islice((ids for ids in held if 2 * PROMPT < len(ids) <= 512), 4 * TEXTS))
    lengths = Lengths(0, PROMPT, OUTPUT, config_of(folder)["vocab_size"])
    return [lengths.draw(random.Random(place), PROMPT + OUTPUT) for place in range(TEXTS)]


def reference(folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    model.generation_config = GenerationConfig()  # without the model's own ends of text
    return model


@torch.inference_mode()
def reference_answer(model: Any, prompt: list[int]) -> list[int]:
    output = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=OUTPUT,
        eos_token_id=None,
        pad_token_id=0,
    )
    return output[0, len(prompt) :].tolist()


def agreement(ours: list[int], theirs: list[int]) -> int:
    """Length of the common beginning."""
    return next((place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]), len(ours))


def our_answers(engine: LLMEngine, prompts: list[list[int]]) -> list[list[int]]:
    params = SamplingParams(temperature=0.0, max_tokens=OUTPUT, ignore_eos=True)
    for place, prompt in enumerate(prompts):
        engine.add_request(str(place), prompt, params)
    answers: list[list[int]] = [[] for _ in prompts]
    while engine.has_unfinished:
        for output in engine.step():
            answers[int(output.request_id)] += output.token_ids
    return answers


@torch.inference_mode()
def compare(engine: LLMEngine, model: Any, given: list[list[int]]) -> dict[str, float]:
    """Answers first: the logits are computed in blocks that the prefix cache knows otherwise."""
    prompts = [ids[:PROMPT] for ids in given[:TEXTS]]
    pairs = zip(our_answers(engine, prompts), [reference_answer(model, prompt) for prompt in prompts], strict=True)
    agreed = [agreement(*pair) for pair in pairs]
    runner = engine.runner
    ours = [all_logits(runner.backend, runner.model, runner.cache, ids) for ids in given]
    forced = [
        Forced.of(logits, model(torch.tensor([ids])).logits[0], ids) for logits, ids in zip(ours, given, strict=True)
    ]
    count = sum(text.count for text in forced)
    return {
        "agreement_mean": round(statistics.mean(agreed), 1),
        "agreement_median": statistics.median(agreed),
        "agreement_of": OUTPUT,
        "top1": round(sum(text.same for text in forced) / count, 4),
        "perplexity": round(math.exp(sum(text.loss for text in forced) / count), 4),
        "reference_perplexity": round(math.exp(sum(text.reference_loss for text in forced) / count), 4),
        "positions": count,
    }


@dataclass(frozen=True, slots=True)
class Forced:
    """What both say of one text's tokens, each after the right ones before it. Losses are sums, in nats."""

    count: int
    same: int
    loss: float
    reference_loss: float

    @classmethod
    def of(cls, ours: Tensor, theirs: Tensor, ids: list[int]) -> Forced:
        target = torch.tensor(ids[1:])
        losses = [float(cross_entropy(logits[:-1], target, reduction="sum")) for logits in (ours, theirs)]
        same = int((ours[:-1].argmax(-1) == theirs[:-1].argmax(-1)).sum())
        return cls(len(target), same, *losses)


def measure(folder: Path, threads: int, options: dict[str, Any]) -> dict[str, float]:
    engine = LLMEngine(EngineConfig(model=str(folder), device="cpu", num_threads=threads, **options))
    given = texts(folder)
    return compare(engine, reference(folder), given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--options", type=json.loads, default={}, help="of EngineConfig, as JSON")
    options = parser.parse_args()
    print(json.dumps(measure(find_model(options.model), options.threads, options.options)))


if __name__ == "__main__":
    main()
