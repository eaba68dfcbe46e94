"""Which model families there are: names of their modules, which are imported when a model is looked at."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from neuronkit.errors import OptionError
from neuronkit.static.model import StaticModel
from neuronkit.static.original import unwrap

ADAPTER_MODULES = (
    "craft",
    "parseq",
    "doctr.parseq",
    "doctr.master",
    "doctr.sar",
    "doctr.vitstr",
    "doctr.viptr",
    "trba",
    "lines.easyocr",
    "lines.benchmark",
    "lines.crnn",
    "doctr.crnn",
    "doctr.detector",
    "huggingface",
)


@dataclass(frozen=True)
class Family:
    """A model family: how its models are recognised, and how one is made static.

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
    """Register your own family with `make_static`, for as long as the process runs.

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


def way_in(model: nn.Module) -> str:
    """How a model that is given as it is would be made static; empty where nothing is known.

    Args:
        model: What a caller of `analyze` or `compile_for_inferentia` gave.
    """
    if isinstance(model, StaticModel):
        return ""
    ways, family = [], family_of(model)
    if family is not None:
        ways.append(
            f"neuronkit.make_static(model, options={family.options.__name__}(...)) makes a "
            f"{type(unwrap(model)).__name__} "
            f"static, as one of the family {family.name!r}, without changing its results"
        )
    if getattr(unwrap(model), "exportable", None) is False:
        ways.append("made with exportable=True, it gives tensors alone")
    return "; or, ".join(ways)
