"""The engine on an NVIDIA device.

Triton kernels read and write the paged cache in place (``attention``, ``elementwise``); a step's integers
reach the device in one copy (``staging``); steps of decodes alone are replayed as CUDA graphs (``graphs``);
weights may be rounded to fewer bits (``quantize``). ``backend`` puts them behind the engine's interface.
"""

# Until benchmarks/results/gpu-session.json says otherwise.
EXPERIMENTAL = "the CUDA kernels are experimental: they have not yet run on a GPU"
