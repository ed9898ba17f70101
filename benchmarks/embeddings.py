"""How fast texts become vectors, beside sentence-transformers: ``python -m benchmarks.embeddings``.

All in one process with the same torch, on the same texts and as many threads; they take turns for ``--rounds`` rounds,
after one that is not counted. ``ours`` is the model as the worker runs it, in steps of its size; ``queue`` is the same
behind the line: jobs of 64 texts through the memory transport and a worker's loop. ``transformers`` is BertModel on
batches of 32 in order of length, padded; ``sentence-transformers`` its ``encode`` with its own defaults (``python -m
benchmarks.peers.install sentence-transformers``). Vectors of all have to be the same.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers.known import SENTENCE_TRANSFORMERS
from benchmarks.workload import machine
from inference.embed.embedder import Embedder
from inference.embed.folder import read_folder
from inference.embed.packaged import packaged_model
from inference.messages import EMBEDDING, Ended, Job, Sampling, Vectors
from inference.transport import MemoryTransport
from inference.worker.loop import Worker
from inference.writers.embed import STEP_TOKENS, EmbedWriter

Encode = Callable[[list[str]], np.ndarray]

LENGTHS = {"short": (4, 16), "mixed": (4, 200), "long": (220, 300)}  # words of a text, about as many tokens
JOB_TEXTS, BATCH = 64, 32
EXACT = 1e-4  # of cosine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, default=packaged_model(), help="a folder of sentence-transformers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workloads", default=",".join(LENGTHS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.model is None:
        parser.error("the packaged model is not installed; name a folder with --model")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(options.threads)
    with peers(options.model) as ready:
        cases = {name: measure(ready, name, options) for name in options.workloads.split(",")}
    settings = {"model": options.model.parent.name, "threads": options.threads, "texts": options.texts}
    result = {"machine": machine(), **settings, "rounds": options.rounds, "missing": ready.missing, "cases": cases}
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


class Peers(dict[str, Encode]):
    """By name; ``missing`` says why one does not take part."""

    missing: dict[str, str]
    close: Callable[[], None]

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def peers(folder: Path) -> Peers:
    embedder = Embedder(read_folder(folder), "cpu")
    queue, close = through_the_queue(embedder)
    found = Peers(ours=lambda texts: in_steps(embedder, texts), queue=queue, transformers=padded(folder))
    found.missing, found.close = {}, close
    if SENTENCE_TRANSFORMERS.is_dir():
        sys.path.append(str(SENTENCE_TRANSFORMERS))  # behind ours: torch and transformers are the same
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        found.missing["sentence-transformers"] = f"{error}; python -m benchmarks.peers.install sentence-transformers"
    else:
        model = SentenceTransformer(str(folder), device="cpu")
        found["sentence-transformers"] = lambda texts: model.encode(texts, normalize_embeddings=True)
    return found


def in_steps(embedder: Embedder, texts: list[str]) -> np.ndarray:
    return np.concatenate([embedder.embed(step) for step in steps(embedder, texts)])


def steps(embedder: Embedder, texts: list[str]) -> Iterator[list[list[int]]]:
    """As the worker makes them."""
    step: list[list[int]] = []
    for token_ids in (text.token_ids for text in embedder.encode(texts)):
        if step and sum(map(len, step)) + len(token_ids) > STEP_TOKENS:
            yield step
            step = []
        step.append(token_ids)
    yield step


def through_the_queue(embedder: Embedder) -> tuple[Encode, Callable[[], None]]:
    transport, numbers = MemoryTransport(), iter(range(10**9))
    writer = EmbedWriter(embedder.folder, lambda: embedder)
    worker = Worker(transport, lambda tell: writer, name="w", model="m", kind=EMBEDDING)
    thread = threading.Thread(target=worker.run)
    thread.start()

    def encode(texts: list[str]) -> np.ndarray:
        parts = [texts[start : start + JOB_TEXTS] for start in range(0, len(texts), JOB_TEXTS)]
        names = [f"job-{next(numbers)}" for _ in parts]
        for name, part in zip(names, parts, strict=True):
            job = Job(name, "t", "m", (), Sampling(1), len(part), kind=EMBEDDING, texts=tuple(part))
            transport.submit(job)
        return np.concatenate([wait(transport, name, len(part)) for name, part in zip(names, parts, strict=True)])

    def close() -> None:
        worker.stop()
        thread.join()

    return encode, close


def wait(transport: MemoryTransport, name: str, count: int) -> np.ndarray:
    while not (log := transport.log(name)) or not isinstance(log[-1], Ended):
        time.sleep(0.002)
    transport.release(name)
    found: dict[int, np.ndarray] = {}
    for event in (event for event in log if isinstance(event, Vectors)):
        rows = np.frombuffer(base64.b64decode(event.data), "<f4").reshape(len(event.places), -1)
        found |= dict(zip(event.places, rows, strict=True))
    return np.stack([found[place] for place in range(count)])


def padded(folder: Path) -> Encode:
    from transformers import AutoTokenizer, BertModel

    told = read_folder(folder)
    tokenizer, model = AutoTokenizer.from_pretrained(told.path), BertModel.from_pretrained(told.path).eval()

    def pool(batch: list[str]) -> torch.Tensor:
        given = tokenizer(batch, padding=True, truncation=True, max_length=told.longest, return_tensors="pt")
        states, mask = model(**given).last_hidden_state, given["attention_mask"].unsqueeze(-1)
        match told.pooling:
            case "mean":
                return (states * mask).sum(1) / mask.sum(1)
            case "cls":
                return states[:, 0]
            case "max":
                return states.masked_fill(mask == 0, -1e9).amax(1)

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        pooled = torch.cat([pool([texts[place] for place in batch]) for batch in batches])
        vectors = torch.empty_like(pooled)
        vectors[order] = torch.nn.functional.normalize(pooled, dim=-1)
        return vectors.numpy()

    return encode


def measure(ready: Peers, workload: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Texts and tokens a second of the median round, and by how much vectors differ from ours."""
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    apart = dict.fromkeys(ready, 0.0)
    for number in range(options.rounds + 1):
        texts = make_texts(workload, options.texts, number)
        ours = ready["ours"](texts)
        for name in random.Random(number).sample(list(ready), len(ready)):
            began = time.perf_counter()
            vectors = ready[name](texts)
            if number:
                seconds[name].append(time.perf_counter() - began)
            apart[name] = max(apart[name], float((1 - (ours * vectors).sum(1)).max()))
    assert max(apart.values()) < EXACT, apart
    tokens = count_tokens(options.model, make_texts(workload, options.texts, 1))
    return {name: row(times, options.texts, tokens, apart[name]) for name, times in seconds.items()}


