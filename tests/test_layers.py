"""Imports point down only."""

import ast
from pathlib import Path

import neuronkit

ROOT = Path(neuronkit.__file__).parent
# Module prefix → layer; the longest prefix counts.
LAYERS = {
    "errors": -3, "lazy": -3, "version": -3, "shown": -3,
    "checks": -2, "tensors": -1, "specs": 0, "interface": 0, "options": 0, "tables": 0, "storage": 0,
    "ocr": 1, "cache": 1, "capture": 1,
    "targets": 2, "static": 2, "parity": 2, "models": 2, "environment": 3,
    "artifact": 3, "adapters": 3, "analysis": 3,
    "compile": 4, "ocr.pipeline": 4,
    "build": 5, "serving": 5, "demo": 5, "testing": 5,
}  # fmt: skip
# Adapters and targets meet in compile.py only.
STRANGERS = {("adapters", "targets"), ("targets", "adapters")}


def layer(module: str) -> int:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in LAYERS:
            return LAYERS[".".join(parts[:length])]
    raise AssertionError(f"{module} belongs to no layer; add it to LAYERS")


def imports(path: Path) -> set[str]:
    """Modules of neuronkit that a file imports, but for those under TYPE_CHECKING."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("neuronkit"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(
                n if (ROOT / Path(*n.split(".")[1:])).with_suffix(".py").exists() else node.module for n in names
            )
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.startswith("neuronkit"))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return {name.removeprefix("neuronkit").lstrip(".") for name in found} - {""}


def violations(path: Path, module: str) -> list[str]:
    package = module.split(".")[0]
    found = []
    for imported in sorted(imports(path)):
        other = imported.split(".")[0]
        free = other == package and layer(imported) <= layer(module)
        if not free and (layer(imported) >= layer(module) or (package, other) in STRANGERS):
            found.append(f"{module} imports {imported}")
    return found


def test_imports_point_down() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        # The packages' __init__ files resolve names lazily.
        if path.name != "__init__.py":
            wrong += violations(path, module)
    assert wrong == []


def test_a_violation_is_found(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from neuronkit.compile import compile_for_inferentia\nimport neuronkit.targets.cpu\n")
    assert violations(bad, "adapters.bad") == ["adapters.bad imports compile", "adapters.bad imports targets.cpu"]
