"""The graphs of a static PARSeq, and the loop that joins them.

One decoder graph serves every kind of pass. What differs between the null-context guess, a causal pass and a
refinement pass is only which keys a query sees, and that is an input. The published model gives the content stream
the same mask as the queries, in refinement too, so one mask is enough at any depth.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations of Reader.
import math
from typing import Any, Callable, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.static.decode import FixedPointLoop, after_eos, shift_right
from neuronkit.static.model import Foldable
from neuronkit.static.ops import one_hot_embedding

# Far below any attention score, and finite in float32 and bfloat16; exp() of the difference is exactly 0.
HIDDEN = -1e9


class Encode(Foldable):
    """Images → the encoder memory's keys and values for every decoder layer, projected once.

    Images (N, 3, H, W) → (2 * layers, N, heads, S, D / heads): keys and values of layer 0, then of layer 1, ...
    """

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.encoder = core.encoder
        self.cross_attns = nn.ModuleList(layer.cross_attn for layer in core.decoder.layers)
        self.num_patches = core.encoder.pos_embed.shape[1]

    def compute_constants(self) -> Tuple[Tensor, ...]:
        width = self.cross_attns[0].embed_dim
        weights = [attn.in_proj_weight[width:] for attn in self.cross_attns]
        biases = [attn.in_proj_bias[width:] for attn in self.cross_attns]
        return torch.cat(weights), torch.cat(biases)

    def forward(self, images: Tensor) -> Tensor:
        x = self.encoder.patch_embed.proj(images).flatten(2).transpose(1, 2) + self.encoder.pos_embed
        for block in self.encoder.blocks:
            x = x + self._attention(block.attn, block.norm1(x))
            x = x + block.mlp(block.norm2(x))
        weight, bias = self.constants
        heads = self.cross_attns[0].num_heads
        keys_values = F.linear(self.encoder.norm(x), weight, bias)
        shape = (-1, self.num_patches, 2 * len(self.cross_attns), heads, self.cross_attns[0].head_dim)
        return keys_values.reshape(shape).permute(2, 0, 3, 1, 4)

    def _attention(self, attn: Any, x: Tensor) -> Tensor:
        width = attn.proj.in_features
        head_dim = width // attn.num_heads
        qkv = attn.qkv(x).reshape(-1, self.num_patches, 3, attn.num_heads, head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attended = attend(q * head_dim**-0.5, k, v)
        return attn.proj(attended.transpose(1, 2).reshape(-1, self.num_patches, width))


class Decode(Foldable):
    """One pass of the two-stream decoder over all positions.

    Tokens (N, T) int32, BOS first; mask (N, T, T), 0 where a query (row) sees a key (column) and `HIDDEN` where not;
    memory as `Encode` gives it → logits (N, T, C).
    """

    def __init__(self, core: Any, steps: int) -> None:
        super().__init__()
        self.layers = core.decoder.layers
        self.norm = core.decoder.norm
        self.head = core.head
        self.embedding = core.text_embed.embedding
        self.pos_queries = core.pos_queries
        self.steps = steps

    def compute_constants(self) -> Tuple[Tensor, ...]:
        width = self.pos_queries.shape[-1]
        table = math.sqrt(width) * self.embedding.weight
        token_ids = torch.arange(len(table), dtype=torch.int32, device=table.device)
        queries = self.pos_queries[:, : self.steps]
        # BOS is the null context: it alone carries no position.
        positions = torch.cat([torch.zeros_like(queries[:, :1]), queries[:, :-1]], dim=1)
        first = self.layers[0]
        first_queries = split_heads(project_query(first.self_attn, first.norm_q(queries)), first.self_attn, self.steps)
        return table, token_ids, queries, positions, first_queries

    def forward(self, tokens: Tensor, mask: Tensor, memory: Tensor) -> Tensor:
        table, token_ids, query, positions, projected = self.constants
        content = one_hot_embedding(tokens, table, token_ids) + positions
        mask = mask.unsqueeze(1)
        for i, layer in enumerate(self.layers):
            keys, values = self._keys_values(layer, layer.norm_c(content))
            cross = (memory[2 * i], memory[2 * i + 1])
            if i > 0:
                projected = self._project(layer.self_attn, layer.norm_q(query))
            query = self._stream(layer, query, attend(projected, keys, values, mask), cross)
            if i + 1 < len(self.layers):
                projected = self._project(layer.self_attn, layer.norm_c(content))
                content = self._stream(layer, content, attend(projected, keys, values, mask), cross)
        return self.head(self.norm(query))

    def _stream(self, layer: Any, stream: Tensor, attended: Tensor, cross: Tuple[Tensor, Tensor]) -> Tensor:
        stream = stream + self._merge(layer.self_attn, attended)
        query = self._project(layer.cross_attn, layer.norm1(stream))
        stream = stream + self._merge(layer.cross_attn, attend(query, cross[0], cross[1]))
        return stream + layer.linear2(F.gelu(layer.linear1(layer.norm2(stream))))

    def _project(self, attn: nn.MultiheadAttention, x: Tensor) -> Tensor:
        return split_heads(project_query(attn, x), attn, self.steps)

    def _keys_values(self, layer: Any, x: Tensor) -> Tuple[Tensor, Tensor]:
        attn, width = layer.self_attn, layer.self_attn.embed_dim
        keys_values = F.linear(x, attn.in_proj_weight[width:], attn.in_proj_bias[width:])
        keys, values = keys_values.split(width, dim=-1)
        return split_heads(keys, attn, self.steps), split_heads(values, attn, self.steps)

    def _merge(self, attn: nn.MultiheadAttention, attended: Tensor) -> Tensor:
        return attn.out_proj(attended.transpose(1, 2).reshape(-1, self.steps, attn.embed_dim))


def project_query(attn: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Scaled queries of an attention layer: (N, T, D) → (N, T, D)."""
    width = attn.embed_dim
    return F.linear(x, attn.in_proj_weight[:width], attn.in_proj_bias[:width]) * attn.head_dim**-0.5


