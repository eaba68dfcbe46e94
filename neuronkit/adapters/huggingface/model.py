"""Hugging Face encoder–decoders: what a greedy `generate` gives, in fixed shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import tensors
from neuronkit.adapters.huggingface.cached import AT_WORK, CachedDecode, Layout, find_layout
from neuronkit.adapters.huggingface.experts import check_routers, dense_experts
from neuronkit.adapters.huggingface.generation import read_generation
from neuronkit.adapters.huggingface.graphs import (
    Decode,
    EncodeImages,
    EncodeTokens,
    count_padding_in_positions,
    sharing_copy,
    without_encoder,
)
from neuronkit.adapters.huggingface.history import BANNED
from neuronkit.adapters.huggingface.inputs import (
    FEATURES,
    IDS,
    PATCHES,
    check_kind,
    find_normalization,
    input_specs,
    plain_row,
)
from neuronkit.adapters.huggingface.options import HuggingFaceOptions
from neuronkit.adapters.huggingface.scores import Rules
from neuronkit.adapters.huggingface.settings import shallow_copy
from neuronkit.adapters.kit.encoder_decoder import EncoderDecoder
from neuronkit.adapters.registry import Family
from neuronkit.errors import OptionError, SpecError
from neuronkit.interface import OTHER, SEQ2SEQ, Interface
from neuronkit.static.decoding.decoding import LOGITS, Beams
from neuronkit.static.decoding.methods.windowed import WINDOW
from neuronkit.static.model import Graphs
from neuronkit.static.original import unwrap
from neuronkit.threads.quiet import quiet

# Tokens that rules look at from all positions at once: that work grows with the square, one position's with the length.
LONGEST_HISTORY = 128


class StaticHuggingFace(EncoderDecoder):
    """A Hugging Face encoder–decoder at a fixed batch and length, decoding as `generate` does.

    A vision model is called with images (N, 3, H, W), a text model with ids (N, S) int32 and their mask (N, S) int32,
    1 where a token counts, Pix2Struct with patches (N, S, P) and theirs, Whisper with spectrograms (N, M, F). It gives
    scores (N, T, V) float32, right up to and including each row's first EOS: the logits, after what the generation
    settings do to them, with -2 ** 100 in place of -inf. With ``outputs="tokens"`` it gives tokens (N, T) int32 and
    their probabilities, zero after the first EOS. A beam search gives the best sequences' tokens (N, R, T) int32 and
    their scores (N, R) float32.

    Args:
        model: The dynamic model. Its settings are read with the installed transformers, as `model.generate` reads them.
        batch_size: Rows of the fixed batch.
        options: Sizes and method.

    Raises:
        SpecError: If the model's generation settings hold something that is not reproduced, a size does not fit, or the
            normalisation is not one that a graph reproduces.
        OptionError: If a model of texts is to take images.
        UnknownModelError: If it is not an encoder–decoder of images or texts.
    """

    family = "huggingface"
    # Copies of the model that share its weights: the tensors they share, one that encodes, one that decodes.
    _copies: tuple[tuple[Any, ...], Any, Any, Layout | None] | None = None

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: HuggingFaceOptions | None = None) -> None:
        core: Any = unwrap(model)
        options = options or HuggingFaceOptions()
        self.kind = check_kind(core)
        specs = input_specs(self.kind, core, batch_size, options)
        self.masked = len(specs) > 1
        self.options = options
        check_routers(core)
        self.arguments, self.prompt = options.arguments(), options.prompt
        self.generation = read_generation(sharing_copy(core), self._named(plain_row(core, specs)), self.arguments)
        self.keeps_ids = Rules(self.generation.rules).reads_source
        method = self._choose(options.method)
        self.wants_caches = method in ("stepwise", "windowed") or self.generation.beams is not None
        self.window = (options.window or WINDOW) if method == "windowed" else 1
        super().__init__(
            model,
            specs,
            steps=self.generation.new_tokens,
            bos_id=self.generation.prompt[0],
            eos_id=self.generation.ends[0],
            further_ends=self.generation.ends[1:],
            method=method,
            beams=self.generation.beams,
            outputs=LOGITS if self.generation.beams else options.outputs,
            window=options.window,
        )
        if options.raw_images:
            self.take_raw_images(find_normalization(options, self.specs[0].shape[1]))
        if self.looks_far and self.generation.beams is None and self.decoding.prefix is None:
            raise SpecError(
                f"got rules that look at earlier tokens, {self.steps} new tokens, and {type(core).__name__}, whose "
                f"decoder takes no caches from outside; expected at most {LONGEST_HISTORY} new tokens; give a smaller "
                "max_length"
            )

    @property
    def looks_far(self) -> bool:
        """Whether rules look at more tokens than all positions at once do."""
        far = self.generation.new_tokens > LONGEST_HISTORY
        return far and not Rules(self.generation.rules).by_position

    def _choose(self, method: str) -> str:
        """The method, which is "stepwise" where "auto" would look at too many tokens.

        Raises:
            OptionError: If `method` is any other.
        """
        if not self.looks_far or self.generation.beams is not None or method in ("stepwise", "windowed"):
            return method
        if method == "auto":
            return "stepwise"
        raise OptionError(
            f"got method={method!r}, {self.generation.new_tokens} new tokens and rules that look at earlier tokens; "
            f"expected at most {LONGEST_HISTORY} new tokens where all positions look at them at once; give "
            "method='stepwise' or 'windowed'"
        )

    @property
    def interface(self) -> Interface:
        """An encoder–decoder, with the tokens that `generate` starts, ends and fills rows with."""
        ends = self.generation.ends
        # Whisper's generate gives what follows the prompt, without the end.
        role = OTHER if self.kind == FEATURES else SEQ2SEQ
        return Interface(
            role, self.decoding.named_outputs, self.bos_id, ends[0], self.generation.pad_id, further_ends=ends[1:]
        )

    def graphs(self, rules: str = "any") -> Graphs:
        """As `StaticModel.graphs` says."""
        # Not while a step of another thread has set the model to its way of attending.
        with AT_WORK.taken():
            return super().graphs(rules)

    def encoder(self, source: nn.Module) -> nn.Module:
        encoder = self._shared(source)[0].get_encoder()
        return EncodeTokens(encoder, self.kind, self.keeps_ids) if self.masked else EncodeImages(encoder, self.kind)

    def decoder(self, source: Any) -> nn.Module:
        _, decodes, layout = self._shared(source)
        if layout is None:
            decoder = Decode(decodes, self.generation, self.masked)
        else:
            decoder = CachedDecode(decodes, self.generation, self.masked, layout)
        return decoder.to(next(source.parameters()).device)

    def run_original(self, source: Any, *inputs: Tensor) -> Any:
        """`generate` as its callers call it, its scores padded to the fixed length."""
        # Advice about settings, which are the caller's.
        with quiet(UserWarning):
            generated = shallow_copy(source).generate(
                **self._named(inputs), **self.arguments, return_dict_in_generate=True, output_scores=True
            )
        if self.generation.beams is not None:
            return self._of_beams(generated, self.generation.beams)
        scores = torch.stack(generated.scores, dim=1).clamp(min=BANNED)
        forced = torch.tensor(self.generation.prompt[1:], dtype=torch.long, device=scores.device)
        before = torch.full_like(scores[:, :1], BANNED).repeat(1, len(forced), 1)
        before.scatter_(2, forced.view(1, -1, 1).expand(len(scores), -1, 1), 0.0)
        scores = torch.cat([before, scores], dim=1)
        return torch.nn.functional.pad(scores, [0, 0, 0, self._missing(scores)])

    def _of_beams(self, generated: Any, beams: Beams) -> tuple[Tensor, Tensor]:
        """Tokens (N, R, T) int32 and scores (N, R) of a beam search of the original."""
        tokens = generated.sequences[:, 1:].to(torch.int32)
        tokens = torch.nn.functional.pad(tokens, [0, self._missing(tokens)], value=beams.fill_id)
        returned = beams.return_sequences
        return tokens.unflatten(0, (-1, returned)), generated.sequences_scores.unflatten(0, (-1, returned))

    def _missing(self, generated: Tensor) -> int:
        """How many tokens (N, T, ...) are fewer than the fixed length."""
        if generated.shape[1] > self.steps:
            raise SpecError(
                f"generate gives {generated.shape[1]} tokens, expected {self.steps} at most; the model's settings have "
                "changed since make_static, make the static model again"
            )
        return self.steps - generated.shape[1]

    def _named(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Inputs under the names and in the types that `generate` takes."""
        prompt: dict[str, Tensor] = {}
        if self.prompt is not None:
            ids = torch.tensor(self.prompt, dtype=torch.long, device=inputs[0].device)
            prompt = {"decoder_input_ids": ids.expand(len(inputs[0]), -1)}
        given = (x if x.is_floating_point() else x.long() for x in inputs)
        return {**dict(zip((self.kind, "attention_mask"), given)), **prompt}

    def check_inputs(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Check the inputs against `specs`, ids against the vocabulary, and patches' rows and columns.

        Returns:
            The inputs, as plain tensors.

        Raises:
            SpecError: If one does not fit, or an id, a row or a column is not among those that the model knows.
        """
        given = super().check_inputs(inputs)
        self.check_vocabulary(given[0])
        return given

    def check_vocabulary(self, given: Tensor) -> None:
        """Raise SpecError if an id is not in the vocabulary, or a patch's row or column not in its table."""
        for name, ids in self.input_ranges.items():
            tensors.check_ids(name, given, ids)
        for name, columns in self.column_ranges.items():
            for column, ids in columns.items():
                tensors.check_ids(name, given, ids, column)

    @property
    def input_ranges(self) -> dict[str, tuple[int, int]]:
        """The ids of the vocabulary."""
        return {"input_ids": (0, self._vocabulary() - 1)} if self.kind == IDS else {}

    @property
    def column_ranges(self) -> dict[str, dict[int, tuple[int, int]]]:
        """The rows and columns that Pix2Struct knows."""
        if self.kind != PATCHES:
            return {}
        tables = self.source.get_encoder().embeddings
        sizes = [len(tables.row_embedder.weight), len(tables.column_embedder.weight)]
        return {PATCHES: {column: (0, size - 1) for column, size in enumerate(sizes)}}

    def decoded(self, outputs: Any) -> list[list[int]]:
        """The ids of each row, without the first and up to EOS, as a tokenizer's `decode` takes them.

        Of a beam search all sequences, those of a row one after the other, as `generate` gives them.

        Raises:
            SpecError: If Whisper gives a timestamp.
        """
        beams = self.generation.beams
        if beams is not None:
            tokens = tensors.tensor("outputs", outputs[0], shape=(None, None, None)).flatten(0, 1)
        elif self.decoding.gives_tokens:
            tokens = tensors.tensor("outputs", outputs[0], shape=(None, None))
        else:
            tokens = tensors.tensor("outputs", outputs, shape=(None, None, None)).argmax(-1)
        ends = self.generation.ends
        rows = [row[: next((i for i, token in enumerate(row) if token in ends), None)] for row in tokens.tolist()]
        if self.kind == FEATURES:
            last = getattr(self.source.generation_config, "no_timestamps_token_id", self.generation.vocabulary)
            if any(token > last for row in rows for token in row):
                raise SpecError(
                    f"got a timestamp, a token above {last}, from which generate reads on; expected text without; call "
                    "the original"
                )
        return rows

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, or random ids or patches, as many in each row as come."""
        if not self.masked:
            return super().example_inputs(seed)
        rows, length = self.specs[0].shape[:2]
        generator = torch.Generator().manual_seed(seed)
        if self.kind == IDS:
            given = torch.randint(0, self._vocabulary(), (rows, length), generator=generator, dtype=torch.int32)
        else:
            given = torch.randn(self.specs[0].shape, generator=generator).to(self.specs[0].torch_dtype)
            # A patch begins with its row and its column.
            given[..., :2] = torch.randint(0, 8, (rows, length, 2), generator=generator).to(given)
        lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
        return given, (torch.arange(length) < lengths).to(torch.int32)

    def _vocabulary(self) -> int:
        return len(self.source.get_input_embeddings().weight)

    def _shared(self, source: nn.Module) -> tuple[Any, Any, Layout | None]:
        shared = (*source.parameters(), *source.buffers())
        key = (*map(id, shared), *map(id, source.modules()))
        if self._copies is None or self._copies[0] != key:
            encodes, decodes = sharing_copy(source), without_encoder(sharing_copy(source))
            cached = self.generation.uses_cache
            dense_experts(encodes)
            dense_experts(decodes, capacity=self.generation.new_tokens if cached else 0, decodes=True)
            if cached:
                count_padding_in_positions(decodes)
            layout = None
            if self.wants_caches:
                layout = find_layout(decodes, self.generation, self.masked, self.window)
            # Not registered: the weights stay the original's alone.
            self.__dict__["_copies"] = key, encodes, decodes, layout
        return self._copies[1:]  # type: ignore[index]


# Their results are tested against `generate`'s.
_MODELS = {
    "bart": "BartForConditionalGeneration",
    "bigbird_pegasus": "BigBirdPegasusForConditionalGeneration",
    "blenderbot_small": "BlenderbotSmallForConditionalGeneration",
    "led": "LEDForConditionalGeneration",
    "longt5": "LongT5ForConditionalGeneration",
    "m2m_100": "M2M100ForConditionalGeneration",
    "marian": "MarianMTModel",
    "mbart": "MBartForConditionalGeneration",
    "mt5": "MT5ForConditionalGeneration",
    "mvp": "MvpForConditionalGeneration",
    "nllb_moe": "NllbMoeForConditionalGeneration",
    "pegasus": "PegasusForConditionalGeneration",
    "pegasus_x": "PegasusXForConditionalGeneration",
    "pix2struct": "Pix2StructForConditionalGeneration",
    "plbart": "PLBartForConditionalGeneration",
    "switch_transformers": "SwitchTransformersForConditionalGeneration",
    "t5": "T5ForConditionalGeneration",
    "umt5": "UMT5ForConditionalGeneration",
    "vision_encoder_decoder": "VisionEncoderDecoderModel",
    "whisper": "WhisperForConditionalGeneration",
}

FAMILY = Family(
    name="huggingface",
    class_names=tuple(f"transformers.models.{folder}.modeling_{folder}.{name}" for folder, name in _MODELS.items()),
    matches=lambda model: False,
    options=HuggingFaceOptions,
    build=StaticHuggingFace,
)
