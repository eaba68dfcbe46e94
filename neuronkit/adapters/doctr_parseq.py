"""docTR's PARSeq: greedy decoding and its one refinement, in fixed shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.doctr import (
    DoctrOptions,
    DoctrRecognizer,
    VisionFeatures,
    attended,
    image_spec,
    keys_values,
    queries,
)
from neuronkit.adapters.parseq_reader import FixedPoint, Reader, Refine
from neuronkit.adapters.registry import Family
from neuronkit.specs import TensorSpec
from neuronkit.static.model import Foldable, eval_mode
from neuronkit.static.ops import one_hot_embedding


class StaticDoctrPARSeq(DoctrRecognizer):
    """docTR's PARSeq at a fixed batch, computing what the dynamic model computes for each row alone.

    Called with images (N, 3, H, W), it gives logits (N, max_length + 1, C), C being the vocabulary and EOS. All
    positions are those of the dynamic model.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The input's size.
    """

    family = "doctr_parseq"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: DoctrOptions | None = None) -> None:
        super().__init__(model, ())
        core: Any = self.source
        self.specs = (image_spec(core, batch_size, options or DoctrOptions()),)
        self.steps, self.bos_id, self.eos_id = core.max_length + 1, core.vocab_size + 1, core.vocab_size

    def passes(self, images: Tensor) -> int:
        """Number of decoder passes that reading these images takes: a guess, causal passes and the refinement."""
        with eval_mode(self.source), torch.no_grad():
            return self.join(self.modules_by_name(self.source)).read(images)[1]

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"encode": Encode(source, self.specs[0]), "decode": Decode(source, self.steps)}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        core: Any = self.source
        attention, dtype, batch = core.decoder.cross_attention, self.specs[0].dtype, self.specs[0].shape[0]
        patches = core.feat_extractor["0"].positions.shape[1] - 1
        return {
            "encode": self.specs,
            "decode": (
                TensorSpec("tokens", (batch, self.steps), "int32"),
                TensorSpec("mask", (batch, self.steps, self.steps), dtype),
                TensorSpec("memory", (batch, 2, attention.num_heads, patches, attention.d_k), dtype),
            ),
        }

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> Any:
        sizes = self.steps, self.bos_id, self.eos_id, self.specs[0].torch_dtype
        return Reader(
            graphs["encode"], FixedPoint(graphs["decode"], *sizes), Refine(graphs["decode"], *sizes), refine_iters=1
        )


class Encode(nn.Module):
    """Images → keys and values of the decoder's cross attention, (N, 2, heads, patches, D / heads)."""

    def __init__(self, core: Any, image: TensorSpec) -> None:
        super().__init__()
        self.features = VisionFeatures(core.feat_extractor, image)
        self.attention = core.decoder.cross_attention

    def forward(self, images: Tensor) -> Tensor:
        # The first feature is the classification token, which the decoder does not see.
        return torch.stack(keys_values(self.attention, self.features(images)[:, 1:]), dim=1)


class Decode(Foldable):
    """All positions under a mask: tokens (N, T) int32, mask (N, T, T) to add, memory → logits (N, T, C)."""

    def __init__(self, core: Any, steps: int) -> None:
        super().__init__()
        self.layer = core.decoder
        self.head = core.head
        self.embedding = core.embed.embedding
        self.pos_queries = core.pos_queries
        self.steps = steps

    def compute_constants(self) -> tuple[Tensor, ...]:
        table = math.sqrt(self.embedding.embedding_dim) * self.embedding.weight
        query = self.pos_queries[:, : self.steps]
        # BOS has no position; the others have that of the character they stand for.
        positions = torch.cat([torch.zeros_like(query[:, :1]), query[:, :-1]], dim=1)
        token_ids = torch.arange(len(table), dtype=torch.int32, device=table.device)
        return table, token_ids, query, positions, queries(self.layer.attention, self.layer.query_norm(query))

    def forward(self, tokens: Tensor, mask: Tensor, memory: Tensor) -> Tensor:
        table, token_ids, query, positions, projected = self.constants
        layer = self.layer
        content = layer.content_norm(one_hot_embedding(tokens, table, token_ids) + positions)
        keys, values = keys_values(layer.attention, content)
        x = query + attended(layer.attention, projected, keys, values, mask.unsqueeze(1))
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