def row(times: list[float], texts: int, tokens: int, apart: float) -> dict[str, float]:
    median = statistics.median(times)
    speeds = [round(texts / seconds, 1) for seconds in (max(times), min(times))]
    return {
        "texts_per_second": round(texts / median, 1),
        "tokens_per_second": round(tokens / median),
        "slowest_round": speeds[0],
        "fastest_round": speeds[1],
        "cosine_apart": apart,
    }


def make_texts(workload: str, count: int, seed: int) -> list[str]:
    """Of common words of English, as many as the workload says."""
    dice, (low, high) = random.Random(seed), LENGTHS[workload]
    return [" ".join(dice.choices(WORDS, k=dice.randint(low, high))) for _ in range(count)]


def count_tokens(model: Path, texts: list[str]) -> int:
    return sum(len(text.token_ids) for text in Embedder(read_folder(model), "cpu").encode(texts))


def show(result: dict) -> None:
    print(f"\n{result['model']}, {result['threads']} threads, {result['texts']} texts, {result['rounds']} rounds")
    for workload, rows in result["cases"].items():
        print(f"\n{workload:<24}{'texts/s':>10}{'tokens/s':>10}{'slowest':>10}{'fastest':>10}   ours is   1 - cosine")
        for name, figures in rows.items():
            ratio = rows["ours"]["texts_per_second"] / figures["texts_per_second"]
            speeds = "".join(f"{value:>10g}" for value in list(figures.values())[:4])
            print(f"  {name:<22}{speeds}{ratio:>9.2f}x   {max(0.0, figures['cosine_apart']):.1e}")
    for name, why in result["missing"].items():
        print(f"\n{name} took no part: {why}")


WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you
were her all she there would their we him been has when who will more no if out so said what up its about into than them
can only other new some could time these two may then do first any my now such like our over man me even most made after
also did many before must through back years where much your way well down should because each just people how too
little state good very make world still see own work long here get both between life being under conversation
workspace password invoice meeting deadline customer server database outage recipe kitchen garden
""".split()  # noqa: SIM905 -- words read better than a list of them


if __name__ == "__main__":
    main()
