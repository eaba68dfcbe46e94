"""The graphs of a static PARSeq.

One graph serves every kind of pass over all positions. What differs between the null-context guess, a causal pass and a
refinement is only which keys a query sees. The published model gives the content stream the same mask as the queries,
in refinement too, so one mask is enough at any depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.adapters.kit.attention import attend, attend_transposed, causal, hiding, pass_mask, pass_masks
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.loops import CAUSAL, GUESS
from neuronkit.static.model import Foldable
from neuronkit.static.ops import one_hot_embedding


class PARSeqEncoder(Foldable):
    """Images → the encoder memory's keys and values for every decoder layer, projected once.

    Images (N, 3, H, W) → (2 * layers, N, heads, S, D / heads): keys and values of layer 0, then of layer 1, ...
    """

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.encoder = core.encoder
        self.cross_attns = nn.ModuleList(layer.cross_attn for layer in core.decoder.layers)
        self.num_patches = core.encoder.pos_embed.shape[1]

    def compute_constants(self) -> tuple[Tensor, ...]:
        """Weight and bias of the memory's keys and values; then of each block's queries, scaled, keys and values."""
        width = self.cross_attns[0].embed_dim
        attns: Any = self.cross_attns
        weights = [attn.in_proj_weight[width:] for attn in attns]
        biases = [attn.in_proj_bias[width:] for attn in attns]
        scaled = []
        for block in self.encoder.blocks:
            qkv = block.attn.qkv
            scale = torch.ones_like(qkv.bias)
            scale[: block.attn.proj.in_features] = (block.attn.proj.in_features // block.attn.num_heads) ** -0.5
            scaled += [qkv.weight * scale.unsqueeze(1), qkv.bias * scale]
        return torch.cat(weights), torch.cat(biases), *scaled

    def forward(self, images: Tensor) -> Tensor:
        x = self.encoder.patch_embed.proj(images).flatten(2).transpose(1, 2) + self.encoder.pos_embed
        weight, bias, *scaled = self.constants
        for i, block in enumerate(self.encoder.blocks):
            x = x + self._attention(block.attn, F.linear(block.norm1(x), *scaled[2 * i : 2 * i + 2]))
            x = x + block.mlp(block.norm2(x))
        attn: Any = self.cross_attns[0]
        keys_values = F.linear(self.encoder.norm(x), weight, bias)
        shape = (-1, self.num_patches, 2 * len(self.cross_attns), attn.num_heads, attn.head_dim)
        return keys_values.reshape(shape).permute(2, 0, 3, 1, 4)

    def _attention(self, attn: Any, qkv: Tensor) -> Tensor:
        width = attn.proj.in_features
        head_dim = width // attn.num_heads
        q, k, v = qkv.reshape(-1, self.num_patches, 3, attn.num_heads, head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        attended = attend(q, k, v)
        return attn.proj(attended.transpose(1, 2).reshape(-1, self.num_patches, width))


Memory = tuple[tuple[Tensor, Tensor], ...]
"""For each layer, the memory's keys (N, heads, D / heads, S) and values (N, heads, S, D / heads)."""


