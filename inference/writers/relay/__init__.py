"""OpenAI-compatible servers (vLLM, SGLang, TGI, llama.cpp, Ollama, …) as an engine of the worker.

Read ``relay`` first (the engine), then ``answer`` (one answer, whatever its servers do), ``server`` (which of
them to ask), ``asking`` (what is sent), ``responses``, ``sse`` and ``pieces`` (what comes back).
"""

from .relay import Relay, RelayOptions

__all__ = ["Relay", "RelayOptions"]
