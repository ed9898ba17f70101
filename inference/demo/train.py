"""Trains the demo model from nothing: ``python -m inference.demo.train``.

Prints step, loss, tokens per second and the time left; writes checkpoints and resumes from the last one. The corpus,
its order and the initial weights follow from ``--seed``. On the same CPU, torch build and thread count the
weights come out the same; elsewhere sums are rounded in another order and only the quality is reproduced.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from inference.demo import MODEL_PATH
from inference.demo.architecture import generation_config, model_config
from inference.demo.batches import Batch, batches
from inference.demo.tokenizer import train_tokenizer

REPORT_EVERY = 20  # steps
SAVE_EVERY = 200
WARMUP = 60
DECAY = 0.4  # share of the steps over which the learning rate falls to nothing


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the weights depend on."""

    seed: int
    steps: int
    batch_tokens: int
    rate: float
    threads: int


class Master:
    """A bf16 model that runs and fp32 weights that learn.

    Matrices are stepped by Muon, embeddings and norms by AdamW. The bf16 copy is what is saved, so the
    weights that were trained are the weights that are served.
    """

    def __init__(self, model: LlamaForCausalLM, rate: float) -> None:
        self.model = model.to(torch.bfloat16)
        self.weights = {
            name: value.detach().float().requires_grad_() for name, value in model.named_parameters()
        }
        matrices = [value for name, value in self.weights.items() if _is_matrix(name)]
        others = [value for name, value in self.weights.items() if not _is_matrix(name)]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.rate = rate

    def step(self, share: float) -> None:
        """One update at ``share`` of the peak rate, from the gradients of the bf16 model."""
        for name, value in self.model.named_parameters():
            self.weights[name].grad = None if value.grad is None else value.grad.float()
            value.grad = None
        nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * share
            optimizer.step()
        self.publish()

    @torch.no_grad()
    def publish(self) -> None:
        for name, value in self.model.named_parameters():
            value.copy_(self.weights[name])

    def state(self, step: int) -> dict[str, object]:
        return {
            "step": step,
            "weights": self.weights,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load(self, path: Path) -> int:
        """Takes up a checkpoint; returns the number of steps done."""
        saved = torch.load(path, weights_only=True)
        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(saved["weights"][name])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.publish()
        return int(saved["step"])


def _is_matrix(name: str) -> bool:
    return name.endswith("proj.weight")


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy in nats over the assistant's tokens; only their logits are computed."""
    ids, targets = batch
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    chosen = targets != -100
    return nn.functional.cross_entropy(model.lm_head(hidden[chosen]).float(), targets[chosen])


def share_at(step: int, steps: int) -> float:
    """Warm up, hold, and fall linearly: 0 to 1."""
    return min(1.0, (step + 1) / WARMUP, (steps - step) / (DECAY * steps))


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(model_config(tokenizer))


def train(plan: Plan, work: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, int]:
    """Trains to the end of ``plan``, going on from a checkpoint in ``work``; returns the tokens seen as well."""
    print(f"learning the tokenizer of seed {plan.seed}", flush=True)
    tokenizer = train_tokenizer(plan.seed)
    master = Master(new_model(tokenizer, plan.seed), plan.rate)
    checkpoint = work / "checkpoint.pt"
    done = master.load(checkpoint) if checkpoint.exists() else 0
    progress = Progress(plan.steps, done)
    seen = 0
    for step, batch in enumerate(islice(batches(tokenizer, plan.seed, plan.batch_tokens), plan.steps)):
        seen += batch[0].numel()
        if step < done:
            continue
        loss = loss_of(master.model, batch)
        loss.backward()
        master.step(share_at(step, plan.steps))
        progress.report(step + 1, loss.item(), batch[0].numel())
        if (step + 1) % SAVE_EVERY == 0:
            torch.save(master.state(step + 1), checkpoint)
    return master.model, tokenizer, seen


class Progress:
    """Prints a line every few steps: loss, speed, time left."""

    def __init__(self, steps: int, done: int) -> None:
        self.steps, self.since, self.start = steps, done, time.monotonic()
        self.tokens, self.losses = 0, list[float]()

    def report(self, step: int, loss: float, tokens: int) -> None:
        self.tokens += tokens
        self.losses = [*self.losses[-REPORT_EVERY + 1 :], loss]
        if step % REPORT_EVERY and step != self.steps:
            return
        spent = time.monotonic() - self.start
        left = spent / (step - self.since) * (self.steps - step)
        mean = sum(self.losses) / len(self.losses)
        print(
            f"step {step}/{self.steps}  loss {mean:.3f}  {self.tokens / spent:,.0f} tokens/s  {left / 60:.1f} min left",
            flush=True,
        )


def save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, record: dict[str, object]
) -> None:
    """Writes the folder that ``from_pretrained`` takes, with the plan it was trained by."""
    model.generation_config = generation_config(tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("var/demo-training"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=MODEL_PATH, help="the finished model")
    return parser.parse_args()


def main() -> None:
    options = parse()
    plan = Plan(options.seed, options.steps, options.batch_tokens, options.rate, options.threads)
    torch.set_num_threads(plan.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    model, tokenizer, seen = train(plan, options.work)
    save(model, tokenizer, options.out, asdict(plan) | {"tokens": seen, "torch": torch.__version__})
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
