"""First messages to offer on an empty page: what the served model does well. Tried, with its answers, in
docs/suggestions.md.
"""

from __future__ import annotations

DEMO = (
    "How do I change the theme?",
    "Tell me a long story about a fox",
    "Write a hello world program in Python",
    "What is the capital of Portugal?",
)
ANY = (
    "Explain how a rainbow forms",
    "Write a function in Python that finds prime numbers",
    "Write a friendly e-mail that moves a meeting to Thursday",
    "What should I see in Lisbon in two days?",
)
FAMILIES = (("demo", DEMO),)


def suggestions(model: str) -> tuple[str, ...]:
    """By the model's name."""
    return next((known for family, known in FAMILIES if model.lower().startswith(family)), ANY)
