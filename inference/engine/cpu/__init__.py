"""The engine on a CPU with AVX-512 or AVX2: kernels of our own, compiled at first use, behind the backend interface."""
