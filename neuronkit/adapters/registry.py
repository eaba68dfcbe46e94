"""make_static: a model of any registered family in fixed shapes."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuronkit import checks, tensors
from neuronkit.errors import OptionError, SpecError, UnknownModelError
from neuronkit.static.exact.trace import way_out
from neuronkit.static.families import Family, families, family_of, register
from neuronkit.static.model import StaticModel
from neuronkit.static.original import unwrap

__all__ = ["Family", "families", "family_of", "make_static", "register"]
GUIDE = "docs/adding-a-family.md"


def make_static(
    model: nn.Module, *, family: str | None = None, batch_size: int = 1, options: Any = None
) -> StaticModel:
    """Rewrite a dynamic model in fixed shapes, without changing its results or touching it.

    Args:
        model: The model, as it is: in train mode, on any device, wrapped by DistributedDataParallel or torch.compile.
        family: Name of its family; None recognises it by qualified class name, then by structure.
        batch_size: Rows of the fixed batch.
        options: The family's options, such as ``CRAFTOptions(height=..., width=...)``; None takes their defaults.

    Returns:
        A module that shares the model's weights, and that `compile_for_inferentia` takes; its `specs` say what it is
        called with.

    Raises:
        UnknownModelError: If no family fits; the message lists those that exist.
        OptionError: If the options are of another family, or one that has no default is missing.
        SpecError: If a size does not fit the model.

    Examples:
        >>> neuronkit.make_static(parseq, batch_size=4).specs[0].shape
        (4, 3, 32, 128)
    """
    tensors.module("model", model, error=UnknownModelError)
    batch_size = checks.integer("batch_size", batch_size, 1, error=SpecError)
    found = _find(unwrap(model), family)
    return found.build(model, batch_size=batch_size, options=_options(found, options))


def _find(model: nn.Module, name: str | None) -> Family:
    known = list(families())
    if name is not None:
        name = checks.choice("family", name, [family.name for family in known], error=UnknownModelError)
        return next(family for family in known if family.name == name)
    found = family_of(model)
    if found is not None:
        return found
    cls = type(model)
    advice = way_out(model, "")
    raise UnknownModelError(
        f"{cls.__module__}.{cls.__qualname__} is of no known family ({_names(known)}). "
        f"{advice + '. ' if advice else ''}If it is one of these under "
        f"another name, pass family=...; a new family is one file, see {GUIDE}. A module without loops and branches on "
        "values needs none: neuronkit.analyze(model, inputs, target=...) says what a target takes of it, and "
        "compile_for_inferentia(model, inputs, ...) compiles it as it is"
    )


def _options(family: Family, options: Any) -> Any:
    if options is None:
        try:
            return family.options()
        except TypeError as error:
            wanted = family.options.__name__
            raise OptionError(f"family {family.name!r} needs options={wanted}(...): {error}") from error
    if not isinstance(options, family.options):
        raise OptionError(
            f"options={checks.shown(options)}: family {family.name!r} takes {family.options.__name__}, got "
            f"{type(options).__name__}"
        )
    return options


def _names(known: list[Family]) -> str:
    return ", ".join(repr(family.name) for family in known)