def split_heads(x: Tensor, attn: nn.MultiheadAttention, length: int) -> Tensor:
    """(N, T, D) → (N, heads, T, D / heads)."""
    return x.reshape(-1, length, attn.num_heads, attn.head_dim).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Optional[Tensor] = None) -> Tensor:
    """Attention spelled out: scaled_dot_product_attention is not in Inf1's operator list.

    q (N, heads, T, D), already scaled; k and v (N, heads, S, D); mask broadcast to (N, heads, T, S) → (N, heads, T, D).
    """
    scores = q @ k.transpose(-2, -1)
    return (scores if mask is None else scores + mask).softmax(-1) @ v


class Reader(nn.Module):
    """Encodes once, then runs the decoder graph until the word is settled, and refines it.

    Args:
        encode: The `Encode` graph, in whatever form a target gave it.
        decode: The `Decode` graph, likewise.
        steps: Positions, EOS included.
        bos_id: The id that begins a word.
        eos_id: The id that ends it.
        autoregressive: Decode greedily; otherwise the null-context guess stands.
        refine_iters: Refinement passes.
    """

    def __init__(
        self,
        encode: Callable[..., Tensor],
        decode: Callable[..., Tensor],
        steps: int,
        bos_id: int,
        eos_id: int,
        autoregressive: bool,
        refine_iters: int,
    ) -> None:
        super().__init__()
        seen = torch.ones(steps, steps)
        null_context = torch.zeros(steps, steps)
        null_context[:, 0] = 1
        # Cloze: a query sees every token but its own, which stands one place to the right of it.
        cloze = 1 - torch.diag(torch.ones(steps - 1), 1)
        self.encode = encode
        self.guess = MaskedPass(decode, null_context)
        self.loop = FixedPointLoop(MaskedPass(decode, seen.tril()), steps, bos_id, eos_id)
        self.refine = MaskedPass(decode, cloze)
        self.steps = steps
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.autoregressive = autoregressive
        self.refine_iters = refine_iters

    def forward(self, images: Tensor) -> Tensor:
        return self.read(images)[0]

    @torch.jit.export
    def read(self, images: Tensor) -> Tuple[Tensor, int]:
        """Logits (N, T, C), and the number of decoder passes that ran."""
        memory = self.encode(images)
        tokens = torch.full([images.shape[0], self.steps], self.bos_id, dtype=torch.int32, device=images.device)
        logits = self.guess(tokens, memory)
        passes = 1
        if self.autoregressive:
            logits, causal_passes = self.loop(logits.argmax(-1), memory)
            passes += causal_passes
        for _ in range(self.refine_iters):
            tokens = shift_right(logits.argmax(-1), self.bos_id)
            # From its first EOS on, a word's tokens are hidden from everybody.
            ended = after_eos(tokens, self.eos_id) | (tokens == self.eos_id)
            logits = self.refine(tokens, memory, ended)
            passes += 1
        return logits, passes


class MaskedPass(nn.Module):
    """A pass of the decoder graph under one mask.

    Args:
        decode: ``decode(tokens, mask, memory)`` → logits.
        seen: (T, T) float, 1 where a query (row) sees a key (column).
    """

    def __init__(self, decode: Callable[..., Tensor], seen: Tensor) -> None:
        super().__init__()
        self.decode = decode
        self.hidden_score = HIDDEN
        self.register_buffer("hidden", (1 - seen) * HIDDEN, persistent=False)

    def forward(self, tokens: Tensor, memory: Tensor, ended: Optional[Tensor] = None) -> Tensor:
        """Decode (N, T) int32 tokens; `ended` (N, T) bool hides tokens from every query of the row."""
        mask = self.hidden.to(device=memory.device, dtype=memory.dtype).expand(tokens.shape[0], -1, -1)
        if ended is not None:
            mask = mask.masked_fill(ended.unsqueeze(1), self.hidden_score)
        return self.decode(tokens, mask.contiguous(), memory)
