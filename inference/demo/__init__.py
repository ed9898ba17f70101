"""The bundled demo model: where it lies, and (in the modules beside) how it was made.

This module imports nothing heavy, so that the web may name the model without loading torch.
"""

from pathlib import Path

MODEL_PATH: Path = Path(__file__).parent / "model"
"""Folder with config, safetensors, tokenizer and chat template, as ``from_pretrained`` takes it."""
