"""A caller's model, which is left as it was: without its wrappers, in eval mode, copied, its failures explained."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from torch import nn

from neuronkit.errors import NeuronKitError, SpecError
from neuronkit.shown import shown
from neuronkit.threads.turns import Turns


def quantised_modules(model: nn.Module) -> list[str]:
    """Names of a model's quantised modules, with their classes."""
    found: list[str] = []
    for name, module in model.named_modules():
        tensors = [*module._parameters.values(), *module._buffers.values()]
        quantised = ".quantized" in type(module).__module__ or any(t is not None and t.is_quantized for t in tensors)
        # Of a quantised module, its own parts are not named again.
        if quantised and not any(name.startswith(f"{known.split(' ')[0]}.") for known in found):
            found.append(f"{name or 'the model'} ({type(module).__name__})")
    return found


def unwrap(model: nn.Module) -> nn.Module:
    """Strip DistributedDataParallel, DataParallel and torch.compile's wrapper, in any nesting."""
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def network_of(model: nn.Module) -> nn.Module:
    """The network inside a training system, which holds it as ``model``; any other module itself."""
    inner = getattr(model, "model", None)
    return inner if isinstance(inner, nn.Module) else model


@contextlib.contextmanager
def failures_named(
    model: str, given: str, advice: str = "Give inputs that the model can be called with"
) -> Iterator[None]:
    """Raise SpecError, which says what a model was called with, in place of errors that are not the library's own."""
    try:
        yield
    except NeuronKitError:
        raise
    except Exception as error:
        raise SpecError(
            f"{model} fails on {given or 'no inputs'}: {type(error).__name__}: {shown(str(error), 500)}. {advice}"
        ) from error


_changing_modes = Turns()
# Modules that were in train mode: by identity, each with the blocks that hold it in eval mode.
_held: dict[int, tuple[nn.Module, set[object]]] = {}


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode; on leaving, give every submodule back the mode it had.

    Of several threads that compute with one model, the last that leaves gives the modes back.
    """
    block = object()
    try:
        with _changing_modes.taken():
            for module in model.modules():
                if module.training or id(module) in _held:
                    _held.setdefault(id(module), (module, set()))[1].add(block)
            model.eval()
        yield
    finally:
        try:
            _give_back(block)
        except BaseException:
            # Interrupted by a key.
            _give_back(block)
            raise


def _give_back(block: object) -> None:
    """Give the modules that no block holds but this one the mode they had."""
    with _changing_modes.taken():
        for key, (module, blocks) in list(_held.items()):
            blocks.discard(block)
            if not blocks:
                module.training = True
                _held.pop(key, None)


def detached_copy(model: nn.Module) -> nn.Module:
    """Copy a model to the CPU, in eval mode, without gradients; the given one is not touched."""
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        copied = tensor.detach().to("cpu", copy=True)
        memo[id(tensor)] = nn.Parameter(copied, requires_grad=False) if isinstance(tensor, nn.Parameter) else copied
    return copy.deepcopy(model, memo).eval()
