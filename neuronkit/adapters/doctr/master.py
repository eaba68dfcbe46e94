"""docTR's MASTER: its text, and the confidence that its early stop decides."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.doctr.recognizer import (
    DoctrDecoder,
    DoctrOptions,
    attended,
    keys_values,
    queries,
    self_attended,
)
from neuronkit.adapters.kit.attention import causal, hiding
from neuronkit.adapters.registry import Family
from neuronkit.static.model import Foldable
from neuronkit.static.ops import cumsum, one_hot_embedding
from neuronkit.static.original import unwrap


class StaticMASTER(DoctrDecoder):
    """docTR's MASTER at a fixed batch, computing what the dynamic model computes for each row alone.

    Called with images (N, 3, H, W), it gives logits (N, max_length, C), C being the vocabulary, EOS, SOS and PAD. All
    positions are those of the dynamic model's last pass: its confidence is the least probability over all of them,
    those after EOS among them. In a batch, the dynamic model goes on until the last row has ended, and changes the
    others' confidence meanwhile; here, as in the dynamic model with one row, none depends on the others.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Size, outputs and method.
    """

    family = "doctr_master"
    stops_at_eos = False
    confidence = "minimum"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: DoctrOptions | None = None) -> None:
        core: Any = unwrap(model)
        super().__init__(model, batch_size, options, steps=core.max_length)

    def encoder(self, source: nn.Module) -> MASTEREncoder:
        return MASTEREncoder(source)

    def decoder(self, source: nn.Module) -> MASTERDecoder:
        return MASTERDecoder(source)


class MASTEREncoder(nn.Module):
    """Images → keys and values of every decoder layer's cross attention, (N, 2 * layers, heads, S, D / heads)."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.backbone = core.feat_extractor
        self.positions = core.positional_encoding
        self.attentions = core.decoder.source_attention

    def forward(self, images: Tensor) -> Tensor:
        encoded = self.positions(self.backbone(images)["features"].flatten(2).transpose(1, 2))
        return torch.stack([x for attention in self.attentions for x in keys_values(attention, encoded)], dim=1)


class MASTERDecoder(Foldable):
    """All positions at once, in the logits protocol, on exactly the tokens that the dynamic model's last pass sees.

    That pass is the one that finds EOS, so EOS itself and what follows is still padding to it, and so is the last
    place. An earlier logit does not depend on what is padded later, so this changes no text.
    """

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.decoder = core.decoder
        self.linear = core.linear
        self.classes: int = core.linear.out_features
        self.eos_id, self.pad_id, self.steps = core.vocab_size, core.vocab_size + 2, core.max_length

    def compute_constants(self) -> tuple[Tensor, ...]:
        embedding = self.decoder.embed
        table = embedding.weight * math.sqrt(self.decoder.d_model)
        positions = self.decoder.positional_encoding.pe[:, : self.steps]
        token_ids = torch.arange(len(table), dtype=torch.int32, device=table.device)
        last = torch.arange(self.steps, device=table.device).eq(self.steps - 1).to(table.dtype)
        return table, token_ids, positions, causal(self.steps, table), last

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        table, token_ids, positions, seen, last = self.constants
        ended = cumsum((tokens == self.eos_id).to(table.dtype)) + last
        tokens = torch.where(ended > 0, torch.full_like(tokens, self.pad_id), tokens)
        # A token that the model itself reads as padding is hidden too.
        shown = (tokens != self.pad_id).to(table.dtype)
        mask = hiding(seen * shown.unsqueeze(1)).unsqueeze(1)
        x = one_hot_embedding(tokens, table, token_ids) + positions
        decoder = self.decoder
        layers = zip(decoder.attention, decoder.source_attention, decoder.position_feed_forward)
        for i, (attention, cross, feed_forward) in enumerate(layers):
            x = x + self_attended(attention, decoder.layer_norm_input(x), mask)
            query = queries(cross, decoder.layer_norm_masked_attention(x))
            x = x + attended(cross, query, memory[:, 2 * i], memory[:, 2 * i + 1])
            x = x + feed_forward(decoder.layer_norm_attention(x))
        return self.linear(decoder.layer_norm_output(x))


FAMILY = Family(
    name="doctr_master",
    class_names=("doctr.models.recognition.master.pytorch.MASTER",),
    matches=lambda model: False,
    options=DoctrOptions,
    build=StaticMASTER,
)