class TwoStreamDecoder(Foldable):
    """The decoder's layers over a fixed number of positions, and what of them depends on weights alone.

    Args:
        core: The dynamic model.
        steps: Positions of a whole word, EOS included.
        length: Positions that one call computes.
    """

    def __init__(self, core: Any, steps: int, length: int) -> None:
        super().__init__()
        self.layers = core.decoder.layers
        self.norm = core.decoder.norm
        self.head = core.head
        self.embedding = core.text_embed.embedding
        self.pos_queries = core.pos_queries
        self.steps = steps
        self.length = length
        self.width = core.pos_queries.shape[-1]

    def compute_constants(self) -> tuple[Tensor, ...]:
        """Embedding table (V, D), 0..V-1, position queries, content positions, projected queries (1, T, D).

        Then, for each layer, a weight and a bias for the keys and values of its self-attention, and for the scaled
        queries of its cross attention.
        """
        table = math.sqrt(self.width) * self.embedding.weight
        token_ids = torch.arange(len(table), dtype=torch.int32, device=table.device)
        queries = self.pos_queries[:, : self.steps]
        # BOS is the null context: it alone carries no position.
        positions = torch.cat([torch.zeros_like(queries[:, :1]), queries[:, :-1]], dim=1)
        first = self.layers[0]
        projected = project_query(first.self_attn, first.norm_q(queries))
        weights: list[Tensor] = []
        for layer in self.layers:
            own, cross = layer.self_attn, layer.cross_attn
            weights += [own.in_proj_weight[self.width :], own.in_proj_bias[self.width :]]
            scale = cross.head_dim**-0.5
            weights += [cross.in_proj_weight[: self.width] * scale, cross.in_proj_bias[: self.width] * scale]
        return table, token_ids, queries, positions, projected, *weights

    def prepare(self, memory: Tensor) -> Memory:
        """The memory of `PARSeqEncoder` as transposed keys and values of each layer; passes of one graph share them."""
        parts = memory.unbind(0)
        return tuple((keys.transpose(-2, -1), values) for keys, values in zip(parts[::2], parts[1::2]))

    def through_layers(
        self,
        content: Tensor,
        query: Tensor,
        projected: Tensor,
        mask: Tensor,
        weights: Sequence[Tensor],
        memory: Memory,
        keep: Callable[[Tensor], Tensor] = lambda keys_values: keys_values,
    ) -> Tensor:
        """All layers on both streams: logits (N, length, C).

        Args:
            content: (N, length, D), what is known of the tokens.
            query: (N or 1, length, D).
            projected: The first layer's queries, (N or 1, heads, length, D / heads).
            mask: Added to the scores of self-attention.
            weights: Of each layer, as `compute_constants` gives them.
            memory: As `prepare` gives it.
            keep: Called with the keys and values of each layer's content; gives those of all positions.
        """
        for i, layer in enumerate(self.layers):
            attn, normed = layer.self_attn, layer.norm_c(content)
            keys, values = self.split_keys_values(attn, keep(F.linear(normed, *weights[4 * i : 4 * i + 2])))
            asked = weights[4 * i + 2 : 4 * i + 4]
            if i > 0:
                projected = self.project(attn, layer.norm_q(query))
            attended = self.merge_heads(attn, attend(projected, keys, values, mask))
            query = self.stream(layer, query + attended, asked, memory[i])
            if i + 1 < len(self.layers):
                attended = self.merge_heads(attn, attend(self.project(attn, normed), keys, values, mask))
                content = self.stream(layer, content + attended, asked, memory[i])
        return self.head(self.norm(query))

    def stream(
        self,
        layer: Any,
        stream: Tensor,
        asked: Sequence[Tensor],
        memory: tuple[Tensor, Tensor],
        length: int | None = None,
    ) -> Tensor:
        """Finish a layer for one stream, after its self-attention; `asked` are weight and bias of the queries."""
        attn, length = layer.cross_attn, length or self.length
        query = split_heads(F.linear(layer.norm1(stream), *asked), attn, length)
        stream = stream + self.merge_heads(attn, attend_transposed(query, *memory), length)
        return stream + layer.linear2(F.gelu(layer.linear1(layer.norm2(stream))))

    def project(self, attn: nn.MultiheadAttention, x: Tensor) -> Tensor:
        return split_heads(project_query(attn, x), attn, self.length)

    def merge_heads(self, attn: nn.MultiheadAttention, attended: Tensor, length: int | None = None) -> Tensor:
        return attn.out_proj(attended.transpose(1, 2).reshape(-1, length or self.length, self.width))

    def split_keys_values(self, attn: nn.MultiheadAttention, keys_values: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, 2 D), keys before values → twice (N, heads, T, D / heads)."""
        shape = (-1, self.steps, 2, attn.num_heads, attn.head_dim)
        keys, values = keys_values.reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
        return keys, values


class PARSeqDecoder(TwoStreamDecoder):
    """All positions at once, in passes of every kind; the memory is what `PARSeqEncoder` gives, or `prepare`.

    Attributes:
        classes: C, how many tokens it can predict.
    """

    def __init__(self, core: Any, steps: int, eos_id: int) -> None:
        super().__init__(core, steps, length=steps)
        self.eos_id = eos_id
        self.classes: int = core.head.out_features

    def compute_constants(self) -> tuple[Tensor, ...]:
        table, token_ids, queries, positions, projected, *weights = super().compute_constants()
        layer, bos = self.layers[0], table[self.classes].reshape(1, 1, -1)
        # A guess sees BOS alone, so that attention gives its value to all.
        value = F.linear(layer.norm_c(bos), weights[0][self.width :], weights[1][self.width :])
        seen = layer.self_attn.out_proj(value)
        projected = split_heads(projected, layer.self_attn, self.steps)
        masks = pass_masks(self.steps, table)
        return table, token_ids, queries, positions, projected, *masks, queries + seen, bos + seen, *weights

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Tokens (N, T) int32, BOS first → logits (N, T, C), each from the tokens before it."""
        return self.run(tokens, CAUSAL, memory)

    def run(self, tokens: Tensor, kind: Tensor | int, memory: Tensor | Memory) -> Tensor:
        """Tokens (N, T) int32, BOS first → logits (N, T, C) of a pass of one kind."""
        memory = self.prepare(memory) if isinstance(memory, Tensor) else memory
        if isinstance(kind, int) and kind == GUESS:
            return self.guess(memory)
        table, token_ids, query, positions, projected, guess, decode, refine, triangle, _, _, *weights = self.constants
        content = one_hot_embedding(tokens, table, token_ids) + positions
        mask = pass_mask((guess, decode, refine, triangle), kind, tokens, self.eos_id)
        return self.through_layers(content, query, projected, mask, weights, memory)

    def guess(self, memory: Memory) -> Tensor:
        """A pass that sees BOS alone → logits (N, T, C)."""
        *_, query, content = self.constants[:11]
        weights = self.constants[11:]
        for i, layer in enumerate(self.layers):
            if i > 0:
                weight, bias = (w[self.width :] for w in weights[4 * i : 4 * i + 2])
                seen = layer.self_attn.out_proj(F.linear(layer.norm_c(content), weight, bias))
                query, content = query + seen, content + seen
            query = self.stream(layer, query, weights[4 * i + 2 : 4 * i + 4], memory[i], self.steps)
            if i + 1 < len(self.layers):
                content = self.stream(layer, content, weights[4 * i + 2 : 4 * i + 4], memory[i], 1)
        return self.head(self.norm(query))


