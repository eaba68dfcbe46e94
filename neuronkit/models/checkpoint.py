"""load_checkpoint: reads the files that people have, whatever trainer wrote them."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from os import PathLike
from typing import Any, TypeVar, overload

from torch import Tensor, nn

from neuronkit.errors import CheckpointError
from neuronkit.models.craft import CRAFT
from neuronkit.models.parseq import PARSeq
from neuronkit.models.weights_only import torch_load
from neuronkit.ocr.charset import NAMED_CHARSETS

Model = TypeVar("Model", bound=nn.Module)
State = dict[str, Tensor]

# Where trainers put the state dict: Lightning, the CRAFT trainers, and plain {"cfg", "model"} files.
_STATE_KEYS = ("state_dict", "craft", "model")
# What wrappers put before every name: DistributedDataParallel, torch.compile, and a module held by a training system.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_ARCHITECTURE = (
    "max_label_length", "img_size", "patch_size", "embed_dim", "enc_num_heads", "enc_mlp_ratio", "enc_depth",
    "dec_num_heads", "dec_mlp_ratio", "dec_depth", "decode_ar", "refine_iters", "dropout",
)  # fmt: skip


@overload
def load_checkpoint(model_or_class: type[Model], path: str | PathLike[str]) -> Model: ...
@overload
def load_checkpoint(model_or_class: Model, path: str | PathLike[str]) -> Model: ...
def load_checkpoint(model_or_class: Any, path: str | PathLike[str]) -> Any:
    """Load published or self-trained weights.

    Reads plain state dicts, Lightning checkpoints, files of the CRAFT trainers (under ``"craft"``) and
    ``{"cfg", "model"}`` files, with or without the prefixes ``module.``, ``model.`` and ``_orig_mod.``. Nothing in the
    file is executed (``weights_only=True``).

    Args:
        model_or_class: A model to load into, or `CRAFT` or `PARSeq`, built to fit: from the file's hyper-parameters,
            else from the tensors' shapes with the published models' 64 (encoder) and 32 (decoder) channels per head.
        path: The file.

    Returns:
        The model, in eval mode when it was built here. A given model is changed only if everything fits.

    Raises:
        CheckpointError: If the file cannot be read, or does not fit; lists missing, unexpected and mis-shaped keys.
    """
    contents = _read(path)
    state = _find_state(contents, path)
    settings = _find_settings(contents)
    if isinstance(model_or_class, type):
        model = _build(model_or_class, state, settings, path).eval()
    else:
        model = model_or_class
    _check_charset(model, settings, path)
    _check_fit(model, state, path)
    model.load_state_dict(state, strict=False)
    return model


def _read(path: str | PathLike[str]) -> Any:
    try:
        return torch_load(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds Python objects besides weights, or is no checkpoint; they are not executed. Load it where "
            f"it was written and save torch.save(model.state_dict(), path) instead ({str(error).splitlines()[0]})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        cause = str(error).splitlines()[0] if str(error) else repr(error)
        raise CheckpointError(f"{path}: not a whole PyTorch checkpoint; copy or download it again ({cause})") from error


def _find_state(contents: Any, path: str | PathLike[str]) -> State:
    if isinstance(contents, Mapping):
        for key in _STATE_KEYS:
            if isinstance(contents.get(key), Mapping):
                return _strip(contents[key])
        if any(isinstance(value, Tensor) for value in contents.values()):
            return _strip(contents)
    keys = ", ".join(map(str, list(contents)[:8])) if isinstance(contents, Mapping) else ""
    raise CheckpointError(
        f"{path}: holds no state dict (found {'keys ' + keys if keys else type(contents).__name__}); "
        f"expected tensors by name, at the top or under {', '.join(_STATE_KEYS)}"
    )


def _strip(state: Mapping[str, Any]) -> State:
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    prefix = next((p for p in _PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None)
    return _strip({name[len(prefix) :]: value for name, value in tensors.items()}) if prefix else tensors


def _find_settings(contents: Any) -> Mapping[str, Any]:
    if not isinstance(contents, Mapping):
        return {}
    settings = contents.get("hyper_parameters") or contents.get("cfg") or {}
    nested = settings.get("model") if isinstance(settings, Mapping) else None
    return nested if isinstance(nested, Mapping) else settings if isinstance(settings, Mapping) else {}


def _build(cls: type, state: State, settings: Mapping[str, Any], path: str | PathLike[str]) -> nn.Module:
    try:
        if issubclass(cls, CRAFT):
            return cls(width=state["basenet.slice1.0.weight"].shape[0] / 64)
        if issubclass(cls, PARSeq):
            return cls(_charset(state, settings, path), **_architecture(state, settings, path))
    except KeyError as error:
        raise CheckpointError(f"{path}: is not a {cls.__name__}: tensor {error} is missing") from error
    raise CheckpointError(f"{cls.__name__} cannot be built from a file; pass an instance of it, or CRAFT or PARSeq")


def _charset(state: State, settings: Mapping[str, Any], path: str | PathLike[str]) -> str:
    given = settings.get("charset_train") or settings.get("charset")
    if given:
        return str(given)
    size = state["head.weight"].shape[0] - 1
    if str(size) not in NAMED_CHARSETS:
        raise CheckpointError(
            f"{path}: was trained on {size} characters and does not say which; "
            "pass PARSeq(charset, ...) with the characters in the order of training"
        )
    return NAMED_CHARSETS[str(size)]


def _architecture(state: State, settings: Mapping[str, Any], path: str | PathLike[str]) -> dict[str, Any]:
    width = state["pos_queries"].shape[2]
    patch_size = tuple(state["encoder.patch_embed.proj.weight"].shape[2:])
    inferred = {
        "max_label_length": state["pos_queries"].shape[1] - 1,
        "patch_size": patch_size,
        "embed_dim": width,
        "enc_num_heads": max(1, width // 64),
        "enc_mlp_ratio": state["encoder.blocks.0.mlp.fc1.weight"].shape[0] // width,
        "enc_depth": len({name.split(".")[2] for name in state if name.startswith("encoder.blocks.")}),
        "dec_num_heads": max(1, width // 32),
        "dec_mlp_ratio": state["decoder.layers.0.linear1.weight"].shape[0] // width,
        "dec_depth": len({name.split(".")[2] for name in state if name.startswith("decoder.layers.")}),
    }
    stated = {name: settings[name] for name in _ARCHITECTURE if name in settings}
    if "img_size" not in stated:
        inferred["img_size"] = _image_size(state["encoder.pos_embed"].shape[1], patch_size, path)
    return {**inferred, **stated}


def _image_size(patches: int, patch_size: tuple[int, ...], path: str | PathLike[str]) -> tuple[int, int]:
    """The published sizes are 32 x 128 pixels and squares."""
    if patches * math.prod(patch_size) == 32 * 128:
        return 32, 128
    side = math.isqrt(patches)
    if side * side == patches:
        return side * patch_size[0], side * patch_size[1]
    raise CheckpointError(
        f"{path}: {patches} patches of {patch_size} pixels are of no published image size; "
        "pass PARSeq(..., img_size=(height, width))"
    )


def _check_charset(model: nn.Module, settings: Mapping[str, Any], path: str | PathLike[str]) -> None:
    given = settings.get("charset_train") or settings.get("charset")
    if isinstance(model, PARSeq) and given and str(given) != model.charset.characters:
        raise CheckpointError(
            f"{path}: was trained on charset {given!r}, the model was built for {model.charset.characters!r}; "
            "build the model with the file's charset, or pass the class"
        )


def _check_fit(model: nn.Module, state: State, path: str | PathLike[str]) -> None:
    expected = model.state_dict()
    # Files from before torch 0.4.1 lack this counter, which inference does not use.
    missing = [n for n in expected if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in state if n not in expected]
    misshaped = [
        f"{n} {tuple(state[n].shape)}, expected {tuple(expected[n].shape)}"
        for n in expected
        if n in state and state[n].shape != expected[n].shape
    ]
    problems = [
        f"{len(names)} {kind}: {', '.join(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshaped))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{path} does not fit {type(model).__name__}. {'; '.join(problems)}. "
            "Build the model with the sizes it was trained with"
        )
