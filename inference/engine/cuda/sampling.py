"""Draws without asking the host: the loop over attempts of ``sampler`` as one kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.engine.cuda import kernels

TILE = 4096


def draw_nucleus(weights: Tensor, limits: Tensor, states: Tensor) -> Tensor:
    """[R] a column of ``weights`` [R, N] for each row, drawn from the highest whose sum reaches ``limits`` [R].

    ``states`` [2, R] are the hashes of the seeds and the numbers of tokens written, as ``sampler.uniforms`` takes them.
    """
    columns = torch.empty(len(weights), dtype=torch.int64, device=weights.device)
    kernels.nucleus[(len(weights),)](weights, limits, states, columns, len(weights), weights.shape[1], TILE=TILE)
    return columns
