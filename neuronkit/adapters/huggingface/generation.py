"""How `generate` of the installed release of transformers reads a model's settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neuronkit.adapters.huggingface.options import LONGEST
from neuronkit.adapters.huggingface.scores import read_processors
from neuronkit.adapters.huggingface.settings import asked, refuse_settings, shallow_copy
from neuronkit.errors import SpecError
from neuronkit.static.decoding.decoding import Beams
from neuronkit.threads.quiet import quiet

_STOPS = ("MaxLengthCriteria", "EosTokenCriteria")


@dataclass(frozen=True, eq=False)
class Generation:
    """Greedy generation as the installed release does it.

    Attributes:
        prompt: The tokens that decoding starts from: one, or more where the options say so. All but the first count
            among those that are generated, and are forced.
        ends: The tokens that end it.
        pad_id: The token that fills rows up which have ended.
        new_tokens: Longest sequence, in tokens, EOS counted and the first not.
        vocabulary: Number of different tokens.
        rules: What happens to the logits, or with beams to the logarithms of probabilities, in order.
        uses_cache: Whether the decoder gets one token at a time: then positions after a padding token go on as if it
            counted, and an expert's capacity is never reached.
        width: Of the encoder's hidden states.
        beams: How beams are searched; None decodes greedily.
    """

    prompt: tuple[int, ...]
    ends: tuple[int, ...]
    pad_id: int
    new_tokens: int
    vocabulary: int
    rules: list[nn.Module]
    uses_cache: bool
    width: int
    beams: Beams | None = None


@dataclass(frozen=True, eq=False)
class GenerateCall:
    """What `generate` hands to its loop.

    Attributes:
        input_ids: (1, P) what the decoder starts from.
        processors: What changes the scores, in order.
        criteria: What ends a sequence.
        config: All settings, defaults included.
        model_kwargs: What else the model is called with: the encoder's outputs, its mask.
    """

    input_ids: Tensor
    processors: Any
    criteria: Any
    config: Any
    model_kwargs: dict[str, Any]


def read_generation(model: Any, inputs: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> Generation:
    """Read from the installed release how it generates from these inputs.

    Args:
        model: A Hugging Face encoder–decoder in eval mode. It is run once; the release may change its attributes.
        inputs: One row of inputs, as `generate` takes them.
        arguments: What `generate` is called with besides the inputs.

    Raises:
        SpecError: If a setting is not reproduced, naming it, a token is missing or outside the vocabulary, or the
            release refuses the settings.
    """
    # Warnings for callers of generate(), who see them when they call it.
    with torch.no_grad(), quiet():
        refuse_settings(model, arguments)
        call = asked(model, lambda: record_generate(model, inputs, arguments))
        prompt, ends, new_tokens = _tokens(call)
        vocabulary = asked(model, lambda: _decode_once(model, call, new_tokens))
        for name, value in (
            *(("decoder_start_token_id", token) for token in prompt),
            *(("eos_token_id", end) for end in ends),
        ):
            if not 0 <= value < vocabulary:
                raise SpecError(
                    f"got {name}={value} in the generation settings; expected an id below {vocabulary}, the size of "
                    "the model's vocabulary; set it to the tokenizer's id"
                )
        # Whisper looks at the last token of each sequence.
        fails = (call.config.num_beams or 1) > 1 and getattr(model.config, "model_type", None) == "whisper"
        given = call.processors, call.input_ids, new_tokens, vocabulary
        rules = asked(model, lambda: read_processors(*given, fails_without_tokens=fails))
    pad_id = call.config.pad_token_id
    return Generation(
        prompt=prompt,
        ends=ends,
        pad_id=pad_id if isinstance(pad_id, int) else ends[0],
        new_tokens=new_tokens,
        vocabulary=vocabulary,
        rules=rules,
        uses_cache=call.config.use_cache is not False,
        beams=_beams(call.config, prompt, ends) if (call.config.num_beams or 1) > 1 else None,
        width=call.model_kwargs["encoder_outputs"][0].shape[-1],
    )


def record_generate(model: Any, inputs: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> GenerateCall:
    """Call `generate`, and give what it hands to its greedy loop, which is not run."""

    def record(
        self: Any, input_ids: Tensor, logits_processor: Any, stopping_criteria: Any, generation_config: Any, **rest: Any
    ) -> Tensor:
        raise _Recorded(GenerateCall(input_ids, logits_processor, stopping_criteria, generation_config, rest))

    def detect_language(self: Any, **given: Any) -> Tensor:
        raise SpecError(
            "got language=None in the generation settings, with which generate finds a language for each row; "
            "expected one; set generation_config.language and .task"
        )

    # A class of its own, as some releases take the loop from the class and others from the model.
    methods = {"_sample": record, "_beam_search": record, "detect_language": detect_language, "__module__": __name__}
    recording: Any = type(type(model).__name__, (type(model),), methods)
    recorder = shallow_copy(model, recording)
    try:
        recorder.generate(**inputs, **arguments)
    except _Recorded as recorded:
        return recorded.call
    raise SpecError(
        f"got {type(model).__name__}, whose generate runs none of the supported loops; expected one "
        "that does; its results cannot be reproduced in fixed shapes"
    )


class _Recorded(Exception):
    """Ends a `generate` where its loop would begin."""

    def __init__(self, call: GenerateCall) -> None:
        super().__init__()
        self.call = call


def _beams(config: Any, prompt: tuple[int, ...], ends: tuple[int, ...]) -> Beams:
    """How the release searches beams with these settings."""
    return Beams(
        num_beams=config.num_beams,
        eos_ids=ends,
        length_penalty=1.0 if config.length_penalty is None else float(config.length_penalty),
        early_stopping="never" if config.early_stopping == "never" else config.early_stopping is True,
        return_sequences=config.num_return_sequences or 1,
        # As there: the padding's id, unless that is 0.
        fill_id=config.pad_token_id or ends[0],
        prompt=prompt[1:],
    )


def plain_token(model: Any) -> int:
    """A token that is not padding to any part of the model, so that its positions count."""
    padding = {getattr(module, "padding_idx", None) for module in model.modules()}
    return next(i for i in itertools.count() if i not in padding)


def _tokens(call: GenerateCall) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """The start, the end, and how many tokens follow the first at most."""
    criteria = {type(criterion).__name__: criterion for criterion in call.criteria}
    unknown = [name for name in criteria if name not in _STOPS]
    if unknown:
        raise SpecError(
            f"got the stopping criteria {', '.join(unknown)}; expected a length and an EOS token alone; "
            "unset what adds them in model.generation_config"
        )
    start = tuple(call.input_ids[0].tolist())
    ends = criteria["EosTokenCriteria"].eos_token_id.tolist() if "EosTokenCriteria" in criteria else []
    if not ends:
        raise SpecError(
            f"got eos_token_id={call.config.eos_token_id!r} in the generation settings; expected a token that ends a "
            "sequence; set generation_config.eos_token_id to the tokenizer's"
        )
    if "MaxLengthCriteria" not in criteria:
        raise SpecError("got no longest length in the generation settings; expected one; set max_length in the options")
    new_tokens = criteria["MaxLengthCriteria"].max_length - 1
    if new_tokens > LONGEST:
        raise SpecError(
            f"got {new_tokens} new tokens in the generation settings; expected at most {LONGEST}; pass "
            "HuggingFaceOptions(max_length=...)"
        )
    if set(ends) & set(start[1:]):
        raise SpecError(
            f"got the prompt {start}, which holds the end, {', '.join(map(str, ends))}; expected none; give a prompt "
            "without it"
        )
    return start, tuple(ends), new_tokens


def _decode_once(model: Any, call: GenerateCall, steps: int) -> int:
    """The size of the vocabulary, found by decoding as many positions as there are steps.

    Raises:
        SpecError: If the decoder has fewer positions.
    """
    token = plain_token(model)

    def logits(positions: int) -> Tensor | None:
        try:
            with CheckedLookups():
                return _decode(model, call, torch.full_like(call.input_ids[:, :1], token).expand(-1, positions))
        except (IndexError, RuntimeError):
            if positions == 1:
                raise
            return None

    found = logits(steps)
    if found is not None:
        return found.shape[-1]
    longest, fails = 0, steps
    while fails - longest > 1:
        middle = (longest + fails) // 2
        longest, fails = (longest, middle) if logits(middle) is None else (middle, fails)
    raise SpecError(
        f"got max_length={steps} new tokens; expected at most {longest}, the positions of this model's decoder; "
        f"pass HuggingFaceOptions(max_length={longest}) or fewer"
    )


def _decode(model: Any, call: GenerateCall, tokens: Tensor) -> Tensor:
    names = ("encoder_outputs", "attention_mask")
    rest = {name: call.model_kwargs[name] for name in names if name in call.model_kwargs}
    return model(decoder_input_ids=tokens, use_cache=False, return_dict=True, **rest).logits  # type: ignore[no-any-return]


class CheckedLookups(TorchFunctionMode):
    """Raises IndexError where a table has too few rows; a GPU would stop working for the whole process."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.embedding:
            named = {**dict(zip(("input", "weight"), args)), **kwargs}
            if named["input"].numel() and int(named["input"].max()) >= len(named["weight"]):
                raise IndexError("index out of range in self")
        return func(*args, **kwargs)
