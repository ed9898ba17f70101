"""Everything that waits for a GPU, in one command of at most ten minutes: ``python -m benchmarks.gpu_session``.

It needs torch, transformers and Triton, not Django and not pytest. The most important comes first; each step is a
process of its own with a limit of its own (``__main__``), and keeps what it finds as it finds it (``findings``).
``--rehearse`` runs the same steps on a CPU: tiny shapes, kernels in Triton's interpreter.
"""
