"""GGUF, the format of llama.cpp: converted once into a folder that the engine loads. See ``conversion``."""

from .conversion import convert
from .parts import find_parts

__all__ = ["convert", "find_parts"]
