"""load_checkpoint: reads checkpoint files, whatever trainer wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.errors import CheckpointError, OptionError
from neuronkit.models.characters import known_characters
from neuronkit.models.contents import Contents, common_prefix, find_contents
from neuronkit.models.craft import CRAFT
from neuronkit.models.files.reader import open_checkpoint, readable
from neuronkit.models.infer_craft import infer_craft, infer_refiner
from neuronkit.models.infer_parseq import file_charset, infer_parseq
from neuronkit.models.parseq import PARSeq
from neuronkit.models.refiner import LinkRefiner
from neuronkit.ocr.charset import Charset
from neuronkit.shown import shown

Model = TypeVar("Model", bound=nn.Module)
_MOST_NAMES = 8
_MOST_HEADS = 1 << 16


@overload
def load_checkpoint(
    model_or_class: type[Model],
    path: str | PathLike[str],
    *,
    charset: str | int | Charset | Sequence[str] | None = None,
    heads: tuple[int, int] | None = None,
) -> Model: ...
@overload
def load_checkpoint(model_or_class: Model, path: str | PathLike[str]) -> Model: ...
def load_checkpoint(
    model_or_class: Any,
    path: str | PathLike[str],
    *,
    charset: str | int | Charset | Sequence[str] | None = None,
    heads: tuple[int, int] | None = None,
) -> Any:
    """Load published or self-trained weights.

    Reads files of torch.save, of any release from 0.2 on, and safetensors files: plain state dicts, Lightning
    checkpoints, files of the CRAFT trainers (under ``"craft"``) and ``{"cfg", "model"}`` files, with or without the
    prefixes ``module.``, ``model.`` and ``_orig_mod.``. Nothing in the file is run: classes and functions that it names
    are neither imported nor called, on any release of torch. Checksums are compared where the format has them.

    Args:
        model_or_class: A model to load into, which may be wrapped (DataParallel, DistributedDataParallel,
            torch.compile, a training system with the network as ``model``); or `CRAFT`, `LinkRefiner` or `PARSeq`,
            built to fit. Sizes come from the file's tensors; characters, heads and image size from its settings, else
            from the published models, with a warning.
        path: The file.
        charset: For `PARSeq`: its characters in the order of training, where the file does not state them.
        heads: For `PARSeq`: attention heads of encoder and decoder, where the file does not state them.

    Returns:
        The model, in eval mode when it was built here. A given model is changed only if everything fits.

    Raises:
        CheckpointError: If the file cannot be read, or does not fit; lists missing, unexpected and mis-shaped keys.
        OptionError: If the class is not a model to build, or `charset` or `heads` do not belong to it.

    Warns:
        AssumptionWarning: If characters, heads or image size had to be assumed; it names them.

    Examples:
        >>> torch.save(parseq.state_dict(), "parseq.pt")
        >>> heads = tuple(module.num_heads for module in parseq.modules() if hasattr(module, "num_heads"))
        >>> load_checkpoint(PARSeq, "parseq.pt", charset=36, heads=(heads[0], heads[-1])).charset == parseq.charset
        True
    """
    builds = issubclass(type(model_or_class), type)
    if not builds:
        tensors.module("model_or_class", model_or_class, error=OptionError)
    elif not issubclass(model_or_class, (CRAFT, LinkRefiner, PARSeq)):
        raise OptionError(
            f"got the class {model_or_class.__name__:.80}; expected CRAFT, LinkRefiner, PARSeq, or a model; pass an "
            "instance of it"
        )
    characters = _charset(charset)
    heads = None if heads is None else checks.integers("heads", heads, 2, 1, _MOST_HEADS)  # type: ignore[assignment]
    if (characters is not None or heads is not None) and not (builds and issubclass(model_or_class, PARSeq)):
        raise OptionError(
            f"got charset= or heads= for {model_or_class.__name__ if builds else 'a model'}; expected them with the "
            "class PARSeq alone; leave them out"
        )
    with open_checkpoint(path) as raw:
        label = readable(path)
        contents = find_contents(raw, label)
        model = model_or_class
        if builds and issubclass(model_or_class, CRAFT):
            model = infer_craft(model_or_class, contents, label).eval()
        elif builds and issubclass(model_or_class, LinkRefiner):
            model = infer_refiner(model_or_class, contents, label).eval()
        elif builds:
            model = infer_parseq(model_or_class, contents, characters, heads, label).eval()
        _fill(model, contents, label)
    return model


def _charset(given: Any) -> Charset | None:
    if given is None or isinstance(given, Charset):
        return given
    if isinstance(given, (list, tuple)) and all(isinstance(item, str) and len(item) == 1 for item in given):
        given = "".join(given)
    return Charset.named(given)


def _fill(model: nn.Module, contents: Contents, label: str) -> None:
    """Copy the weights into the model, or raise before any is changed."""
    expected = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    prefix = common_prefix(expected)
    inner = model.get_submodule(prefix[:-1]) if prefix else model
    _check_charset(model, prefix, contents, label)
    bare = {name[len(prefix) :]: value for name, value in expected.items()}
    _check_fit(type(inner).__name__, bare, contents, label)
    values = {prefix + name: tensor.tensor() for name, tensor in contents.state.items()}
    with torch.no_grad():
        model.load_state_dict(values, strict=False)


def _check_charset(model: nn.Module, prefix: str, contents: Contents, label: str) -> None:
    stated = file_charset(contents.settings, label)
    if stated is None:
        return
    names = prefix.split(".")[:-1]
    parts = [model.get_submodule(".".join(names[:count])) for count in range(len(names) + 1)]
    inner = parts[-1]
    # Of others than our PARSeq, those of another number show in the sizes of weights.
    found = (known_characters(part, len(stated)) for part in parts)
    has = inner.charset.characters if isinstance(inner, PARSeq) else next(filter(None, found), None)
    if has is not None and stated != has:
        raise CheckpointError(
            f"{label}: got weights trained on charset {shown(stated, 80)}; expected {shown(has, 80)}, for which the "
            "model was built; build the model with the file's charset, or pass the class"
        )


def _check_fit(kind: str, expected: dict[str, Tensor], contents: Contents, label: str) -> None:
    state, skipped = contents.state, contents.skipped
    # Files from before torch 0.4.1 lack this counter, which inference does not use.
    missing = [
        f"{name} ({readable(skipped[name])}, which was skipped)" if name in skipped else name
        for name in expected
        if name not in state and not name.endswith("num_batches_tracked")
    ]
    unexpected = [readable(name, 80) for name in state if name not in expected]
    both = [name for name in expected if name in state]
    misshaped = [
        f"{name} {tuple(state[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in both
        if state[name].shape != tuple(expected[name].shape)
    ]
    mistyped = [
        f"{name} {state[name].dtype}, expected {expected[name].dtype}"
        for name in both
        if expected[name].is_floating_point() and not state[name].dtype.is_floating_point
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshaped), ("mis-typed", mistyped))
    problems = [
        f"{len(names)} {word}: {', '.join(names[:_MOST_NAMES])}{', …' if len(names) > _MOST_NAMES else ''}"
        for word, names in kinds
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{label}: does not fit {kind}: got {'; '.join(problems)}; expected the model's own names and shapes; "
            "build the model with the sizes it was trained with, or pass the class"
        )
