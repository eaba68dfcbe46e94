"""docTR's PARSeq: greedy decoding and its one refinement, in fixed shapes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.doctr.recognizer import (
    DoctrDecoder,
    DoctrOptions,
    VisionFeatures,
    attended,
    keys_values,
    queries,
)
from neuronkit.adapters.kit.attention import pass_mask, pass_masks
from neuronkit.adapters.registry import Family
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.loops import CAUSAL
from neuronkit.static.model import Foldable
from neuronkit.static.ops import one_hot_embedding
from neuronkit.static.original import unwrap


class StaticDoctrPARSeq(DoctrDecoder):
    """docTR's PARSeq at a fixed batch, computing what the dynamic model computes for each row alone.

    Called with images (N, 3, H, W), it gives logits (N, max_length + 1, C), C being the vocabulary and EOS. All
    positions are those of the dynamic model.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Size, outputs and method.
    """

    family = "doctr_parseq"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: DoctrOptions | None = None) -> None:
        core: Any = unwrap(model)
        super().__init__(model, batch_size, options, steps=core.max_length + 1, refine_iters=1)

    def encoder(self, source: nn.Module) -> DoctrPARSeqEncoder:
        return DoctrPARSeqEncoder(source, self.specs[0])

    def decoder(self, source: nn.Module) -> DoctrPARSeqDecoder:
        return DoctrPARSeqDecoder(source, self.steps, self.eos_id)


class DoctrPARSeqEncoder(nn.Module):
    """Images → keys and values of the decoder's cross attention, (N, 2, heads, patches, D / heads)."""

    def __init__(self, core: Any, image: TensorSpec) -> None:
        super().__init__()
        self.features = VisionFeatures(core.feat_extractor, image)
        self.attention = core.decoder.cross_attention

    def forward(self, images: Tensor) -> Tensor:
        # The first feature is the classification token, which the decoder does not see.
        return torch.stack(keys_values(self.attention, self.features(images)[:, 1:]), dim=1)


class DoctrPARSeqDecoder(Foldable):
    """All positions at once, in passes of every kind; the memory is what `DoctrPARSeqEncoder` gives."""

    def __init__(self, core: Any, steps: int, eos_id: int) -> None:
        super().__init__()
        self.layer = core.decoder
        self.head = core.head
        self.embedding = core.embed.embedding
        self.pos_queries = core.pos_queries
        self.steps, self.eos_id = steps, eos_id
        self.classes: int = core.head.out_features

    def compute_constants(self) -> tuple[Tensor, ...]:
        table = math.sqrt(self.embedding.embedding_dim) * self.embedding.weight
        query = self.pos_queries[:, : self.steps]
        # BOS has no position; the others have that of the character they stand for.
        positions = torch.cat([torch.zeros_like(query[:, :1]), query[:, :-1]], dim=1)
        token_ids = torch.arange(len(table), dtype=torch.int32, device=table.device)
        projected = queries(self.layer.attention, self.layer.query_norm(query))
        return table, token_ids, query, positions, projected, *pass_masks(self.steps, table)

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Tokens (N, T) int32, BOS first → logits (N, T, C), each from the tokens before it."""
        return self.run(tokens, CAUSAL, memory)

    def run(self, tokens: Tensor, kind: Tensor | int, memory: Tensor) -> Tensor:
        """Tokens (N, T) int32, BOS first → logits (N, T, C) of a pass of one kind."""
        table, token_ids, query, positions, projected, *masks = self.constants
        mask = pass_mask((masks[0], masks[1], masks[2], masks[3]), kind, tokens, self.eos_id)
        layer = self.layer
        content = layer.content_norm(one_hot_embedding(tokens, table, token_ids) + positions)
        keys, values = keys_values(layer.attention, content)
        x = query + attended(layer.attention, projected, keys, values, mask)
        cross = layer.cross_attention
        x = x + attended(cross, queries(cross, layer.query_norm(x)), memory[:, 0], memory[:, 1])
        x = x + layer.position_feed_forward(layer.feed_forward_norm(x))
        return self.head(layer.output_norm(x))


FAMILY = Family(
    name="doctr_parseq",
    class_names=("doctr.models.recognition.parseq.pytorch.PARSeq",),
    matches=lambda model: False,
    options=DoctrOptions,
    build=StaticDoctrPARSeq,
)
