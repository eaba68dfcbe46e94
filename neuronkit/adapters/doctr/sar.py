"""docTR's SAR: a recurrent decoder that attends to a feature map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.adapters.doctr.recognizer import DoctrDecoder, DoctrOptions
from neuronkit.adapters.kit.recurrent import lstm, lstm_cell
from neuronkit.adapters.registry import Family
from neuronkit.static.model import Foldable
from neuronkit.static.ops import length, one_hot_embedding
from neuronkit.static.original import unwrap


@dataclass(frozen=True)
class SAROptions(DoctrOptions):
    """The options of SAR: those of `DoctrOptions`, but that it decodes step by step.

    Args:
        height: Of the images, in pixels; None follows the model.
        width: Of the images, in pixels; None follows the model.
        method: "stepwise" calls a small graph once per character, "unrolled" does all steps in one large graph.
            "auto" takes "stepwise".
        outputs: "logits", or "tokens": the ids and their probabilities, at all positions.
        raw_images: Take images as bytes, 0..255, and normalise them inside.

    Raises:
        SpecError: If height or width is not a whole number of at least 1.
        OptionError: If another option has no such value.

    Examples:
        >>> neuronkit.SAROptions(method="stepwise").method
        'stepwise'
    """


class StaticSAR(DoctrDecoder):
    """docTR's SAR at a fixed batch, computing what the dynamic model computes.

    Called with images (N, 3, H, W), it gives logits (N, max_length + 1, C), C being the vocabulary and EOS. All
    positions are those of the dynamic model, which never stops early: its confidence counts them all.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: The input's size, and the method.
    """

    family = "doctr_sar"
    stops_at_eos = False
    confidence = "minimum"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: SAROptions | None = None) -> None:
        core: Any = unwrap(model)
        super().__init__(model, batch_size, options, steps=core.decoder.max_length)

    def encoder(self, source: nn.Module) -> SAREncoder:
        return SAREncoder(source)

    def decoder(self, source: nn.Module) -> SARStep:
        return SARStep(source)


class SAREncoder(nn.Module):
    """Images → features, their projection for the attention, and the holistic feature, in one (N, K).

    The original projects the features at every step, though they never change: nearly all its work.
    """

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.backbone = core.feat_extractor
        self.rnn, self.linear = core.encoder.rnn, core.encoder.linear
        self.project = core.decoder.attention_module.feat_conv

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone(images)["features"]
        holistic = self.linear(lstm(self.rnn, features.amax(dim=-2).transpose(1, 2))[:, -1])
        return torch.cat([features.flatten(1), self.project(features).flatten(1), holistic], dim=1)


class SARStep(Foldable):
    """One character, in the step protocol. State: hidden and cell of the first and the second turn of the cell."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        decoder = core.decoder
        self.embed, self.embed_tgt, self.cell = decoder.embed, decoder.embed_tgt, decoder.lstm_cell
        self.state_conv = decoder.attention_module.state_conv
        self.projector = decoder.attention_module.attention_projector
        self.output = decoder.output_dense
        self.num_classes = decoder.vocab_size + 1

    def compute_constants(self) -> tuple[Tensor, ...]:
        # A token is embedded twice. The first one is embedded as zeros, of which the bias is left.
        table = torch.cat([self.embed(self.embed_tgt.weight[: self.num_classes]), self.embed.bias.unsqueeze(0)])
        return table, torch.arange(len(table), dtype=torch.int32, device=table.device)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, ...]:
        """What a first turn on the holistic feature leaves; its logits are not used."""
        holistic = memory[:, -self.cell.hidden_size :]
        empty = torch.zeros_like(holistic)
        return self.turn(holistic, (empty, empty, empty, empty))

    def turn(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first = lstm_cell(self.cell, x, (state[0], state[1]))
        return *first, *lstm_cell(self.cell, first[0], (state[2], state[3]))

    def step(self, token: Tensor, state: tuple[Tensor, ...], memory: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        table, token_ids = self.constants
        state = self.turn(one_hot_embedding(token, table, token_ids), state)
        features, projected = self.unpack(memory)
        asked = F.linear(state[2], self.state_conv.weight.flatten(1)).unsqueeze(2)
        weights = (self.projector.weight.flatten(1) @ torch.tanh(projected + asked)).softmax(-1)
        glimpse = (features @ weights.transpose(1, 2)).squeeze(2)
        return self.output(torch.cat([state[2], glimpse], dim=1)), state

    def unpack(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, C, H * W) and their projection (N, A, H * W)."""
        hidden, attention = self.cell.hidden_size, self.state_conv.out_channels
        # The features have as many channels as the state: the original makes its first state of that size.
        places = (length(memory, 1) - hidden) // (hidden + attention)
        features, projected, _ = memory.split([hidden * places, attention * places, hidden], dim=1)
        return features.reshape(-1, hidden, places), projected.reshape(-1, attention, places)


FAMILY = Family(
    name="doctr_sar",
    class_names=("doctr.models.recognition.sar.pytorch.SAR",),
    matches=lambda model: False,
    options=SAROptions,
    build=StaticSAR,
)
