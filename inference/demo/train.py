"""Trains the demo model from nothing: ``python -m inference.demo.train``.

Prints step, loss, tokens per second and the time left; writes checkpoints and resumes from the last one. The
corpus, its order and the initial weights follow from ``--seed``. On the same CPU, torch and number of processes the
weights come out the same; elsewhere sums are rounded in another order and only the quality is reproduced.
Work is split over processes of one thread each, which meet once per step: on a busy machine the threads of one
process would wait for each other at every operation.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from . import MODEL_PATH
from .architecture import generation_config, model_config
from .batches import Batch, batches
from .tokenizer import train_tokenizer

REPORT_EVERY = 20  # steps
SAVE_EVERY = 200
WARMUP = 60
EAGER_UP_TO = 512  # tokens; measured on CPU in bf16: plain attention is 1.7 times as fast below, slower above
DECAY = 0.4  # share of the steps over which the learning rate falls to nothing


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the weights depend on."""

    seed: int
    steps: int
    batch_tokens: int
    rate: float
    processes: int


class Master:
    """A bf16 model that runs and fp32 weights that learn.

    Matrices are stepped by Muon, embeddings and norms by AdamW. The bf16 copy is what is saved, so the
    weights that were trained are the weights that are served.
    """

    def __init__(self, model: LlamaForCausalLM, rate: float) -> None:
        self.model = model.to(torch.bfloat16)  # type: ignore[arg-type]
        self.weights = {name: value.detach().float().requires_grad_() for name, value in model.named_parameters()}
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
        average([weight.grad for weight in self.weights.values() if weight.grad is not None])
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


def average(gradients: Sequence[torch.Tensor]) -> None:
    """Makes the gradients of all processes the same: their mean, in place."""
    if not dist.is_initialized():
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    mean = flat / dist.get_world_size()
    parts = mean.split([gradient.numel() for gradient in gradients])  # type: ignore[no-untyped-call]
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def _is_matrix(name: str) -> bool:
    return name.endswith("proj.weight")


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy in nats over the assistant's tokens; only their logits are computed."""
    ids, targets = batch
    model.set_attn_implementation("eager" if ids.shape[1] <= EAGER_UP_TO else "sdpa")
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    chosen = targets != -100
    return nn.functional.cross_entropy(model.lm_head(hidden[chosen]).float(), targets[chosen])


def share_at(step: int, steps: int) -> float:
    """Warm up, hold, and fall linearly: 0 to 1."""
    return min(1.0, (step + 1) / WARMUP, (steps - step) / (DECAY * steps))


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(model_config(tokenizer))


def train(plan: Plan, work: Path, rank: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, int]:
    """Trains to the end of ``plan``, from a checkpoint in ``work`` if there is one; also counts the tokens.

    Every process makes the whole stream of batches and takes each ``processes``-th of them.
    """
    tokenizer = train_tokenizer(plan.seed)
    master = Master(new_model(tokenizer, plan.seed), plan.rate)
    checkpoint = work / "checkpoint.pt"
    done = master.load(checkpoint) if checkpoint.exists() else 0
    progress = Progress(plan, done, rank)
    for step, batch in enumerate(islice(_share(plan, tokenizer, rank), plan.steps)):
        progress.seen += batch[0].numel() * plan.processes
        if step < done:
            continue
        loss = loss_of(master.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        master.step(share_at(step, plan.steps))
        progress.report(step + 1, loss.item())
        if (step + 1) % SAVE_EVERY == 0 and rank == 0:
            torch.save(master.state(step + 1), checkpoint)
    return master.model, tokenizer, progress.seen


def _share(plan: Plan, tokenizer: PreTrainedTokenizerFast, rank: int) -> Iterator[Batch]:
    return islice(batches(tokenizer, plan.seed, plan.batch_tokens), rank, None, plan.processes)


class Progress:
    """Prints a line every few steps: loss, speed, time left. ``seen`` counts tokens, padding included."""

    def __init__(self, plan: Plan, done: int, rank: int) -> None:
        self.steps, self.done, self.quiet = plan.steps, done, rank > 0
        self.seen, self.start, self.losses = 0, (0.0, 0), list[float]()

    def report(self, step: int, loss: float) -> None:
        if step == self.done + 1:
            self.start = (time.monotonic(), self.seen)
        self.losses = [*self.losses[-REPORT_EVERY + 1 :], loss]
        if self.quiet or (step % REPORT_EVERY and step != self.steps):
            return
        spent = time.monotonic() - self.start[0]
        speed = (self.seen - self.start[1]) / spent
        left = spent / (step - self.done - 1) * (self.steps - step) / 60
        mean = sum(self.losses) / len(self.losses)
        ahead = f"{speed:,.0f} tokens/s  {left:.1f} min left"
        print(f"step {step}/{self.steps}  loss {mean:.3f}  {ahead}", flush=True)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, record: dict[str, object]) -> None:
    """Writes the folder that ``from_pretrained`` takes, with the plan it was trained by."""
    model.generation_config = generation_config(tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-tokens", type=int, default=3072, help="of one process")
    parser.add_argument("--rate", type=float, default=8e-3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("var/demo-training"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=MODEL_PATH, help="the finished model")
    return parser.parse_args()


def run(rank: int, plan: Plan, work: Path, out: Path) -> None:
    """One of the processes; the first one saves."""
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    meeting = f"file://{work.resolve()}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=plan.processes)
    model, tokenizer, seen = train(plan, work, rank)
    if rank == 0:
        save(model, tokenizer, out, asdict(plan) | {"tokens": seen, "torch": torch.__version__})
        print(f"wrote {out}")
    dist.destroy_process_group()


def main() -> None:
    options = parse()
    plan = Plan(options.seed, options.steps, options.batch_tokens, options.rate, options.processes)
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / "meeting").unlink(missing_ok=True)
    print(f"learning the tokenizer, then the model: {plan}", flush=True)
    spawn(run, (plan, options.work, options.out), plan.processes)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
