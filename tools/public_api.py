"""The inventory of public names and their signatures.

``python tools/public_api.py`` prints it, ``python tools/public_api.py --write`` brings `tests/public_api.txt` up to
date. A change of that file in a review is a change of what users may rely on.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

INVENTORY = Path(__file__).parent.parent / "tests" / "public_api.txt"
# Where users import from. Of packages with `__all__` these names, of others what they define or re-export.
MODULES = (
    "neuronkit",
    "neuronkit.adapters.registry",
    "neuronkit.analysis",
    "neuronkit.build",
    "neuronkit.cache",
    "neuronkit.demo.picture",
    "neuronkit.demo.weights",
    "neuronkit.compile.environment",
    "neuronkit.errors",
    "neuronkit.integrations.doctr",
    "neuronkit.integrations.easyocr",
    "neuronkit.integrations.huggingface",
    "neuronkit.models",
    "neuronkit.ocr",
    "neuronkit.ocr.metrics",
    "neuronkit.serving.cores",
    "neuronkit.serving.ray",
    "neuronkit.serving.triton",
    "neuronkit.static.ops",
    "neuronkit.static.shapes",
    "neuronkit.tables",
    "neuronkit.targets",
    "neuronkit.testing",
)


def public_names(module_name: str) -> dict[str, Any]:
    """The public functions, classes and constants of a module, by name."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None)
    if names is None:
        names = [name for name, value in vars(module).items() if _is_own(module, name, value)]
    found = {name: getattr(module, name) for name in sorted(names)}
    return {name: value for name, value in found.items() if not inspect.ismodule(value)}


def _is_own(module: ModuleType, name: str, value: Any) -> bool:
    """Whether a module without `__all__` defines this name, or a package gives it on from one of its modules."""
    if name.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
        return False
    if hasattr(module, "__path__"):
        return value.__module__.startswith(module.__name__)
    return value.__module__ == module.__name__


def lines() -> list[str]:
    """The inventory: a line for each name, and one for each method of a class below it."""
    found: list[str] = []
    first: dict[int, str] = {}
    everything = {f"{module}.{name}": value for module in MODULES for name, value in public_names(module).items()}
    for path, value in everything.items():
        known = first.setdefault(id(value), path)
        found += _described(path, value, everything) if known == path else [f"{path} = {known}"]
    return found


def members(cls: type, public: Iterable[Any] = ()) -> dict[str, Any]:
    """The public methods and properties of a class, with those it has from neuronkit's classes outside `public`."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        inherited = base is not cls and any(base is other for other in public)
        if base.__module__.startswith("neuronkit") and not inherited:
            for name, value in vars(base).items():
                if not name.startswith("_") or name == "__call__":
                    found.setdefault(name, value)
    return dict(sorted(found.items()))


def _described(path: str, value: Any, everything: dict[str, Any]) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{path}{signature(value)}" if callable(value) else f"{path}: {type(value).__name__}"
        return
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    yield f"class {path}{signature(value)}" + (f", a {bases}" if bases else "")
    for name, member in members(value, everything.values()).items():
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if isinstance(member, (property, functools.cached_property)):
            yield f"    {name}: property"
        elif inspect.isfunction(function):
            kind = "" if function is member else f"{type(member).__name__} "
            yield f"    {kind}{name}{signature(function)}"


def signature(value: Any) -> str:
    """Parameters, their types and defaults; defaults that are objects, such as folders, as "...": they differ."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:  # Of a class whose arguments are its builtin base's.
        return "(...)"
    texts = []
    kinds = [parameter.kind for parameter in parameters]
    for position, p in enumerate(parameters):
        if p.kind is p.KEYWORD_ONLY and not {p.KEYWORD_ONLY, p.VAR_POSITIONAL} & set(kinds[:position]):
            texts.append("*")
        star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        annotation = "" if p.annotation is p.empty else f": {_text(p.annotation)}"
        default = "" if p.default is p.empty else f" = {_default(p.default)}"
        texts.append(f"{star}{p.name}{annotation}{default}")
    result = inspect.signature(value).return_annotation
    arrow = "" if result is inspect.Signature.empty or inspect.isclass(value) else f" -> {_text(result)}"
    return f"({', '.join(texts)}){arrow}"


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _default(value: Any) -> str:
    return repr(value) if isinstance(value, (bool, int, float, str, tuple, type(None))) else "..."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {INVENTORY.name} instead of printing")
    text = "\n".join(lines()) + "\n"
    if parser.parse_args().write:
        INVENTORY.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
