"""Conversation, Message (a tree, whose shown branch ends at the leaf) and Generation (a run that wrote an answer)."""

from .conversations import Conversation, ConversationQuerySet, Message, as_turns, branch
from .generations import Generation, GenerationQuerySet, KeptText

__all__ = [
    "Conversation",
    "ConversationQuerySet",
    "Generation",
    "GenerationQuerySet",
    "KeptText",
    "Message",
    "as_turns",
    "branch",
]
