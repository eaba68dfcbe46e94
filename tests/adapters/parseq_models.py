"""Small random PARSeq models, and images for them."""

from __future__ import annotations

import torch
from torch import Tensor

from neuronkit.models import PARSeq

TINY = {"embed_dim": 32, "enc_depth": 2, "enc_num_heads": 2, "dec_num_heads": 4, "patch_size": (8, 16)}


def lively(seed: int, charset: int = 36, *, eos_bias: float = 0.0, **sizes: object) -> PARSeq:
    """A random model whose tokens depend on the tokens before them."""
    torch.manual_seed(seed)
    model = PARSeq(charset, **{**TINY, **sizes}).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
        model.head.bias[0] += eos_bias
    return model


def images(batch: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, 32, 128, generator=torch.Generator().manual_seed(seed))
