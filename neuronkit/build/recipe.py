"""Recipe: one model of a build file, with its shapes and targets; and reading such a file."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronkit.checks import shown
from neuronkit.errors import NeuronKitError, OptionError
from neuronkit.options import CompileOptions, check_operator_kinds
from neuronkit.targets import find_target

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*")
_LONGEST_NAME = 200  # of 255 bytes: temporary names are longer


@dataclass(frozen=True)
class Recipe:
    """A model, to be compiled for every shape and every target.

    Args:
        name: How the artifacts' names begin: letters, digits, ``_``, ``.``, ``-``.
        model: Makes the model of one shape, called as ``model(**shape)``: a `StaticModel`; or a module and its example
            inputs, as a pair.
        shapes: Label → the arguments of `model`. A sequence of arguments gets labels made of them, such as
            ``batch_size=8``.
        targets: Target names, as `compile_for_inferentia` takes them.
        options: For all targets, or target → options; a target that is not named takes the defaults.
        processor: Kept with every artifact; see `compile_for_inferentia`.
        op_whitelist: See `compile_for_inferentia`.

    Raises:
        OptionError: If a field is none of these, or `model` does not take the arguments.
        UnknownTargetError: If there is no such target.

    Examples:
        >>> recipe = neuronkit.build.Recipe("relu", torch.nn.ReLU, [{}], targets=["cpu"])
        >>> recipe.name
        'relu'
    """

    name: str
    model: Callable[..., Any]
    shapes: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]] = ({},)
    targets: Sequence[str] = ("inf2",)
    options: CompileOptions | Mapping[str, CompileOptions] | None = None
    processor: Any = None
    op_whitelist: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise OptionError(
                f"recipe {shown(self.name)}: expected a text that the artifacts' names begin with; give one"
            )
        if not callable(self.model):
            raise OptionError(f"recipe {shown(self.name)}: model is a {type(self.model).__name__}; give a function")
        if isinstance(self.targets, str):
            object.__setattr__(self, "targets", (self.targets,))
        _check_targets(self)
        _check_shapes(self)
        _check_options(self)
        for item in self.items():
            _check_name(item.name)
            _check_arguments(self, item.arguments)

    def items(self) -> list[Item]:
        """Every artifact that this recipe makes."""
        shapes = self.shapes if isinstance(self.shapes, Mapping) else {_label(shape): shape for shape in self.shapes}
        return [Item(self, label, dict(shape), target) for label, shape in shapes.items() for target in self.targets]

    def options_for(self, target: str) -> CompileOptions:
        """The options for this target."""
        given = self.options.get(target) if isinstance(self.options, Mapping) else self.options
        return given or CompileOptions()


@dataclass(frozen=True)
class Item:
    """One artifact to make.

    Attributes:
        recipe: What it is made of.
        label: The shape's label, "" where the model has one shape only.
        arguments: What the recipe's model is called with.
        target: The target.
    """

    recipe: Recipe
    label: str
    arguments: Mapping[str, Any]
    target: str

    @property
    def name(self) -> str:
        """The artifact's name: recipe, shape and target."""
        return "-".join(filter(None, (self.recipe.name, self.label, self.target)))


def read_build_file(path: Path) -> dict[str, Item]:
    """Run a build file.

    Returns:
        Name → artifact to make, in the file's order.

    Raises:
        OptionError: If the file is missing or fails, defines no ``recipes``, or two artifacts would have one name.
    """
    recipes = getattr(_import_file(path), "recipes", None)
    if not isinstance(recipes, (list, tuple)) or not recipes or not all(isinstance(r, Recipe) for r in recipes):
        raise OptionError(f"{path}: defines no recipes; give it `recipes = [neuronkit.build.Recipe(...), ...]`")
    items: dict[str, Item] = {}
    for item in (item for recipe in recipes for item in recipe.items()):
        if item.name in items:
            raise OptionError(f"{path}: two artifacts are called {item.name!r}; give the recipes different names")
        items[item.name] = item
    return items


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise OptionError(
            f"{shown(path)}: there is no such build file; give the path of a Python file that defines recipes"
        )
    spec = importlib.util.spec_from_file_location("neuronkit_build_file", path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{path}: is not a Python file (*.py)")
    module = importlib.util.module_from_spec(spec)
    # As for a script: modules beside the file can be imported, and its classes can be found again by name.
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        spec.loader.exec_module(module)
    except NeuronKitError:
        raise
    except (Exception, SystemExit) as error:
        raise OptionError(f"{path}: fails with {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent.absolute()))
    return module


def _label(shape: Mapping[str, Any]) -> str:
    return "-".join(f"{name}={value}" for name, value in shape.items())


def _check_targets(recipe: Recipe) -> None:
    if not isinstance(recipe.targets, (list, tuple)) or not recipe.targets:
        raise OptionError(f"recipe {shown(recipe.name)}: targets={shown(recipe.targets)}; give names, such as ['inf2']")
    for target in recipe.targets:
        find_target(target)


def _check_shapes(recipe: Recipe) -> None:
    given = recipe.shapes
    labels = list(given) if isinstance(given, Mapping) else []
    shapes = list(given.values()) if isinstance(given, Mapping) else given
    if not isinstance(shapes, (list, tuple)) or not shapes or not all(isinstance(shape, Mapping) for shape in shapes):
        raise OptionError(
            f"recipe {shown(recipe.name)}: shapes={shown(given)}; give the arguments of each shape, as "
            "[{'batch_size': 1}, {'batch_size': 8}] or {'small': {'batch_size': 1}}"
        )
    names = [name for shape in shapes for name in shape]
    if not all(isinstance(text, str) for text in (*labels, *names)):
        raise OptionError(
            f"recipe {shown(recipe.name)}: shapes={shown(given)}; labels and names of arguments are texts"
        )


def _check_options(recipe: Recipe) -> None:
    given = recipe.options if isinstance(recipe.options, Mapping) else dict.fromkeys(recipe.targets, recipe.options)
    unknown = sorted(str(target) for target in given if target not in recipe.targets)
    if unknown:
        raise OptionError(f"recipe {shown(recipe.name)}: options for {unknown}, which are not among its targets")
    for options in given.values():
        if options is not None and not isinstance(options, CompileOptions):
            raise OptionError(f"recipe {shown(recipe.name)}: options {shown(options)}; expected CompileOptions(...)")
    object.__setattr__(recipe, "op_whitelist", check_operator_kinds("op_whitelist", recipe.op_whitelist))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise OptionError(
            f"{shown(name)} cannot be a file's name; use at most {_LONGEST_NAME} letters, digits, '_', '.', '=' and "
            "'-', begin with none of the last three, and label shapes by a mapping: shapes={'page': {...}}"
        )


def _check_arguments(recipe: Recipe, arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(recipe.model)
    except ValueError:
        return  # Some functions written in C have no signature.
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise OptionError(
            f"recipe {shown(recipe.name)}: model does not take {shown(dict(arguments))}: {shown(str(error))}"
        ) from error
