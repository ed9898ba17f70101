"""The same engine without the web, for ``benchmarks.stack``: a process that answers over its pipes.

Reads one JSON line ``{"streams": N, "answers": K}``, keeps N answers running until each stream has had
K of them, and writes ``{"tokens": …, "seconds": …, "first_token_ms": [...]}``.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.workload import QUESTION, SYSTEM
from inference.demo import MODEL_PATH
from inference.engine import EngineConfig, LLMEngine


def main() -> None:
    engine = LLMEngine(EngineConfig(model=str(MODEL_PATH), num_threads=1))  # as ``serve`` runs the demo model
    prompt = engine.render_chat([{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(engine, prompt, **json.loads(line))), flush=True)


def measure(engine: LLMEngine, prompt: list[int], streams: int, answers: int) -> dict[str, object]:
    """Every stream asks again as soon as its answer has ended, as the clients of the web do."""
    left, sent, first = dict.fromkeys(map(str, range(streams)), answers), {}, []
    tokens, began = 0, time.perf_counter()

    def ask(stream: str) -> None:
        left[stream] -= 1
        name = f"{stream}:{left[stream]}"
        sent[name] = time.perf_counter()
        engine.add_request(name, prompt, engine.sampling_params(max_tokens=1024), tenant="benchmark")

    for stream in left:
        ask(stream)
    while engine.has_unfinished:
        for output in engine.step():
            tokens += len(output.token_ids)
            if (at := sent.pop(output.request_id, None)) is not None:
                first.append((time.perf_counter() - at) * 1000)
            stream = output.request_id.split(":")[0]
            if output.finish_reason and left[stream]:
                ask(stream)
    return {"tokens": tokens, "seconds": time.perf_counter() - began, "first_token_ms": first}


if __name__ == "__main__":
    main()
