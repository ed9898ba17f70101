"""What is served: ``decoder`` for Llama and its kin, ``hf`` for every other architecture of transformers."""
