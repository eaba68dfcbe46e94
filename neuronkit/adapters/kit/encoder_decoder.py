"""The base of adapters for models that encode their input once and decode it greedily."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.interface import SEQ2SEQ, Interface
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.model import DecodingModel
from neuronkit.static.original import eval_mode


class EncoderDecoder(DecodingModel):
    """An encoder–decoder in fixed shapes.

    An adapter implements `encoder`, `decoder`, `run_original` and `decoded`, and sets `family`; the loop, the graphs
    and how they are joined follow from the method.
    """

    _memory: TensorSpec | None = None

    @property
    def interface(self) -> Interface:
        """An encoder–decoder that gives logits over its vocabulary; recognisers say more."""
        return Interface(SEQ2SEQ, self.decoding.named_outputs, self.bos_id, self.eos_id)

    @abstractmethod
    def encoder(self, source: nn.Module) -> nn.Module:
        """The graph module that takes `specs` and gives the memory: one float tensor, N rows first."""

    @abstractmethod
    def decoder(self, source: nn.Module) -> Any:
        """The decoder, in one of the protocols of `neuronkit.static.decoding.protocols`."""

    @abstractmethod
    def decoded(self, outputs: Any) -> list[Any]:
        """For each row of the outputs its text or ids, with a confidence where the original gives one."""

    def memory_example(self) -> Tensor:
        device = next(self.source.parameters()).device
        if self._memory is None:
            with eval_mode(self.source), torch.no_grad():
                memory = self.encoder(self.source)(*self.normalized([x.to(device) for x in self.example_inputs()]))
            self._memory = TensorSpec.of("memory", memory)
        return torch.zeros(self._memory.shape, dtype=self._memory.torch_dtype, device=device)