class PARSeqStep(TwoStreamDecoder):
    """One position, with the keys and values of the positions before it kept in fixed buffers: the step protocol.

    State: the position, one-hot (N, T), and for every layer its keys and values (N, T, 2 * D).
    """

    def __init__(self, core: Any, steps: int) -> None:
        super().__init__(core, steps, length=1)
        width = steps * (1 + 2 * len(self.layers) * self.width)
        self.state = TensorSpec("state", (width,), core.pos_queries.dtype)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, ...]:
        position = memory.new_zeros(memory.shape[1], self.steps)
        position[:, 0] = 1
        return position, *(memory.new_zeros(memory.shape[1], self.steps, 2 * self.width) for _ in self.layers)

    def compute_constants(self) -> tuple[Tensor, ...]:
        table, token_ids, queries, positions, projected, *weights = super().compute_constants()
        hidden = hiding(causal(self.steps, table))
        return table, token_ids, queries[0], positions[0], projected[0], hidden, *weights

    def step(self, token: Tensor, state: tuple[Tensor, ...], memory: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Token (N,) int32 → logits (N, C), and the next state."""
        table, token_ids, queries, positions, projected_queries, hidden, *weights = self.constants
        position, *buffers = state
        content = (one_hot_embedding(token, table, token_ids) + position @ positions).unsqueeze(1)
        query, projected = (position @ queries).unsqueeze(1), (position @ projected_queries).unsqueeze(1)
        projected = split_heads(projected, self.layers[0].self_attn, 1)
        mask = (position @ hidden).unsqueeze(1).unsqueeze(1)
        written: list[Tensor] = []

        def write(keys_values: Tensor) -> Tensor:
            # Each place is written once and was zero before, so adding writes.
            written.append(buffers[len(written)] + position.unsqueeze(-1) * keys_values)
            return written[-1]

        logits = self.through_layers(content, query, projected, mask, weights, self.prepare(memory), write)
        following = torch.cat([torch.zeros_like(position[:, :1]), position[:, :-1]], dim=1)
        return logits.squeeze(1), (following, *written)


def project_query(attn: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Scaled queries of an attention layer: (N, T, D) → (N, T, D)."""
    width = attn.embed_dim
    return F.linear(x, attn.in_proj_weight[:width], attn.in_proj_bias[:width]) * attn.head_dim**-0.5


def split_heads(x: Tensor, attn: nn.MultiheadAttention, length: int) -> Tensor:
    """(N, T, D) → (N, heads, T, D / heads)."""
    return x.reshape(-1, length, attn.num_heads, attn.head_dim).transpose(1, 2)
