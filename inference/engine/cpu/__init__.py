"""The engine on a CPU with AVX-512: kernels of our own, compiled at first use, behind the backend interface."""
