"""What a checkpoint holds, whatever trainer wrote it: the weights by name, and the settings of the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuronkit.errors import CheckpointError
from neuronkit.models.files.pickles.numpy_values import NumpyArray
from neuronkit.models.files.pickles.standins import Name, StandIn, data_of
from neuronkit.models.files.reader import readable
from neuronkit.models.files.stored import StoredTensor, unfolded

# Where trainers put the state dict: Lightning, the CRAFT trainers, and plain {"cfg", "model"} files.
_STATE_KEYS = ("state_dict", "craft", "model", "model_state_dict")
_SETTINGS_KEYS = ("hyper_parameters", "cfg", "config", "hparams", "args", "opt")
CHARSET_KEYS = ("charset_train", "charset")
ARCHITECTURE = (
    "max_label_length", "img_size", "patch_size", "embed_dim", "enc_num_heads", "enc_mlp_ratio", "enc_depth",
    "dec_num_heads", "dec_mlp_ratio", "dec_depth", "decode_ar", "refine_iters", "dropout",
)  # fmt: skip
# What wrappers put before every name: DistributedDataParallel, torch.compile, and a module held by a training system.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_MOST_PREFIXES = 8
_MOST_REFERENCES = 8
_MOST_NUMBERS = 64
# torch.optim.swa_utils.AveragedModel counts beside the model.
_COUNTER = "n_averaged"
# Views may overlap, or repeat one element. What unfolds to more than this is made to fill memory.
_MOST_UNFOLDING, _FREE_UNFOLDING = 2, 64 << 20


@dataclass(frozen=True)
class Contents:
    """What was found.

    Attributes:
        state: Tensors by their names in the model.
        skipped: Names of further entries that are not tensors, and the class of each.
        settings: Architecture and charset by the names of `ARCHITECTURE` and `CHARSET_KEYS`, as the file gives them.
    """

    state: Mapping[str, StoredTensor]
    skipped: Mapping[str, str]
    settings: Mapping[str, Any]

    def shape(self, name: str, dimensions: int, cls: type, label: str) -> tuple[int, ...]:
        """Return the sizes of a tensor.

        Raises:
            CheckpointError: If it is missing, or has another number of dimensions than in a model of `cls`.
        """
        tensor = self.state.get(name)
        if tensor is None:
            kind = self.skipped.get(name)
            found = f"{name} as {readable(kind)}, which was skipped" if kind else f"no tensor {name}"
            raise CheckpointError(
                f"{label}: got {found}; expected the weights of a {cls.__name__}; give a file of one, or the right "
                "class"
            )
        if len(tensor.shape) != dimensions:
            raise CheckpointError(
                f"{label}: got {name} of {len(tensor.shape)} dimensions; expected {dimensions}, as in a "
                f"{cls.__name__}; give a file of one, or the right class"
            )
        return tensor.shape


def find_contents(raw: Any, label: str) -> Contents:
    """Find weights and settings in what `open_checkpoint` gives.

    Raises:
        CheckpointError: If there is no state dict.
    """
    top = data_of(raw)
    entries = _find_entries(top, label)
    tensors = {name: value for name, value in entries.items() if isinstance(value, StoredTensor)}
    names = {name for name in tensors if name != _COUNTER}
    prefix = common_prefix(names)
    state = {name[len(prefix) :]: value for name, value in tensors.items() if name in names}
    needed, held = unfolded(list(state.values()))
    if needed > _MOST_UNFOLDING * held + _FREE_UNFOLDING:
        raise CheckpointError(
            f"{label}: got tensors of {needed} bytes that share {held} bytes in the file; expected each to have its "
            "own; save {name: value.clone() for name, value in model.state_dict().items()}"
        )
    skipped = {name: _kind(value) for name, value in entries.items() if isinstance(value, (StandIn, Name))}
    return Contents(state, {name.removeprefix(prefix): kind for name, kind in skipped.items()}, _settings(top))


def common_prefix(names: Collection[str]) -> str:
    """Return what wrappers put before every one of the names."""
    prefix = ""
    for _ in range(_MOST_PREFIXES):
        more = next((p for p in _PREFIXES if names and all(name.startswith(p, len(prefix)) for name in names)), None)
        if more is None:
            break
        prefix += more
    return prefix


def _find_entries(top: Any, label: str) -> dict[str, Any]:
    found = top if isinstance(top, dict) else {}
    candidates = [data_of(found.get(key)) for key in _STATE_KEYS]
    for candidate in (*candidates, found):
        if isinstance(candidate, dict) and any(isinstance(value, StoredTensor) for value in candidate.values()):
            return {name: value for name, value in candidate.items() if isinstance(name, str)}
    whole = next((c for c in (top, *candidates) if isinstance(c, (StandIn, Name))), None)
    if whole is not None:
        raise CheckpointError(
            f"{label}: got a whole pickled object, {readable(_kind(whole))}, which is not executed; expected a state "
            "dict; load it where it was written and save torch.save(model.state_dict(), path)"
        )
    keys = ", ".join(readable(key, 40) for key in list(found)[:8])
    skipped = sorted({_kind(value) for value in found.values() if isinstance(value, (StandIn, Name))})[:4]
    more = f"; skipped objects of {', '.join(readable(kind) for kind in skipped)}" if skipped else ""
    raise CheckpointError(
        f"{label}: got {'keys ' + keys if keys else f'a {type(top).__name__}'}{more}, and no state dict; expected "
        f"tensors by name, at the top or under {', '.join(_STATE_KEYS)}; save torch.save(model.state_dict(), path)"
    )


def _kind(value: StandIn | Name) -> str:
    return value.kind if isinstance(value, StandIn) else value.full


def _settings(top: Any) -> dict[str, Any]:
    """The first value of each setting, from the configurations that trainers store, and "model" within them."""
    result: dict[str, Any] = {}
    for key in _SETTINGS_KEYS:
        outer = data_of(top.get(key)) if isinstance(top, dict) else None
        inner = data_of(outer.get("model")) if isinstance(outer, dict) else None
        for level in (inner, outer):
            if isinstance(level, dict):
                values = {name: _setting(level.get(name), outer) for name in (*ARCHITECTURE, *CHARSET_KEYS)}
                result = {**{name: value for name, value in values.items() if value is not None}, **result}
    return result


def _setting(value: Any, root: Any) -> Any:
    """A value as data; None where it is missing, an object, or refers to something that `root` does not have."""
    value = _number(_resolved(data_of(value), root))
    if isinstance(value, (list, tuple)):
        return [_number(data_of(item)) for item in value]
    return None if isinstance(value, (StandIn, Name, StoredTensor, dict)) else value


def _number(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if isinstance(value, NumpyArray) and value.values is not None:
        return value.values.tolist() if value.values.size <= _MOST_NUMBERS else None
    return value.item() if isinstance(value, np.generic) else value


def _resolved(value: Any, root: Any) -> Any:
    """Follow OmegaConf's references, as ``${data.charset}``."""
    for _ in range(_MOST_REFERENCES):
        if not (isinstance(value, str) and value.startswith("${") and value.endswith("}")):
            return value
        place = root
        for key in value[2:-1].split(".")[:_MOST_REFERENCES]:
            place = data_of(place.get(key)) if isinstance(place, dict) else None
        value = place
    return None
