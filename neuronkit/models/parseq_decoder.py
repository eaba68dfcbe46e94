"""PARSeq's decoder: queries of positions read the context and the image."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class Decoder(nn.Module):
    def __init__(self, width: int, num_heads: int, hidden: int, dropout: float, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, num_heads, hidden, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        query: Tensor,
        content: Tensor,
        memory: Tensor,
        query_mask: Tensor | None,
        content_mask: Tensor | None,
        padding_mask: Tensor | None,
    ) -> Tensor:
        last = len(self.layers) - 1
        layer: Any
        for i, layer in enumerate(self.layers):
            keys = layer.norm_c(content)
            query = layer(query, layer.norm_q(query), keys, memory, query_mask, padding_mask)
            # The content stream of the last layer is not used.
            if i < last:
                content = layer(content, keys, keys, memory, content_mask, padding_mask)
        return self.norm(query)


class DecoderLayer(nn.Module):
    """Pre-norm decoder layer, applied to the query and the content stream in turn."""

    def __init__(self, width: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, num_heads, dropout=dropout, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(width, num_heads, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm_q = nn.LayerNorm(width)
        self.norm_c = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        stream: Tensor,
        normed: Tensor,
        keys: Tensor,
        memory: Tensor,
        mask: Tensor | None,
        padding_mask: Tensor | None,
    ) -> Tensor:
        attended = self.self_attn(normed, keys, keys, attn_mask=mask, key_padding_mask=padding_mask)[0]
        stream = stream + self.dropout(attended)
        stream = stream + self.dropout(self.cross_attn(self.norm1(stream), memory, memory)[0])
        hidden = self.dropout(F.gelu(self.linear1(self.norm2(stream))))
        return stream + self.dropout(self.linear2(hidden))


class TokenEmbedding(nn.Module):
    def __init__(self, num_tokens: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, width)
        self.width = width

    def forward(self, tokens: Tensor) -> Tensor:
        return math.sqrt(self.width) * self.embedding(tokens)
