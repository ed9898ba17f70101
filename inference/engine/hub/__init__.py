"""From what a person calls a model to a folder that the engine loads: see ``resolve_model``."""

from .resolve import Progress, resolve_model

__all__ = ["Progress", "resolve_model"]
