"""TRBA of baudm/parseq: a rectified picture, recurrent layers, and a recurrent decoder with attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.kit.encoder_decoder import EncoderDecoder
from neuronkit.adapters.kit.options import ReadingOptions, check_sizes
from neuronkit.adapters.kit.recurrent import lstm, lstm_cell
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError
from neuronkit.interface import RECOGNIZER, Interface
from neuronkit.models.characters import known_characters
from neuronkit.ocr.parseq import NORMALIZATION
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.loops import until_eos
from neuronkit.static.decoding.methods import check_method
from neuronkit.static.ops import bilinear_matrix, one_hot_embedding
from neuronkit.static.original import network_of, unwrap

# What a network without its training system does not say.
DEFAULT_MAX_LENGTH = 25


@dataclass(frozen=True)
class TRBAOptions(ReadingOptions):
    """How to decode.

    Args:
        max_length: Longest word, in characters; None follows the model, or takes 25 where it does not say.
        method: "stepwise" calls a small graph once per character, "unrolled" does all steps in one large graph.
            "auto" takes "stepwise".
        outputs: "logits", or "tokens": the ids and their probabilities, zero after the end.
        raw_images: Take images as bytes, 0..255, and normalise them inside.

    Raises:
        SpecError: If the length is not a whole number of at least 1.
        OptionError: If another option has no such value.

    Examples:
        >>> neuronkit.TRBAOptions(max_length=25).max_length
        25
    """

    max_length: int | None = None
    method: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self, "max_length")
        check_method(self.method)


class StaticTRBA(EncoderDecoder):
    """TRBA at a fixed batch and length, computing what the dynamic model computes.

    Takes both classes of baudm/parseq, the network and the training system around it. Called with images (N, 3, H, W)
    float32 in -1..1, it gives logits (N, max_length + 1, C), right up to and including each row's first EOS.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Length and method.

    Raises:
        SpecError: If the model ends in CTC and not in an attention decoder.
    """

    family = "trba"

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: TRBAOptions | None = None) -> None:
        options = options or TRBAOptions()
        system: Any = unwrap(model)
        core: Any = network_of(system)
        if isinstance(core.Prediction, nn.Linear):
            raise SpecError(
                f"{type(system).__name__} ends in CTC, which needs no decoding loop; it is static as it is, and "
                "compile_for_inferentia(model, example_inputs) takes it"
            )
        longest = options.max_length or int(getattr(system, "max_label_length", DEFAULT_MAX_LENGTH))
        size = core.Transformation.I_size
        spec = TensorSpec("images", (batch_size, 3, *size), core.Prediction.generator.weight.dtype)
        bos_id = core.Prediction.num_class - 2
        super().__init__(
            model,
            (spec,),
            steps=longest + 1,
            bos_id=bos_id,
            eos_id=0,
            method=options.method,
            outputs=options.outputs,
        )
        if options.raw_images:
            self.take_raw_images(NORMALIZATION)

    @property
    def source(self) -> nn.Module:
        """The network itself."""
        return network_of(super().source)

    @property
    def interface(self) -> Interface:
        """A recognizer; its classes are EOS, the characters, BOS and PAD."""
        characters = known_characters(unwrap(self.original), self.bos_id - 1)
        return Interface(RECOGNIZER, self.decoding.named_outputs, self.bos_id, self.eos_id, self.bos_id + 1, characters)

    def encoder(self, source: nn.Module) -> TRBAEncoder:
        return TRBAEncoder(source)

    def decoder(self, source: nn.Module) -> TRBAStep:
        return TRBAStep(source)

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        (images,) = inputs
        return source(images, self.steps - 1, torch.full([1], self.bos_id, dtype=torch.int64, device=images.device))

    def decoded(self, outputs: Any) -> list[list[int]]:
        """The ids of each row, up to EOS."""
        return until_eos(outputs, self.eos_id)


class Rectify(nn.Module):
    """Thin-plate-spline rectification, sampling by products with interpolation weights instead of gathering."""

    rows: Tensor
    columns: Tensor

    def __init__(self, transformation: Any) -> None:
        super().__init__()
        self.localize = transformation.LocalizationNetwork
        self.grid = transformation.GridGenerator
        self.height, self.width = transformation.I_size
        self.out_height, self.out_width = transformation.I_r_size
        for name, size in (("rows", self.height), ("columns", self.width)):
            self.register_buffer(name, torch.arange(size, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        points = self.localize.conv(images).flatten(1)
        points = self.localize.localization_fc2(self.localize.localization_fc1(points)).reshape(-1, self.localize.F, 2)
        # The last three columns of the inverse meet zeros.
        spline = self.grid.inv_delta_C[:, : self.localize.F] @ points
        x, y = (self.grid.P_hat @ spline).unbind(-1)
        columns, rows = self.weights(x, self.columns), self.weights(y, self.rows)
        # (N, C * H, W) by (N, W, P), then over H.
        sampled = images.reshape(-1, 3 * self.height, self.width) @ columns.transpose(1, 2)
        places = self.out_height * self.out_width
        sampled = sampled.reshape(-1, 3, self.height, places) * rows.transpose(1, 2).unsqueeze(1)
        return sampled.sum(2).reshape(-1, 3, self.out_height, self.out_width)

    def weights(self, places: Tensor, positions: Tensor) -> Tensor:
        """Places (N, P) in -1..1 → weights of each of L entries, (N, P, L); outside, the border's."""
        positions = positions.to(device=places.device, dtype=places.dtype)
        last = positions[-1:]
        return bilinear_matrix((places + 1) * 0.5 * last, (last + 1).unsqueeze(0), positions)


class TRBAEncoder(nn.Module):
    """Images → contextual features and their projection for the attention, (N, S, D + hidden)."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.rectify = Rectify(core.Transformation)
        self.extract = core.FeatureExtraction
        self.layers = core.SequenceModeling
        self.project = core.Prediction.attention_cell.i2h

    def forward(self, images: Tensor) -> Tensor:
        x = self.extract(self.rectify(images)).mean(2).transpose(1, 2)
        for layer in self.layers:
            x = layer.linear(lstm(layer.rnn, x))
        return torch.cat([x, self.project(x)], dim=2)


class TRBAStep(nn.Module):
    """One character, in the step protocol. State: hidden and cell."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        cell = core.Prediction.attention_cell
        self.embeddings, self.generator = core.Prediction.char_embeddings, core.Prediction.generator
        self.h2h, self.score, self.rnn = cell.h2h, cell.score, cell.rnn
        self.width = cell.i2h.in_features

    def initial_state(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        empty = torch.zeros_like(memory[:, 0, self.width :])
        return empty, empty

    def step(self, token: Tensor, state: tuple[Tensor, Tensor], memory: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        features, projected = memory[..., : self.width], memory[..., self.width :]
        scores = self.score(torch.tanh(projected + self.h2h(state[0]).unsqueeze(1)))
        context = (scores.softmax(1).transpose(1, 2) @ features).squeeze(1)
        embedded = one_hot_embedding(token, self.embeddings.weight)
        # The first token is one row, which stands for all.
        state = lstm_cell(self.rnn, torch.cat([context, embedded], dim=1), state)
        return self.generator(state[0]), state


FAMILY = Family(
    name="trba",
    class_names=("strhub.models.trba.model.TRBA", "strhub.models.trba.system.TRBA"),
    matches=lambda model: False,
    options=TRBAOptions,
    build=StaticTRBA,
)
