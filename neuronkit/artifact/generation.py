"""`generate` of a compiled encoder–decoder: the token ids that the original's `generate` returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neuronkit import checks, tensors
from neuronkit.errors import SpecError
from neuronkit.interface import SEQ2SEQ, Interface
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.fixed import FixedShape

# What transformers calls an input.
_NAMES = {"images": "pixel_values"}


class Generation:
    """Called like `generate` of transformers, with the inputs alone: the settings are those it was compiled with.

    Takes the inputs in order, or by the names that transformers has for them, with any number of rows; texts may be
    shorter than compiled. Gives ids (N, L) int64, the start first, up to the end of the longest row, padded behind EOS
    as transformers pads.

    Args:
        function: The compiled model, which takes `specs`.
        specs: Its inputs, in order.
        interface: What its outputs mean.

    Raises:
        AttributeError: If it is not an encoder–decoder whose sequences begin and end with a known token.
        SpecError: From a call, if an input is missing, unknown, or does not fit.
    """

    def __init__(self, function: Callable[..., Any], specs: Sequence[TensorSpec], interface: Interface) -> None:
        if interface.role != SEQ2SEQ or interface.bos_id is None or interface.eos_id is None:
            raise AttributeError("generate: the model gives no sequences that begin and end with a known token")
        self._specs = tuple(specs)
        self._start, self._ends = interface.bos_id, torch.tensor(interface.ends)
        self._pad = interface.eos_id if interface.pad_id is None else interface.pad_id
        # A text's padding is hidden by its mask.
        fill = {spec.name: self._pad if spec.name == "input_ids" else 0 for spec in specs}
        # No output is cut with a text; each has a place.
        whole = (None,) * len(interface.outputs) if len(interface.outputs) > 1 else None
        self._rows = FixedShape(function, specs, pad_value=fill, output_sizes=lambda valid: whole)

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        names = [_NAMES.get(spec.name, spec.name) for spec in self._specs]
        for name in named:
            checks.choice("the name of an input", name, names, error=SpecError)
        given = {**dict(zip(names, inputs)), **named}
        if len(inputs) + len(named) != len(names) or len(given) != len(names):
            raise SpecError(
                f"got {len(inputs)} inputs in order and {sorted(named)}; expected {', '.join(names)}; give each once: "
                "all other settings of generate are fixed when a model is compiled"
            )
        values = [_as_compiled(spec, given[name]) for spec, name in zip(self._specs, names)]
        return self._ids(self._rows(*(value.cpu() for value in values))).to(values[0].device)

    def _ids(self, outputs: Any) -> Tensor:
        """Logits (N, T, V), or tokens (N, T) or (N, R, T) and what else there is → ids (N, L) or (N * R, L)."""
        first = outputs if isinstance(outputs, Tensor) else outputs[0]
        tokens = first.argmax(-1) if first.is_floating_point() else first.long().flatten(0, -2)
        is_end = torch.isin(tokens, self._ends.to(tokens.device)).long()
        # How many ends stand before each token, of which the first is kept.
        ends = torch.cumsum(is_end, dim=1) - is_end
        longest = int((ends == 0).sum(1).max()) if len(ends) else 0
        # What follows the end of a beam is there already, and may be another token.
        if first.dim() < 3 or first.is_floating_point():
            tokens = torch.where(ends > 0, self._pad, tokens)
        tokens = tokens[:, :longest]
        return torch.cat([tokens.new_full((len(tokens), 1), self._start), tokens], dim=1)


def _as_compiled(spec: TensorSpec, value: Any) -> Tensor:
    """Ids and masks in the type of the graph: `generate` takes them as int64, and masks as the processor gives them,
    Pix2Struct's in float32.
    """
    tensor = tensors.tensor(spec.name, value)
    whole = not tensor.is_floating_point() or (spec.name == "attention_mask" and torch.equal(tensor, tensor.round()))
    return tensor.to(spec.torch_dtype) if spec.dtype == "int32" and whole else tensor
