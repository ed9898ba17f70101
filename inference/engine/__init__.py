"""The inference engine: continuous batching over a paged KV cache, for any Hugging Face causal LM.

Read ``llm_engine`` first, then ``scheduler``, ``block_manager``, ``model_runner``, ``attention``.
"""

from inference.engine.config import EngineConfig
from inference.engine.llm import LLM
from inference.engine.llm_engine import LLMEngine
from inference.engine.sampling_params import SamplingParams, StructuredOutputsParams

__all__ = ["LLM", "EngineConfig", "LLMEngine", "SamplingParams", "StructuredOutputsParams"]
