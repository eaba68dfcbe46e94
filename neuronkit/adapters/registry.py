"""Which model families neuronkit knows, and how it recognises them without importing their libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from neuronkit import checks
from neuronkit.errors import OptionError, SpecError, UnknownModelError
from neuronkit.static.model import StaticModel, unwrap

ADAPTER_MODULES = (
    "craft",
    "parseq",
    "doctr.parseq",
    "doctr.master",
    "doctr.sar",
    "doctr.vitstr",
    "trba",
    "lines.easyocr",
    "lines.benchmark",
    "lines.crnn",
    "doctr.crnn",
    "doctr.detector",
    "huggingface",
)
GUIDE = "docs/adding-a-family.md"


@dataclass(frozen=True)
class Family:
    """One model family, as its adapter file describes it.

    Attributes:
        name: What `make_static(family=...)` calls it.
        class_names: Qualified names of the model classes, the library's own among them.
        matches: Whether a model of an unknown class has this family's structure.
        options: The family's frozen dataclass of options.
        build: ``build(model, *, batch_size, options)`` makes the static model.

    Examples:
        >>> neuronkit.adapters.registry.family_of(parseq).name
        'parseq'
    """

    name: str
    class_names: tuple[str, ...]
    matches: Callable[[nn.Module], bool]
    options: type
    build: Callable[..., StaticModel]


_registered: list[Family] = []


def register(family: Family) -> None:
    """Make a family of one's own known to `make_static`, for as long as the process runs.

    A family registered again under its name takes the earlier one's place.

    Args:
        family: Its name, classes, options and how a model of it is built.

    Raises:
        OptionError: If neuronkit itself has a family of that name.

    Examples:
        ```python
        register(Family("mine", ("my_package.Model",), lambda model: False, MyOptions, build))
        ```
    """
    if any(family.name == known.name for known in _own_families()):
        raise OptionError(f"family {family.name!r} is one of neuronkit's own; choose another name")
    _registered[:] = [known for known in _registered if known.name != family.name] + [family]


def families() -> Iterator[Family]:
    """Every registered family.

    Returns:
        neuronkit's own families, then registered ones.

    Examples:
        >>> {"craft", "parseq"} <= {family.name for family in neuronkit.adapters.registry.families()}
        True
    """
    yield from _own_families()
    yield from _registered


def _own_families() -> Iterator[Family]:
    for module in ADAPTER_MODULES:
        yield importlib.import_module(f"neuronkit.adapters.{module}").FAMILY


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
    if not isinstance(model, nn.Module):
        raise UnknownModelError(f"got {type(model).__name__}; make_static takes an nn.Module")
    batch_size = checks.integer("batch_size", batch_size, 1, error=SpecError)
    found = _find(unwrap(model), family)
    return found.build(model, batch_size=batch_size, options=_options(found, options))


def family_of(model: nn.Module) -> Family | None:
    """The family that `make_static` takes a model for, by qualified class name, then by structure; None for no one.

    Args:
        model: Any module, in wrappers of distributed training too.

    Returns:
        The family, or None.

    Examples:
        >>> neuronkit.adapters.registry.family_of(torch.nn.ReLU()) is None
        True
    """
    model = unwrap(model)
    classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(model).__mro__}
    known = list(families())
    named = (family for family in known if classes.intersection(family.class_names))
    return next(named, None) or next((family for family in known if family.matches(model)), None)


def _find(model: nn.Module, name: str | None) -> Family:
    known = list(families())
    if name is not None:
        name = checks.choice("family", name, [family.name for family in known], error=UnknownModelError)
        return next(family for family in known if family.name == name)
    found = family_of(model)
    if found is not None:
        return found
    cls = type(model)
    raise UnknownModelError(
        f"{cls.__module__}.{cls.__qualname__} is of no known family ({_names(known)}). If it is one of these under "
        f"another name, pass family=...; a new family is one file, see {GUIDE}"
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
