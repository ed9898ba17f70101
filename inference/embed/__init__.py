"""Texts as vectors: models of BERT's kind in folders as sentence-transformers keeps them.

``folder`` says what a model is, without torch; ``bert`` computes it; ``embedder`` puts tokenizer, model and pooling
together.
"""
