"""The inputs of a call of an artifact: by name, of the right number, shape, place and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from neuronkit import checks, tensors
from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.checks import check_valid_size


def by_name(specs: Sequence[TensorSpec], inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Name → input, each given once, in order or by name.

    Raises:
        SpecError: If one is missing, unknown or given twice, or two are exchanged.
    """
    names = [spec.name for spec in specs]
    for name in named:
        checks.choice("the name of an input", name, names, error=SpecError)
    given = {**dict(zip(names, inputs)), **named}
    if len(inputs) + len(named) != len(names) or len(given) != len(names):
        raise SpecError(
            f"got {len(inputs)} inputs{f' and {sorted(named)}' if named else ''}; expected {len(names)}: "
            f"{', '.join(map(str, specs))}; give each once, in order or by name"
        )
    if not named and tensors.exchanged(inputs, specs):
        raise SpecError(
            f"got the inputs in another order; expected {', '.join(map(str, specs))}; give ({', '.join(names)})"
        )
    return given


def check_inputs(
    specs: Sequence[TensorSpec], given: Mapping[str, Any], valid_sizes: Iterable[str], manifest: Mapping[str, Any]
) -> None:
    """Check shapes, dtypes, devices, valid sizes, and ids as a manifest says.

    Raises:
        SpecError: If one does not fit.
    """
    for spec in specs:
        value = given[spec.name]
        spec.check(value)
        if value.device.type != "cpu":
            raise SpecError(
                f"{spec.name}: got a tensor on {value.device}; expected one on the CPU, from where the target "
                f"takes it; give {spec.name}.cpu()"
            )
    for name in valid_sizes:
        if name in given and given[name].dim() <= 2:
            largest = specs[0].shape[-given[name].dim() :]
            check_valid_size(name, given[name], largest, len(given[name]))
    check_ids(given, manifest)


def check_ids(given: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Refuse ids that a manifest does not allow.

    Raises:
        SpecError: If there is one.
    """
    for name, ids in manifest.get("input_ranges", {}).items():
        tensors.check_ids(name, given[name], ids)
    for name, columns in manifest.get("column_ranges", {}).items():
        for column, *ids in columns:
            tensors.check_ids(name, given[name], ids, column)


def of_any_rows(specs: Sequence[TensorSpec], given: Mapping[str, Any]) -> Sequence[TensorSpec]:
    """The specs, of as many rows as the first input has."""
    first = given[specs[0].name]
    if not isinstance(first, Tensor) or not first.dim() or not len(first):
        return specs
    return [replace(spec, shape=(len(first), *spec.shape[1:])) for spec in specs]
