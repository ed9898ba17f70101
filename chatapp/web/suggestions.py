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
SMOLLM2 = (
    "What is the capital of France?",
    "How do plants make food from sunlight?",
    "Explain what a database is to a ten-year-old",
    "Write a Python function that checks whether a word is a palindrome",
)
FAMILIES = (("demo", DEMO), ("smollm2", SMOLLM2))


def suggestions(model: str) -> tuple[str, ...]:
    """By the model's name."""
    return next((known for family, known in FAMILIES if model.lower().startswith(family)), ANY)
