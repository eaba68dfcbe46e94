"""Hugging Face encoder–decoders whose `generate` is compiled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronkit import tensors
from neuronkit.adapters.huggingface.inputs import IDS, KINDS
from neuronkit.adapters.huggingface.options import HuggingFaceOptions
from neuronkit.adapters.huggingface.settings import shallow_copy
from neuronkit.adapters.registry import make_static
from neuronkit.artifact import CompiledModel
from neuronkit.compile import compile_for_inferentia
from neuronkit.errors import OptionError, SpecError
from neuronkit.integrations.stand_in import check_network, compiled_models, given_to_original
from neuronkit.interface import SEQ2SEQ
from neuronkit.options import CompileOptions
from neuronkit.shown import shown
from neuronkit.static.trees import find

__all__ = ["accelerate", "restore"]
_NAME = "generate"
_INPUTS = ("inputs", *KINDS, "attention_mask", "decoder_input_ids")
# Given, they count otherwise than at the same value by default.
_LENGTHS = ("max_length", "max_new_tokens", "min_length", "min_new_tokens")


def accelerate(
    model: Any,
    *,
    target: str = "cpu",
    batch_size: int = 1,
    sizes: HuggingFaceOptions | None = None,
    compiled: CompiledModel | None = None,
    options: CompileOptions | None = None,
    op_whitelist: Sequence[str] = (),
    verify: bool = True,
    progress: bool | None = None,
) -> Any:
    """Compile what `model.generate` does, and put it in its place, on this one instance.

    A call runs compiled where it has what was compiled: inputs that fit, in any number of rows, and besides them the
    arguments that `sizes` stands for (``max_new_tokens=12`` for ``max_length=12``) and settings at their defaults. All
    other calls go to the original, with a RuntimeWarning that says why. `model.generation_config` counts as it is now.

    Args:
        model: An encoder–decoder of transformers, such as `VisionEncoderDecoderModel` or `MarianMTModel`.
        target: As in `compile_for_inferentia`.
        batch_size: Rows of the compiled batch.
        sizes: Lengths and sizes, as `make_static` takes them; None follows the model.
        compiled: The model compiled before with the same `sizes`, ``model.generate.compiled``; None compiles it.
        options: Options of the compile.
        op_whitelist: As in `compile_for_inferentia`.
        verify: Compare with the original before and after compiling.
        progress: Show on stderr what goes on; None shows it on a terminal.

    Returns:
        The same model.

    Raises:
        OptionError: If it is quantised, or `compiled` belongs to another model.
        NeuronKitError: Whatever `make_static` and `compile_for_inferentia` raise; the model is then unchanged.

    Examples:
        ``model = neuronkit.integrations.huggingface.accelerate(model, target="inf2", batch_size=8)``
    """
    tensors.module("model", model, error=OptionError)
    check_network("model", model, "load it without quantization_config")
    # `generate` gives ids only: the scores of a whole vocabulary need not leave the device.
    if sizes is None or isinstance(sizes, HuggingFaceOptions):
        sizes = replace(sizes or HuggingFaceOptions(), outputs="tokens")
    settings: Any = {"options": options, "op_whitelist": op_whitelist, "verify": verify, "progress": progress}
    compile_ = partial(compile_for_inferentia, target=target, **settings)
    before = vars(model).get(_NAME)
    restore(model)
    try:
        static = make_static(model, family="huggingface", batch_size=batch_size, options=sizes)
        if static.interface.role != SEQ2SEQ:
            raise OptionError(
                f"got {type(model).__name__}, whose generate gives other ids than its decoder; expected a model that "
                "gives what it decodes; call compile_for_inferentia and its decoded()"
            )
        replacing = Generate(model, static, compiled_models("compiled", [static], compiled, compile_)[0])
    except BaseException:
        if before is not None:
            model.generate = before
        raise
    model.generate = replacing
    return model


def restore(model: Any) -> Any:
    """Give the model its own `generate` back.

    Args:
        model: What `accelerate` was called with.

    Returns:
        The same model.

    Raises:
        OptionError: If it is not a module.

    Examples:
        ```python
        restore(model)
        ```
    """
    tensors.module("model", model, error=OptionError)
    replaced = vars(model).get(_NAME)
    if isinstance(replaced, Generate):
        del model.generate
        if replaced.own is not None:
            model.generate = replaced.own
    return model


class Generate:
    """Replaces a model's `generate`, and is called like it.

    Attributes:
        original: The method that it replaces.
        compiled: The compiled model.
    """

    def __init__(self, model: Any, static: Any, compiled: CompiledModel) -> None:
        length = _length(compiled)
        if (length, *_shapes(compiled)) != (static.steps, *_shapes(static)):
            raise OptionError(
                f"got compiled, a model of {length} tokens; expected {', '.join(map(str, static.specs))} and "
                f"{static.steps} tokens, as sizes say; give the sizes that it was compiled with"
            )
        search = _search(compiled.manifest["joining"])
        expected = _search(static.joining.to_dict() if static.joining else None)
        if search != expected:
            raise OptionError(
                f"got compiled, a model of {search}; expected {expected}, as sizes and the model's settings say; give "
                "the sizes that it was compiled with"
            )
        self.own = vars(model).get(_NAME)
        self.original = model.generate
        self.compiled = compiled
        self._static = static
        config, _ = shallow_copy(model)._prepare_generation_config(None)
        self._defaults = {name: value for name, value in config.to_dict().items() if name not in _LENGTHS}

    def __call__(self, inputs: Any = None, *others: Any, **named: Any) -> Any:
        """Give ids (N, L) int64, or what else the original gives."""
        given = {"inputs": inputs, **named}
        reason = "generate was called with positional settings" if others else self._other_settings(given)
        if reason is None:
            try:
                return self.compiled.generate(*self._tensors(given))
            except SpecError as error:
                reason = str(error)
        given_to_original(reason)
        return self.original(*([] if inputs is None else [inputs]), *others, **named)

    def _other_settings(self, given: Mapping[str, Any]) -> str | None:
        """The settings of a call that are not compiled, in a sentence; None without any."""
        known = {**self._defaults, **self._static.arguments}
        asked = {name: value for name, value in given.items() if name not in _INPUTS and value is not None}
        other = {name: value for name, value in asked.items() if name not in known or _differ(value, known[name])}
        missing = {name: value for name, value in self._static.arguments.items() if name not in asked}
        if other or missing:
            compiled_for = ", ".join(f"{name}={value}" for name, value in self._static.arguments.items())
            return f"generate was called with {shown(other)}, and is compiled for ({compiled_for})"
        return None

    def _tensors(self, given: Mapping[str, Any]) -> list[Tensor]:
        """The inputs in the order of the compiled model's.

        Raises:
            SpecError: If they are not this model's.
        """
        self._check_prompt(given.get("decoder_input_ids"))
        names = [name for name in _INPUTS[:-1] if given.get(name) is not None]
        expected = {self._static.source.main_input_name, "inputs"}
        mask = given.get("attention_mask")
        if len(names) != 1 + (mask is not None) or names[0] not in expected:
            raise SpecError(f"generate was called with {', '.join(names) or 'no inputs'}")
        first = tensors.tensor(names[0], given[names[0]])
        if not self._static.masked:
            return [first]
        if self._static.kind != IDS:
            if mask is None:
                raise SpecError(f"generate was called with {names[0]} and no attention_mask")
            self._static.check_vocabulary(first)
            return [first, mask]
        self._static.check_vocabulary(first)
        if mask is None and bool((first == self._static.generation.pad_id).any()):
            raise SpecError("generate was called with padding and no attention_mask, which releases read differently")
        return [first, torch.ones_like(first) if mask is None else mask]

    def _check_prompt(self, given: Tensor | None) -> None:
        """Raise SpecError unless every row starts from what was compiled."""
        prompt = self._static.prompt
        same = given is None if prompt is None else given is not None and given.shape[1:] == (len(prompt),)
        if not same or (given is not None and bool((given.cpu() != torch.tensor(prompt)).any())):
            raise SpecError(f"generate was called with decoder_input_ids={shown(given)}, and is compiled for {prompt}")


def _differ(asked: Any, compiled: Any) -> bool:
    """Whether a setting is another one. Of a tensor or an array it is not known."""
    return bool(find(asked, Tensor, np.ndarray)) or asked != compiled


def _length(compiled: CompiledModel) -> int:
    """The most tokens that a compiled model gives: logits (N, T, V), or tokens (N, T) or, of beams, (N, R, T)."""
    first = compiled.output_specs[0]
    return first.shape[1] if first.dtype.startswith(("float", "bfloat")) else first.shape[-1]


def _search(joining: Mapping[str, Any] | None) -> str:
    """What a manifest says of the search."""
    beams = (joining or {}).get("beams")
    return "greedy decoding" if beams is None else f"beams {json.dumps(beams)}"


def _shapes(model: Any) -> list[tuple[int, ...]]:
    return [spec.shape[1:] for spec in model.specs]
