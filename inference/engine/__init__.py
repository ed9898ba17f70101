"""The inference engine: continuous batching over a paged KV cache, for any Hugging Face causal LM.

Read ``llm_engine`` first, then ``scheduler``, ``block_manager``, ``model_runner``, ``ops``, ``models/decoder``;
docs/engine.md has the whole list.
"""

from .config import EngineConfig
from .llm import LLM
from .llm_engine import LLMEngine
from .sampling_params import SamplingParams, StructuredOutputsParams

__all__ = ["LLM", "EngineConfig", "LLMEngine", "SamplingParams", "StructuredOutputsParams"]
