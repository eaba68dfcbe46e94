"""Imports point down only."""

import ast
import re
from pathlib import Path

import pytest

import neuronkit

pytestmark = pytest.mark.tooling

ROOT = Path(neuronkit.__file__).parent
# Module prefix → layer; the longest prefix counts.
LAYERS = {
    "errors": -3, "lazy": -3, "version": -3, "shown": -3, "threads": -3, "report": -1,
    "checks": -2, "tensors": -1, "specs": 0, "interface": 0, "options": 0, "tables": 0, "storage": 0,
    "ocr": 1, "cache": 1, "capture": 1,
    "targets": 2, "static": 2, "models": 2,
    "artifact": 3, "adapters": 3, "analysis": 3,
    "compile": 4, "ocr.pipeline": 4,
    "__main__": 7, "cli": 6,
    "build": 5, "integrations": 5, "serving": 5, "demo": 5, "testing": 5,
}  # fmt: skip
# Adapters and targets meet in compile.py only.
STRANGERS = {("adapters", "targets"), ("targets", "adapters")}


def layer(module: str) -> int:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in LAYERS:
            return LAYERS[".".join(parts[:length])]
    raise AssertionError(f"{module} belongs to no layer; add it to LAYERS")


def imports(path: Path, *, type_checking: bool = False) -> set[str]:
    """Modules of neuronkit that a file imports, wherever it does; those under TYPE_CHECKING only if asked for."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not type_checking:
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "neuronkit":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(n if is_module(n) else node.module for n in names)
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.startswith("neuronkit"))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return {name.removeprefix("neuronkit").lstrip(".") for name in found} - {""}


def is_module(name: str) -> bool:
    path = ROOT / Path(*name.split(".")[1:])
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


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


# Import cycles

# Imports for annotations that close a cycle, for which there is no better way; a comment above them says why.
ANNOTATIONS = [("errors", "compile.parity"), ("cache.slot", "cache.store")]


def import_graph(root: Path, *, type_checking: bool) -> dict[str, set[str]]:
    """Module → the modules that it imports. The lazy `__init__`s name what they resolve under TYPE_CHECKING."""
    graph = {}
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        graph[module] = imports(path, type_checking=type_checking and path.name != "__init__.py") - {module}
    return graph


def cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The groups of modules each of which imports every other one, directly or not."""
    reached: dict[str, set[str]] = {}
    for module in graph:
        pending, reached[module] = list(graph[module]), set()
        while pending:
            other = pending.pop()
            if other not in reached[module]:
                reached[module].add(other)
                pending.extend(graph.get(other, ()))
    together = {frozenset({m for m in reached[module] if module in reached.get(m, ())}) for module in graph}
    return sorted(map(set, together - {frozenset()}), key=sorted)


def test_there_is_no_import_cycle() -> None:
    assert cycles(import_graph(ROOT, type_checking=False)) == []


def test_annotations_close_two_cycles_at_most_and_say_why() -> None:
    graph = import_graph(ROOT, type_checking=True)
    for importer, imported in ANNOTATIONS:
        graph[importer] -= {imported}
    assert cycles(graph) == []
    assert len(ANNOTATIONS) <= 2
    for importer, imported in ANNOTATIONS:
        source = (ROOT / Path(*importer.split("."))).with_suffix(".py").read_text()
        assert re.search(rf" # .+\n +from neuronkit\.{re.escape(imported)} import", source), importer


def test_a_cycle_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import neuronkit.two\n")
    (tmp_path / "two.py").write_text("def later():\n    import neuronkit.three\n")
    (tmp_path / "three.py").write_text("if TYPE_CHECKING:\n    import neuronkit.one\n")
    assert cycles(import_graph(tmp_path, type_checking=False)) == []
    assert cycles(import_graph(tmp_path, type_checking=True)) == [{"one", "two", "three"}]


# Folders


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    folders = {path.parent for path in ROOT.rglob("*.py")}
    sizes = {folder.relative_to(ROOT).as_posix().lstrip("."): len(list(folder.glob("*.*"))) for folder in folders}
    assert {folder for folder, size in sizes.items() if size > 14} <= {"adapters"}


def test_the_table_of_the_architecture_page_is_this_one() -> None:
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = {
        module: max(0, int(number))
        for number, modules in re.findall(r"^\| (\d) \| ([\w., ]+) \|", page, re.MULTILINE)
        for module in modules.split(", ")
    }
    assert table == {module: max(0, number) for module, number in LAYERS.items()}
